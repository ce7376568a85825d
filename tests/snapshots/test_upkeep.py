"""What the schedule's tasks do."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.cache.memory import MemoryCache
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import MirrorGone, NotFound, UpstreamUnreachable
from cachew.plumbing.jobs import Slots
from cachew.snapshots.order import Begin
from cachew.snapshots.productions import Productions
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.store import COMMIT_HEADER, REFS_HEADER, Snapshots
from cachew.snapshots.storedproduction import Means
from cachew.snapshots.upkeep import Upkeep, refs_mark
from cachew.snapshots.variants import Variant
from tests.fakes.clock import FakeClock
from tests.fakes.instances import only

IDENTITY = Identity("git.example", "org/repo")


async def at_once(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """A thread that needs no time."""
    return function(*args, **more)


class Bench:
    """Upkeep of one repository, whose archives are one byte each."""

    identity = IDENTITY
    instance = only(IDENTITY)

    def __init__(self, scratch: Path) -> None:
        self.head_commit: str | None = "a" * 40
        self.by_name = {"refs/heads/main": "a" * 40, "refs/heads/x": "b" * 40}
        self.ready = True
        self.made: list[str] = []
        self.chores: list[str] = []
        self.failure: Exception | None = None
        self.hold: Deferred[None] | None = None
        self.current = True
        self.ready_when_asked = 1_000_000
        self.pushed = ""
        self.clock = FakeClock()
        self.clock.advance(1_000_000)
        cache = MemoryCache(limit=1000, clock=self.clock)
        productions = Productions(
            means=Means(
                cache=cache,
                scratch=Scratch(path=scratch, threads=at_once),
                slots=Slots(limit=1),
                reactor=self.clock,
                clock=self.clock,
            )
        )
        self.snapshots = Snapshots(
            cache=cache,
            productions=productions,
            makers=dict.fromkeys(("snapshot", "lfs-snapshot", "mirror"), self.make),
            ready_mirror=self.ready_mirror,
        )
        self.upkeep = Upkeep(
            snapshots=self.snapshots,
            find_mirror=self.find_mirror,
            refresh=self.refresh,
            chores={"bundles": self.chore},
            clock=self.clock,
            max_age=1000,
        )

    def find_mirror(self, identity: Identity) -> Any:
        """Give the mirror, as often as it is to be found."""
        self.ready_when_asked -= 1
        return self if self.ready and self.ready_when_asked >= 0 else None

    async def ready_mirror(self, identity: Identity) -> Any:
        """Give the mirror."""
        return self

    @property
    def refs(self) -> Any:
        """Play the mirror, and all its parts."""
        return self

    verification = place = refs

    async def prove(self) -> Callable[[], None]:
        """Be sound."""
        return lambda: None

    def relinking(self) -> AbstractContextManager[None]:
        """Have no links."""
        return nullcontext()

    async def refresh(self, identity: Identity) -> bool:
        """Take up what was pushed, if the upstream answers."""
        if self.current and self.pushed:
            self.head_commit = self.pushed
        return self.current

    async def chore(self, identity: Identity) -> bool:
        """Note it."""
        self.chores.append(identity.name)
        return True

    async def make(self, mirror: Mirror, variant: Variant, directory: Path, begin: Begin) -> None:
        """Make an archive."""
        if self.failure is not None:
            raise self.failure
        if self.hold is not None:
            await self.hold
        self.made.append(variant.name)
        commit = self.by_name.get(variant.ref) or self.head_commit or ""
        sink = await begin({COMMIT_HEADER: commit, REFS_HEADER: refs_mark(self.by_name)})
        await sink(b"x")

    def perform(self, name: str) -> Any:
        """Do a task."""
        results: list[Any] = []
        Deferred.fromCoroutine(self.upkeep.perform(IDENTITY, name)).addBoth(results.append)
        return results[0]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench."""
    return Bench(tmp_path)


@pytest.mark.parametrize("name", ["snapshot", "snapshot ref=refs/heads/x", "lfs-snapshot", "mirror"])
def test_an_unchanged_archive_is_made_once(bench: Bench, name: str) -> None:
    """Until it is too old."""
    bench.perform(name)
    bench.perform(name)
    assert bench.made == [name]
    bench.clock.advance(1001)
    bench.perform(name)
    assert bench.made == [name, name]


@pytest.mark.parametrize(
    ("name", "again"), [("snapshot", False), ("snapshot ref=refs/heads/x", True), ("mirror", True)]
)
def test_what_changed_is_made_again(bench: Bench, name: str, again: bool) -> None:
    """A new commit on another branch matters to that branch's archive and to the mirror's, not to HEAD's."""
    bench.perform(name)
    bench.by_name["refs/heads/x"] = "c" * 40
    bench.perform(name)
    assert len(bench.made) == 1 + again


def test_nothing_to_make_is_no_failure(bench: Bench) -> None:
    """A repository without LFS objects or without the branch is left alone; one without a mirror is asked for again."""
    bench.failure = NotFound("no LFS objects")
    assert bench.perform("lfs-snapshot") is False
    assert bench.perform("snapshot ref=refs/heads/gone") is False
    bench.ready = False
    assert bench.perform("snapshot").check(MirrorGone)
    assert bench.perform("bundles").check(MirrorGone)
    assert bench.chores == []


def test_a_failure_is_told(bench: Bench) -> None:
    """The schedule learns of it."""
    bench.failure = UpstreamUnreachable("https://git.example", "no connection")
    assert bench.perform("snapshot").check(UpstreamUnreachable)


def test_chores_are_done_by_name(bench: Bench) -> None:
    """What is no archive is handed on."""
    bench.perform("bundles")
    assert bench.chores == ["git.example/org/repo"]


def test_the_mirror_is_brought_up_to_date_first(bench: Bench) -> None:
    """A push that no client has fetched through this replica yet is in the archive."""
    assert bench.perform("snapshot") is True
    assert bench.perform("snapshot") is False
    bench.pushed = "d" * 40
    assert bench.perform("snapshot") is True


def test_a_stale_mirror_replaces_nothing(bench: Bench) -> None:
    """While the upstream fails another replica's archive may be newer than this mirror; an old one is made again."""
    bench.perform("snapshot")
    bench.current, bench.head_commit = False, "e" * 40
    assert bench.perform("snapshot") is False
    bench.clock.advance(1001)
    assert bench.perform("snapshot") is True


def test_broken_off_work_is_given_up_unless_somebody_waits(bench: Bench) -> None:
    """Who has lost the lease makes nothing any more, but for clients that are receiving it."""
    for followed in (False, True):
        bench.hold = Deferred()
        work = Deferred.fromCoroutine(bench.upkeep.perform(IDENTITY, "snapshot"))
        production = bench.snapshots.produce(only(IDENTITY), Variant())
        if followed:
            production.follow()
        work.addErrback(lambda failure: failure.trap(CancelledError) and None)
        work.cancel()
        assert bench.hold.called is not followed
        if followed:
            bench.hold.callback(None)
    assert bench.made == ["snapshot"]


def test_a_mirror_that_was_forgotten_meanwhile_is_not_made_again(bench: Bench) -> None:
    """What is due by schedule asks no upstream for a clone of what has just been forgotten for want of room."""
    bench.ready_when_asked = 1
    assert bench.perform("snapshot") is False
    assert bench.made == []
