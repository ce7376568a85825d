"""Answers that are produced once and served to many."""

import errno
import os
from collections.abc import Callable, Coroutine, Iterator
from hashlib import sha1
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from cachew.plumbing.errors import CachewError, SpoolFailed
from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from cachew.plumbing.production import BETWEEN_LOOKS
from cachew.plumbing.streams import BytesSource, FileSource, PushSource, Source, read_all
from cachew.plumbing.threads import Threads
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.packcache import PackCache, Response
from cachew.smarthttp.packfiles import remove, seal
from cachew.smarthttp.packplaces import SmallPacks
from tests.fakes.clock import FakeClock
from tests.fakes.packcaches import make_pack_cache

pytestmark = pytest.mark.timeout(30)
T = TypeVar("T")
KEY, OTHER, THIRD = "a" * 64, "b" * 64, "c" * 64
CONTENT = b"PACK" + b"x" * 1000
PACK = encode_all([b"packfile\n", b"\x01" + CONTENT + sha1(CONTENT).digest(), FLUSH])


async def at_once(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """A thread pool that does not wait."""
    return function(*args, **kwargs)


class Producer:
    """Counts what is asked of it, and produces what the test pushes."""

    def __init__(self) -> None:
        self.sources: list[PushSource] = []
        self.stopped = 0
        self.refuse: Exception | None = None
        self.gate: Deferred[None] | None = None

    async def __call__(self) -> Source:
        if self.gate is not None:
            await self.gate
        if self.refuse is not None:
            raise self.refuse
        self.sources.append(PushSource(stop=self._stop))
        return self.sources[-1]

    def _stop(self) -> None:
        self.stopped += 1


class Disk:
    """A file system with a set amount of space."""

    def __init__(self) -> None:
        self.free = 1 << 30

    def __call__(self, directory: Path) -> int:
        return self.free


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def producer() -> Producer:
    return Producer()


class TickingClock(FakeClock):
    """Each look at it is a second later than the one before."""

    def now(self) -> float:
        """Return the time of day."""
        self.advance(1)
        return super().now()


@pytest.fixture
def make(tmp_path: Path, disk: Disk) -> Callable[..., PackCache]:
    """Makes caches over the same directory."""

    clock = TickingClock(now=1000.0)

    def make(limit: int = 1 << 20, **more: Any) -> PackCache:
        cache = make_pack_cache(
            tmp_path / "packs",
            limit=limit,
            min_free=1000,
            threads=at_once,
            clock=clock,
            free_space=disk,
            **more,
        )
        result(cache.kept.open())
        return cache

    return make


def start(work: Coroutine[Any, Any, T]) -> Deferred[T]:
    return Deferred.fromCoroutine(work)


def result(work: Coroutine[Any, Any, T] | Deferred[T]) -> T:
    """The result of work that must be done."""
    got: list[Any] = []
    deferred = work if isinstance(work, Deferred) else start(work)
    deferred.addBoth(got.append)
    assert got, "not done"
    if isinstance(got[0], Failure):
        got[0].raiseException()
    return got[0]  # type: ignore[no-any-return]


def reading(response: Response) -> Deferred[bytes]:
    return start(read_all(response.source, 1 << 20))


def keep(cache: PackCache, key: str = KEY, data: bytes = PACK, *, doubted: bool = False) -> None:
    """Produce an answer from beginning to end."""
    producer = Producer()
    body = reading(result(cache.response(key, producer, doubted=doubted)))
    producer.sources[0].data(data)
    producer.sources[0].finish()
    assert result(body) == data


def test_first_follower_and_file(make: Callable[..., PackCache], producer: Producer) -> None:
    """The first client gets the answer while it is produced, an equal one follows, and a later one gets the file."""
    cache = make()
    first = result(cache.response(KEY, producer))
    one = reading(first)
    producer.sources[0].data(PACK[:100])
    second = result(cache.response(KEY, producer))
    two = reading(second)
    producer.sources[0].data(PACK[100:])
    assert not one.called and cache.producing == 1
    producer.sources[0].finish()
    assert result(one) == result(two) == PACK
    third = result(cache.response(KEY, producer))
    assert (first.origin, second.origin, third.origin) == ("produced", "followed", "file")
    assert isinstance(third.source, FileSource)
    assert result(reading(third)) == PACK
    assert len(producer.sources) == 1 and cache.producing == 0 and len(cache.kept) == 1


def test_asked_at_the_same_moment(make: Callable[..., PackCache], producer: Producer) -> None:
    """Requests that come before the producer has answered wait for the one production."""
    cache = make()
    producer.gate = Deferred()
    asking = [start(cache.response(KEY, producer)) for _ in range(3)]
    producer.gate.callback(None)
    bodies = [reading(result(each)) for each in asking]
    producer.sources[0].data(PACK)
    producer.sources[0].finish()
    assert [result(body) for body in bodies] == [PACK] * 3
    assert len(producer.sources) == 1


def test_asked_while_room_is_made(tmp_path: Path, producer: Producer) -> None:
    """Who asks between the moment that an answer is kept and the moment that others have made room for it gets it."""
    making_room: Deferred[None] = succeed(None)

    async def in_thread(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        if function is remove:
            await making_room
        return function(*args, **kwargs)

    cache = make_pack_cache(tmp_path / "packs", threads=in_thread, limit=2000)
    result(cache.kept.open())
    keep(cache, OTHER)
    making_room = Deferred()
    body = reading(result(cache.response(KEY, producer)))
    producer.sources[0].data(PACK)
    producer.sources[0].finish()
    assert result(body) == PACK and cache.producing == 1
    later = result(cache.response(KEY, producer))
    assert later.origin == "file" and result(reading(later)) == PACK
    making_room.callback(None)
    assert cache.producing == 0 and len(producer.sources) == 1


def test_refusal_reaches_all(make: Callable[..., PackCache], producer: Producer) -> None:
    """When the producer refuses, each client learns it before a byte is sent, and the next one asks anew."""
    cache = make()
    producer.gate, producer.refuse = Deferred(), CachewError("not our ref")
    asking = [start(cache.response(KEY, producer)) for _ in range(2)]
    producer.gate.callback(None)
    for each in asking:
        with pytest.raises(CachewError, match="not our ref"):
            result(each)
    producer.gate = producer.refuse = None
    keep(cache)


def test_a_leaving_client_disturbs_nobody(make: Callable[..., PackCache], producer: Producer) -> None:
    """The production goes on for its followers when the client that began it leaves."""
    cache = make()
    first = result(cache.response(KEY, producer))
    body = reading(result(cache.response(KEY, producer)))
    first.source.close()
    producer.sources[0].data(PACK)
    producer.sources[0].finish()
    assert result(body) == PACK
    assert len(cache.kept) == 1


def test_last_client_leaves(make: Callable[..., PackCache], producer: Producer, tmp_path: Path) -> None:
    """When nobody follows any more, the producer is stopped and nothing is left."""
    cache = make()
    responses = [result(cache.response(KEY, producer)) for _ in range(2)]
    producer.sources[0].data(PACK[:50])
    responses[0].source.close()
    assert producer.stopped == 0
    responses[1].source.close()
    assert producer.stopped == 1
    assert cache.producing == 0 and len(cache.kept) == 0
    assert list((tmp_path / "packs").iterdir()) == []


def test_client_leaves_before_the_answer(make: Callable[..., PackCache], producer: Producer) -> None:
    """A client that leaves while the producer is still thinking stops it, if nobody else waits."""
    cache = make()
    producer.gate = Deferred()
    asking = start(cache.response(KEY, producer))
    asking.cancel()
    with pytest.raises(CancelledError):
        result(asking)
    assert producer.sources == [] and cache.producing == 0


@pytest.mark.parametrize(
    "data",
    [
        PACK[:-4],
        PACK[:-6],
        encode_all([b"packfile\n", b"\x01PACK", b"\x03died", FLUSH]),
        encode_all([b"ERR no"]),
        encode_all([b"acknowledgments\n", b"NAK\n", FLUSH]),
        b"",
    ],
)
def test_only_whole_packs_are_kept(make: Callable[..., PackCache], data: bytes, tmp_path: Path) -> None:
    """Truncated answers, errors and rounds of negotiation reach the client and are not kept."""
    cache = make()
    keep(cache, data=data)
    assert len(cache.kept) == 0 and list((tmp_path / "packs").iterdir()) == []


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("content", [CONTENT[:500], CONTENT[:-1] + b"y"], ids=["cut short", "altered"])
def test_what_comes_from_elsewhere_is_kept_only_if_its_checksum_holds(
    make: Callable[..., PackCache], content: bytes, small: bool, tmp_path: Path
) -> None:
    """An answer that is damaged and ends in order reaches the one client that it was for, and nobody after him."""
    cache = make(small=together(tmp_path) if small else None)
    keep(cache, data=encode_all([b"packfile\n", b"\x01" + content + sha1(CONTENT).digest(), FLUSH]), doubted=True)
    assert len(cache.kept) == 0 and list((tmp_path / "packs").iterdir()) == []
    keep(cache, doubted=True)
    assert len(cache.kept) == 1


def test_failing_producer(make: Callable[..., PackCache], producer: Producer, tmp_path: Path) -> None:
    """When the producer breaks off, followers get a failure instead of an end, and nothing is kept."""
    cache = make()
    body = reading(result(cache.response(KEY, producer)))
    producer.sources[0].data(PACK)
    producer.sources[0].fail(OSError("killed"))
    with pytest.raises(SpoolFailed, match="killed"):
        result(body)
    assert len(cache.kept) == 0 and list((tmp_path / "packs").iterdir()) == []


def test_restart(make: Callable[..., PackCache], tmp_path: Path) -> None:
    """After a restart a kept answer is served, and what was half written is gone."""
    keep(make())
    (tmp_path / "packs" / f"{OTHER}.1.part").write_bytes(PACK)
    cache = make()
    assert [path.name for path in (tmp_path / "packs").iterdir()] == [f"{KEY}.pack"]
    source = result(cache.kept.get(KEY))
    assert source is not None
    assert result(start(read_all(source, 1 << 20))) == PACK
    assert result(cache.kept.get(OTHER)) is None


def flip(data: bytes) -> bytes:
    return data[:50] + bytes([data[50] ^ 1]) + data[51:]


@pytest.mark.parametrize(
    "damage",
    [
        flip,
        lambda data: data[:-1],
        lambda data: data[:100],
        lambda data: b"",
        lambda data: PACK,
        lambda data: b"x" + data,
        lambda data: data + b"x",
        lambda data: data.replace(KEY.encode(), OTHER.encode()),
        lambda data: data.replace(b'"size": ', b'"siez": '),
        lambda data: data[:-16] + b"\xff" * 8 + data[-8:],
    ],
)
@pytest.mark.parametrize("restarted", [True, False])
def test_damage_is_never_served(
    make: Callable[..., PackCache], tmp_path: Path, damage: Callable[[bytes], bytes], restarted: bool
) -> None:
    """A kept file that is not what was written is dropped, and the answer is produced anew."""
    cache = make()
    keep(cache)
    path = tmp_path / "packs" / f"{KEY}.pack"
    path.write_bytes(damage(path.read_bytes()))
    if restarted:
        cache = make()
    assert result(cache.kept.get(KEY)) is None
    assert not path.exists() and len(cache.kept) == 0 and cache.kept.size == 0
    keep(cache)
    assert result(cache.kept.get(KEY)) is not None


@pytest.mark.parametrize("used", [False, True])
def test_a_flipped_bit_shows_though_the_time_is_put_back(
    make: Callable[..., PackCache], tmp_path: Path, used: bool
) -> None:
    """A file that somebody has written to is not served, whatever he did to its time, used before or not."""
    damage: list[str] = []
    cache = make(on_damage=lambda: damage.append("pack"))
    keep(cache)
    if used:
        source = result(cache.kept.get(KEY))
        assert source is not None
        source.close()
    path = tmp_path / "packs" / f"{KEY}.pack"
    before = path.stat()
    path.write_bytes(flip(path.read_bytes()))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert result(cache.kept.get(KEY)) is None and not path.exists() and damage == ["pack"]


def test_a_scrub_reads_every_pack(make: Callable[..., PackCache], tmp_path: Path) -> None:
    """What is damaged goes though nobody asks for it, also what was kept before a restart; the rest stays."""
    keep(make(), KEY)
    cache = make()
    keep(cache, OTHER)
    path, read = tmp_path / "packs" / f"{KEY}.pack", list[int]()

    async def pace(size: int) -> None:
        read.append(size)

    result(cache.kept.scrub(pace))
    assert len(cache.kept) == 2 and sum(read) == cache.kept.size
    path.write_bytes(flip(path.read_bytes()))
    result(cache.kept.scrub(pace))
    assert len(cache.kept) == 1 and not path.exists() and result(cache.kept.get(OTHER)) is not None


def test_file_that_is_gone(make: Callable[..., PackCache], tmp_path: Path) -> None:
    """A kept file that somebody has removed is produced anew."""
    cache = make()
    keep(cache)
    (tmp_path / "packs" / f"{KEY}.pack").unlink()
    keep(cache)
    assert len(cache.kept) == 1


def test_nobody_waits_for_the_checksum_of_what_he_is_sent(tmp_path: Path, disk: Disk, producer: Producer) -> None:
    """All of a pack out of a network leaves as it comes, however long it takes to find out whether it may be kept."""
    sealed: Deferred[None] = Deferred()

    async def all_but_sealing(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        if function is seal:
            await sealed
        return function(*args, **kwargs)

    cache = make_pack_cache(
        tmp_path, limit=1 << 20, min_free=0, threads=all_but_sealing, clock=FakeClock(), free_space=disk
    )
    response = result(cache.response(KEY, producer, doubted=True))
    producer.sources[0].data(PACK[:500])
    assert result(response.source.read(1 << 20)) == PACK[:500]
    producer.sources[0].data(PACK[500:])
    producer.sources[0].finish()
    assert result(reading(response)) == PACK[500:] and len(cache.kept) == 0
    sealed.callback(None)
    assert len(cache.kept) == 1


def test_least_recently_used_goes_first(make: Callable[..., PackCache]) -> None:
    """Within the limit the answers used last are kept, across a restart too."""
    cache = make(limit=3000)
    keep(cache, KEY)
    keep(cache, OTHER)
    for key in (OTHER, KEY):
        source = result(cache.kept.get(key))
        assert source is not None
        source.close()
    cache = make(limit=3000)
    keep(cache, THIRD)
    assert len(cache.kept) == 2 and cache.kept.size <= 3000
    assert result(cache.kept.get(OTHER)) is None
    for key in (KEY, THIRD):
        source = result(cache.kept.get(key))
        assert source is not None
        source.close()


def test_evicted_while_it_is_sent(make: Callable[..., PackCache]) -> None:
    """An answer that goes while a client reads it is still read to its end."""
    cache = make(limit=2000)
    keep(cache, KEY)
    response = result(cache.response(KEY, Producer()))
    keep(cache, OTHER)
    assert result(cache.kept.get(KEY)) is None
    assert result(reading(response)) == PACK


def test_what_a_machine_lacks_for_a_while_keeps_no_client_from_his_answer(tmp_path: Path, disk: Disk) -> None:
    """Without a descriptor or room to keep an answer it is sent all the same, not kept, and that is a warning."""

    async def lacking(function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
        if function is seal:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return function(*args, **kwargs)

    cache = make_pack_cache(tmp_path / "packs", threads=lacking, clock=FakeClock(now=1.0), free_space=disk)
    result(cache.kept.open())
    with capturedLogs() as logs:
        keep(cache)
    assert not list((tmp_path / "packs").iterdir()) and len(cache.kept) == 0
    (event,) = logs
    assert event["log_level"] is LogLevel.warn and "Too many open files" in event["error"]


def test_larger_than_the_limit(make: Callable[..., PackCache]) -> None:
    """An answer above the limit is served and not kept."""
    cache = make(limit=500)
    keep(cache)
    assert len(cache.kept) == 0


@pytest.mark.parametrize(("limit", "free"), [(0, 1 << 30), (1 << 20, 999)])
def test_without_space_nothing_is_spooled(
    make: Callable[..., PackCache], producer: Producer, disk: Disk, tmp_path: Path, limit: int, free: int
) -> None:
    """With a limit of 0 or a full disk each client gets an answer of its own, straight from the producer."""
    cache = make(limit)
    disk.free = free
    responses = [result(cache.response(KEY, producer)) for _ in range(2)]
    assert [response.origin for response in responses] == ["direct", "direct"]
    assert [response.source for response in responses] == producer.sources
    assert list((tmp_path / "packs").iterdir()) == []


def test_floor_of_free_space(make: Callable[..., PackCache], producer: Producer, disk: Disk) -> None:
    """When the disk is short of its floor, kept answers make room before anything is spooled."""
    cache = make()
    keep(cache, KEY)
    keep(cache, OTHER)
    disk.free = 500
    response = result(cache.response(THIRD, producer))
    assert response.origin == "produced"
    assert len(cache.kept) == 1
    response.source.close()


def test_an_answer_without_end_ends_at_the_floor(
    make: Callable[..., PackCache], producer: Producer, disk: Disk, tmp_path: Path
) -> None:
    """What is kept makes room for it first; then its clients get what has come and a failure."""
    cache = make()
    keep(cache, KEY)
    response = result(cache.response(OTHER, producer))
    getting = start(read_all(response.source, 1 << 30))
    disk.free = 1000 - cache.kept.size
    producer.sources[0].data(bytes(BETWEEN_LOOKS))
    assert len(cache.kept) == 0 and producer.stopped == 0
    disk.free = 999
    producer.sources[0].data(bytes(BETWEEN_LOOKS))
    with pytest.raises(SpoolFailed):
        result(getting)
    assert producer.stopped == 1 and list((tmp_path / "packs").iterdir()) == []


def test_kept_answers_do_not_go_in_vain(make: Callable[..., PackCache], producer: Producer, disk: Disk) -> None:
    """When others fill the disk so far that dropping all would not make the floor, what is kept stays."""
    cache = make()
    keep(cache, KEY)
    keep(cache, OTHER)
    disk.free = 1000 - cache.kept.size - 1
    assert result(cache.response(THIRD, producer)).origin == "direct"
    assert len(cache.kept) == 2


def test_stop(make: Callable[..., PackCache], producer: Producer) -> None:
    """A stop ends productions under way, and their followers get a failure."""
    cache = make()
    body = reading(result(cache.response(KEY, producer)))
    result(cache.stop())
    with pytest.raises(SpoolFailed):
        result(body)
    assert producer.stopped == 1 and cache.producing == 0


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    pool = ThreadPool(1, 2)
    pool.start()
    yield pool
    pool.stop()


@pytest_twisted.ensureDeferred
async def test_real_packs_in_real_threads(
    backend: Backend, repository: Path, git: Any, pool: ThreadPool, tmp_path: Path
) -> None:
    """Equal fetches at once cost one process, and the next one none; all get the same bytes."""
    threads = Threads(reactor=reactor, pool=pool)  # type: ignore[arg-type]
    cache = make_pack_cache(tmp_path / "packs", limit=1 << 30, threads=threads)
    await cache.kept.open()
    head = git("-C", str(repository), "rev-parse", "HEAD").encode()
    body = encode_all([b"command=fetch", DELIM, b"want " + head, b"done", FLUSH])
    started = []

    async def produce() -> Source:
        answer = await backend.upload_pack(repository="r", directory=repository, body=body, protocol="version=2")
        started.append(answer)
        assert await answer.refusal() is None
        return answer.source

    asking = [start(cache.response(KEY, produce)) for _ in range(8)]
    bodies = [reading(await each) for each in asking]
    answers = {await each for each in bodies}
    assert len(answers) == 1 and len(started) == 1
    await cache.stop()
    later = await cache.response(KEY, produce)
    assert later.origin == "file"
    assert {await reading(later)} == answers


def together(tmp_path: Path) -> SmallPacks:
    path = tmp_path / "small" / "answers.sqlite"
    return SmallPacks(path=path, limit=None, threads=at_once, clock=FakeClock())


def test_small_answers_lie_together(make: Callable[..., PackCache], tmp_path: Path) -> None:
    """A small answer is no file, is found again after a restart, and counts like any other."""
    cache = make(small=together(tmp_path))
    keep(cache)
    assert list((tmp_path / "packs").iterdir()) == []
    assert (len(cache.kept), cache.kept.size) == (1, len(PACK))
    file = result(cache.kept.get_file(KEY))
    assert file is not None and result(start(read_all(file, 1 << 20))) == PACK
    result(cache.stop())
    cache = make(small=together(tmp_path))
    response = result(cache.response(KEY, Producer()))
    assert (result(reading(response)), response.origin, cache.kept.size) == (PACK, "file", len(PACK))
    assert result(cache.prepare(KEY, Producer()))
    assert result(cache.kept.size_of("h/r")) == 0


def test_small_answers_go_when_the_disk_is_full(make: Callable[..., PackCache], tmp_path: Path, disk: Disk) -> None:
    """Files go first, then small answers."""
    cache = make(small=together(tmp_path))
    keep(cache)
    disk.free = 1000 - len(PACK)
    response = result(cache.response(OTHER, lambda: produced(PACK)))
    assert result(reading(response)) == PACK
    assert result(cache.kept.get(KEY)) is None


async def produced(data: bytes) -> Source:
    return BytesSource(data)


def test_a_scrub_reads_small_answers(make: Callable[..., PackCache], tmp_path: Path) -> None:
    """Small answers are read through too, and their bytes are told."""
    cache, read = make(small=together(tmp_path)), []
    keep(cache)

    async def pace(size: int) -> None:
        read.append(size)

    result(cache.kept.scrub(pace))
    assert read == [len(PACK)]
