"""One producer, any number of followers."""

import errno
import os
import pathlib
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import obstore
import pytest
from obstore.store import MemoryStore
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import ILogObserver, Logger, capturedLogs, formatEvent

from cachew.cache.interface import Cache
from cachew.cache.memory import MemoryCache
from cachew.cache.objectstore import ObjectStoreCache
from cachew.mirrors.identity import Identity
from cachew.plumbing.bucket import Bucket
from cachew.plumbing.errors import Busy, CorruptObject, NotFound, ProcessFailed, SpoolFailed, StorageFull
from cachew.plumbing.jobs import LONG, Slots
from cachew.plumbing.streams import Source, owned, read_all
from cachew.plumbing.threads import Threads
from cachew.snapshots.estimates import LARGE, Estimates
from cachew.snapshots.order import Begin, Order
from cachew.snapshots.productions import Productions
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.storedproduction import Means
from cachew.snapshots.variants import NAMESPACE
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import Steps, nothing_left
from tests.fakes.gitserving import threads_of
from tests.fakes.instances import only
from tests.fakes.readonly import ReadOnly
from tests.fakes.silence import Silence
from tests.fakes.steppedcache import SteppedCache
from tests.snapshots.repositories import BareMirror

HEADERS = {"Content-Type": "application/zstd"}


async def at_once(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """A thread that needs no time."""
    return function(*args, **more)


class Bench:
    """Productions under a test's control: what is made waits for :attr:`gate` between two halves."""

    def __init__(self, scratch: Path, *, limit: int = 1000, places: int = 2, shared: MemoryStore | None = None) -> None:
        self.clock = FakeClock()
        self.clock.advance(1_700_000_000)
        self.cache: Cache = MemoryCache(limit=limit, clock=self.clock)
        if shared is not None:
            bucket = Bucket(store=shared, threads=cast(Threads, at_once))
            self.cache = ObjectStoreCache(bucket=bucket, clock=self.clock)
        self.scratch = scratch
        self.productions = Productions(
            means=Means(
                cache=self.cache,
                scratch=Scratch(path=scratch, threads=at_once),
                slots=Slots(limit=places, kept_short=1),
                reactor=self.clock,
                clock=self.clock,
                timeout=60,
                estimates=Estimates(size=lambda name: LARGE if "huge" in name else 0),
            )
        )
        scratch.mkdir()
        self.started: list[str] = []
        self.gate: Deferred[None] = Deferred()

    async def make(self, directory: Path, begin: Begin) -> None:
        """Make ten bytes."""
        self.started.append("started")
        (directory / "work").write_bytes(b"in progress")
        sink = await begin(HEADERS)
        await sink(b"first")
        await self.gate
        await sink(b"later")

    def order(self, key: str = "key", **more: Any) -> Order:
        """Order the ten bytes."""
        return Order(**{"key": key, "owner": "git.example/repo", "make": self.make, **more})


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench with an empty scratch directory."""
    return Bench(tmp_path / "scratch")


def start(coroutine: Any) -> list[Any]:
    """Run a coroutine; its result or failure appears in the list."""
    results: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(results.append)
    return results


def whole(source: Source) -> list[Any]:
    """Read a source to its end."""
    return start(read_all(source, 1000))


def test_all_who_ask_meanwhile_follow_one_production(bench: Bench) -> None:
    """Whoever comes while it is made gets every byte of the same work."""
    first = bench.productions.run(bench.order())
    early = whole(first.follow())
    late = whole(bench.productions.run(bench.order()).follow())
    bench.gate.callback(None)
    assert early == late == [b"firstlater"]
    assert bench.started == ["started"]


def test_what_was_made_is_stored_byte_for_byte(bench: Bench) -> None:
    """The stored object has the bytes that were streamed, and the headers and the date that were announced."""
    production = bench.productions.run(bench.order())
    streamed = whole(production.follow())
    assert start(bench.cache.stat(NAMESPACE, "key")) == [None]
    bench.gate.callback(None)
    (entry,) = start(bench.cache.open(NAMESPACE, "key"))
    assert whole(entry.source()) == streamed
    assert entry.info.headers == HEADERS
    assert entry.info.modified == 1_700_000_000
    assert production.headers == {**HEADERS, "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT"}


def test_it_survives_the_client_that_asked_first(bench: Bench) -> None:
    """A client that leaves takes nothing away from the others or from the cache."""
    production = bench.productions.run(bench.order())
    leaving, staying = production.follow(), production.follow()
    leaving.close()
    bench.gate.callback(None)
    assert whole(staying) == [b"firstlater"]
    assert start(bench.cache.stat(NAMESPACE, "key"))[0].size == 10


def test_nothing_is_left_of_it_afterwards(bench: Bench) -> None:
    """Neither work in progress nor the spool stays on disk, and the next order makes it anew."""
    production = bench.productions.run(bench.order())
    assert len(list(bench.scratch.iterdir())) == 2
    bench.gate.callback(None)
    assert list(bench.scratch.iterdir()) == []
    assert bench.productions.running("key") is None
    assert bench.productions.run(bench.order()) is not production


def test_a_failure_before_the_first_byte_is_told_to_everybody(bench: Bench) -> None:
    """Those who wait for the beginning get the reason, and the cache stays empty."""

    async def nothing(directory: Path, begin: Begin) -> None:
        await bench.gate
        raise NotFound("no commit")

    waiting = start(bench.productions.run(bench.order(make=nothing)).begun())
    also = start(bench.productions.run(bench.order(make=nothing)).begun())
    bench.gate.callback(None)
    assert [result[0].type for result in (waiting, also)] == [NotFound, NotFound]
    assert list(bench.scratch.iterdir()) == []


@pytest.mark.parametrize(
    ("reason", "levels"),
    [
        (NotFound("no commit"), ["debug"]),
        (Busy("not now"), ["error"]),
        (OSError(errno.ENOSPC, "No space left on device"), ["error"]),
        (ProcessFailed("git", 128, "fatal: write error: No space left on device"), ["error"]),
    ],
)
def test_that_there_is_nothing_to_make_is_no_error(bench: Bench, reason: Exception, levels: list[str]) -> None:
    """A repository without LFS objects has no LFS snapshot; what could have been made is an error in the log."""
    events: list[dict[str, Any]] = []
    bench.productions.log = Logger("cachew.test", observer=cast(ILogObserver, events.append))
    ended = start(bench.productions.run(bench.order()).ended())
    bench.gate.errback(reason)
    told = ended[0].value
    assert told is reason or (isinstance(told, StorageFull) and "key can't be made: No space left" in str(told))
    assert [event["log_level"].name for event in events] == levels


def test_a_failure_in_the_middle_breaks_the_followers_off(bench: Bench) -> None:
    """A follower of something that fails sees a failure, never an early end, and nothing is stored."""
    production = bench.productions.run(bench.order())
    following = whole(production.follow())
    ended = start(production.ended())
    bench.gate.errback(NotFound("gone"))
    assert following[0].type is SpoolFailed
    assert ended[0].type is NotFound
    assert start(bench.cache.stat(NAMESPACE, "key")) == [None]
    assert list(bench.scratch.iterdir()) == []


def test_an_unexpected_failure_is_logged_with_its_traceback(bench: Bench, flush_logged_errors: Any) -> None:
    """A fault of ours is not silent."""
    production = bench.productions.run(bench.order())
    bench.gate.errback(ZeroDivisionError())
    assert start(production.ended())[0].type is ZeroDivisionError
    assert len(flush_logged_errors(ZeroDivisionError)) == 1


def test_a_full_cache_is_no_failure_for_the_followers(tmp_path: Path) -> None:
    """What can't be stored is still streamed to the end."""
    bench = Bench(tmp_path / "scratch", limit=7)
    production = bench.productions.run(bench.order())
    following, ended = whole(production.follow()), start(production.ended())
    bench.gate.callback(None)
    assert following == [b"firstlater"]
    assert "limit" in ended[0].getErrorMessage()


def test_what_another_replica_has_stored_meanwhile_stays(tmp_path: Path) -> None:
    """Whoever follows has every byte of what was made here; stored, and served from then on, is the other one."""
    shared = MemoryStore()
    one, two = (Bench(tmp_path / name, shared=shared) for name in ("one", "two"))
    slow = one.productions.run(one.order())
    streamed, ended = whole(slow.follow()), start(slow.ended())
    two.productions.run(two.order())
    two.clock.advance(10)
    two.gate.callback(None)
    (stored,) = start(two.cache.stat(NAMESPACE, "key"))
    with capturedLogs() as events:
        one.gate.callback(None)
    assert (streamed, ended) == ([b"firstlater"], [None])
    assert start(one.cache.stat(NAMESPACE, "key")) == [stored]
    (line,) = [formatEvent(event) for event in events]
    assert line == "key was stored by another replica while it was made here"
    assert len(obstore.list(shared).collect()) == 2


def test_what_takes_too_long_is_broken_off(bench: Bench) -> None:
    """A production that hangs ends after its time and makes room."""
    ended = start(bench.productions.run(bench.order()).ended())
    bench.clock.advance(61)
    assert ended[0].check(TimedOut)
    assert list(bench.scratch.iterdir()) == []


def test_stopping_breaks_everything_off_and_waits(bench: Bench) -> None:
    """After the stop nothing is under way and nothing is left on disk."""
    following = whole(bench.productions.run(bench.order()).follow())
    assert start(bench.productions.stop()) == [None]
    assert following[0].type is SpoolFailed
    assert list(bench.scratch.iterdir()) == []


def test_a_start_removes_what_a_killed_server_left(bench: Bench) -> None:
    """Scratch is empty after the start, whatever lay in it."""
    (bench.scratch / "work-1" / "tree").mkdir(parents=True)
    (bench.scratch / "spool-1").write_bytes(b"half")
    (bench.scratch / "link").symlink_to("/etc")
    start(bench.productions.start())
    assert list(bench.scratch.iterdir()) == []


def test_no_more_is_made_at_once_than_there_are_places(tmp_path: Path) -> None:
    """The third production waits for its turn."""
    bench = Bench(tmp_path / "scratch")
    for key in "abc":
        bench.productions.run(bench.order(key))
    assert len(bench.started) == 2
    bench.gate.callback(None)
    assert len(bench.started) == 3


def test_waiting_for_what_it_requires_takes_no_place(tmp_path: Path) -> None:
    """A mirror that is cloned slowly keeps no other snapshot from being made."""
    bench = Bench(tmp_path / "scratch", places=1)
    mirror: Deferred[None] = Deferred()
    bench.productions.run(bench.order("slow", requires=lambda: mirror))
    bench.productions.run(bench.order("quick"))
    bench.gate.callback(None)
    assert start(bench.cache.stat(NAMESPACE, "quick"))[0].size == 10
    mirror.callback(None)
    assert start(bench.cache.stat(NAMESPACE, "slow"))[0].size == 10


class Mirror(BareMirror):
    """A mirror that is nowhere; it is sound unless a test says otherwise."""

    damaged: Exception | None = None

    async def prove(self) -> Callable[[], None]:
        if self.damaged is not None:
            raise self.damaged
        return await super().prove()


async def found(mirror: Mirror) -> Mirror:
    return mirror


def test_nothing_is_made_of_a_damaged_mirror(bench: Bench, tmp_path: Path) -> None:
    """What is found damaged before is told to whoever asks, and nothing is begun."""
    mirror = Mirror(tmp_path)
    mirror.damaged = CorruptObject("a pack is damaged")
    asked = start(bench.productions.run(bench.order(mirror=lambda: found(mirror))).begun())
    assert asked[0].value is mirror.damaged and bench.started == []


def test_nothing_is_kept_of_a_mirror_that_was_damaged_meanwhile(bench: Bench, tmp_path: Path) -> None:
    """What is made of a mirror that somebody writes to meanwhile is broken off and never stored."""
    mirror = Mirror(tmp_path)
    received = whole(bench.productions.run(bench.order(mirror=lambda: found(mirror))).follow())
    mirror.changed = CorruptObject("it was damaged meanwhile")
    bench.gate.callback(None)
    assert "damaged meanwhile" in str(received[0].value) and mirror.proofs == 1
    assert start(bench.cache.stat(NAMESPACE, "key")) == [None]


def test_a_mirror_that_git_fails_on_while_something_is_made_is_suspect(bench: Bench, tmp_path: Path) -> None:
    """A failure of git has the mirror looked at; any other failure says nothing of it."""
    mirror = Mirror(tmp_path)
    for failure, suspicions in ((Busy(), 0), (ProcessFailed("git bundle", 128, "what it says is no matter"), 1)):
        bench.gate = Deferred()
        bench.productions.run(bench.order(mirror=lambda: found(mirror)))
        bench.gate.errback(failure)
        assert mirror.suspicions == suspicions


def test_what_was_made_since_the_last_good_check_is_withdrawn(bench: Bench) -> None:
    """Only what was begun since then, and only of that repository."""
    bench.gate.callback(None)
    for key, owner in (("before", "git.example/repo"), ("after", "git.example/repo"), ("other", "git.example/other")):
        bench.productions.run(bench.order(key, owner=owner))
        bench.clock.advance(10)
    start(bench.productions.withdraw("git.example/repo", 1_700_000_005))
    there = [start(bench.cache.stat(NAMESPACE, key))[0] is not None for key in ("before", "after", "other")]
    assert there == [True, False, True]


def test_what_is_made_of_an_instance_that_ends_meanwhile(bench: Bench) -> None:
    """Who follows it gets the rest, since his right was good when he began; it is not kept, and others go on."""
    ended, other = only(Identity("git.example", "repo")), only(Identity("git.example", "other"))
    keys = [f"snapshot:{ended.name}", f"snapshot:{ended.name} refs/heads/deserted", f"snapshot:{other.name}"]

    async def never(directory: Path, begin: Begin) -> None:
        await Deferred[None]()

    bytes_of_it = whole(bench.productions.run(bench.order(keys[0])).follow())
    bench.productions.run(bench.order(keys[1], make=never))
    bench.productions.run(bench.order(keys[2]))
    assert start(bench.productions.withdraw_of(ended)) == [None]
    assert bench.productions.running(keys[1]) is None
    bench.gate.callback(None)
    assert bytes_of_it == [b"firstlater"]
    assert [start(bench.cache.stat(NAMESPACE, key))[0] is not None for key in keys] == [False, False, True]


def test_one_who_waits_for_the_beginning_may_leave(bench: Bench) -> None:
    """A client that goes before anything is known disturbs nobody."""
    production = bench.productions.run(bench.order(requires=lambda: bench.gate))
    leaving = Deferred.fromCoroutine(production.begun())
    staying = start(production.begun())
    leaving.addErrback(lambda failure: failure.trap(CancelledError))
    leaving.cancel()
    bench.gate.callback(None)
    assert staying == [None]


@pytest.mark.parametrize("fails", [True, False])
def test_a_state_directory_that_became_read_only_wedges_no_key(tmp_path: Path, fails: bool) -> None:
    """A production whose spool can't be removed leaves the table, and those who wait for it are told."""
    bench = Bench(ReadOnly(tmp_path) / "scratch")
    bench.productions.log = Logger(observer=cast(ILogObserver, lambda event: None))
    production = bench.productions.run(bench.order())
    body, ended = whole(production.follow()), start(production.ended())
    if fails:
        bench.gate.errback(OSError(errno.EROFS, "Read-only file system"))
    else:
        bench.gate.callback(None)
    assert body and ended and bench.productions.running("key") is None
    bench.gate = Deferred()
    assert bench.productions.run(bench.order()) is not production
    bench.gate.callback(None)
    assert start(bench.productions.stop()) == [None]


class ForAWhile(ReadOnly):
    """A path whose files can't be removed for a while."""

    refusing = True

    def unlink(self, missing_ok: bool = False) -> None:
        """Refuse to as long as that lasts."""
        if self.refusing:
            super().unlink(missing_ok)
        pathlib.Path(str(self)).unlink(missing_ok)


def test_what_a_disk_did_not_let_go_goes_with_what_is_made_next(tmp_path: Path) -> None:
    """Nothing stays of what ended while the disk was read-only, though nobody restarts the server."""
    ForAWhile.refusing = True
    bench = Bench(ForAWhile(tmp_path) / "scratch")
    bench.productions.log = Logger(observer=cast(ILogObserver, lambda event: None))
    bench.gate.callback(None)
    first = bench.productions.run(bench.order())
    assert start(first.ended())
    assert [path.name.partition("-")[0] for path in bench.scratch.iterdir()] == ["spool"]
    ForAWhile.refusing = False
    assert start(bench.productions.run(bench.order("other")).ended())
    assert not list(bench.scratch.iterdir())


class Disturbed:
    """Two clients that follow what is being made, each await of which is a step."""

    def __init__(self, steps: Steps, scratch: Path) -> None:
        self._steps, self._scratch = steps, scratch
        self._clock, self._slots = FakeClock(), Slots(limit=1)
        self._cache = SteppedCache(steps, MemoryCache(limit=1000, clock=self._clock))
        self._productions = Productions(
            means=Means(
                cache=cast(Cache, self._cache),
                scratch=Scratch(path=scratch, threads=threads_of(steps)),
                slots=self._slots,
                reactor=self._clock,
                clock=self._clock,
                timeout=60,
            )
        )
        self._productions.log = cast(Any, Silence())
        self._descriptors = len(os.listdir("/proc/self/fd"))

    async def _requires(self) -> None:
        await self._steps.reach("requires")

    async def _make(self, directory: Path, begin: Begin) -> None:
        await self._steps.reach("made a little")
        sink = await begin(HEADERS)
        await sink(b"first")
        await self._steps.reach("made some more")
        await sink(b"later")

    async def _client(self) -> bytes:
        production = self._productions.run(Order("key", "owner", self._make, requires=self._requires))
        source = production.follow()
        with owned(source):
            await production.begun()
        return await read_all(source, 1000)

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        return [self._client(), self._client()]

    def settle(self) -> None:
        self._clock.advance(61)

    def left(self) -> list[str]:
        found = self._cache.left()
        found += ["a place"] * (self._slots.running + self._slots.waiting)
        found += ["in the table"] * (self._productions.running("key") is not None or self._productions.count > 0)
        found += [f"file {path.name}" for path in self._scratch.iterdir()]
        found += ["a timer"] * len(self._clock.getDelayedCalls())
        found += ["descriptors"] * (len(os.listdir("/proc/self/fd")) > self._descriptors)
        return found


@pytest.mark.parametrize("slow", [True, False])
def test_nothing_stays_of_what_is_made_whatever_fails(tmp_path: Path, slow: bool) -> None:
    """No spool, directory, place, writer or entry in the table stays, whichever await is disturbed by whatever."""
    nothing_left(lambda steps: Disturbed(steps, tmp_path), slow=slow)


def test_a_tiny_ones_first_snapshot_never_waits_for_huge_ones(bench: Bench) -> None:
    """Two huge repositories' archives hold one place in turn, so a tiny one's is begun at once."""
    huge = [bench.productions.run(bench.order(name, owner=name, kind="snapshot")) for name in ("huge", "huge too")]
    tiny = bench.productions.run(bench.order("tiny", owner="tiny", kind="snapshot"))
    assert [bool(production.headers) for production in (*huge, tiny)] == [True, False, True]
    bench.gate.callback(None)
    assert all(production.headers for production in huge)


def test_what_took_long_last_time_is_long_next_time(bench: Bench) -> None:
    """A small mirror whose archive takes minutes is known by its last one."""
    bench.productions.run(bench.order("slow", owner="slow", kind="snapshot"))
    bench.clock.advance(LONG)
    bench.gate.callback(None)
    bench.gate = Deferred()
    again = bench.productions.run(bench.order("slow", owner="slow", kind="snapshot"))
    huge = bench.productions.run(bench.order("huge", owner="huge", kind="snapshot"))
    tiny = bench.productions.run(bench.order("tiny", owner="tiny", kind="snapshot"))
    assert again.headers and tiny.headers and not huge.headers
    bench.gate.callback(None)


def test_finding_nothing_to_make_is_short_next_time(bench: Bench) -> None:
    """That a repository has no LFS objects is found out in no time, which is remembered."""

    async def nothing(directory: Path, begin: Begin) -> None:
        raise NotFound("no LFS objects")

    more = {"owner": "git.example/tiny", "kind": "lfs-snapshot"}
    ended = start(bench.productions.run(bench.order(make=nothing, **more)).ended())
    assert ended[0].type is NotFound
    holding = bench.productions.run(bench.order("huge", owner="huge", kind="snapshot"))
    again = bench.productions.run(bench.order(**more))
    assert holding.headers and again.headers
    bench.gate.callback(None)
