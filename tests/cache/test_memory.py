"""The cache in memory."""

from collections.abc import Coroutine
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.interface import Writer
from cachew.cache.memory import MemoryCache
from cachew.plumbing.errors import StorageFull
from cachew.plumbing.streams import PIECE, read_all
from tests.contracts.cache import LIMIT, MAX_TTL, CacheContract, Subject
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, value_of

BIG = bytes(93_000)


class TestMemory(CacheContract):
    """It keeps the contract."""

    @pytest.fixture
    def subject(self, clock: FakeClock) -> Subject:
        """Return the cache."""
        return Subject(MemoryCache(limit=LIMIT, max_ttl=MAX_TTL, clock=clock), clock)


def done(work: Coroutine[Any, Any, Any]) -> Any:
    return value_of(Deferred.fromCoroutine(work))


def small_cache() -> MemoryCache:
    return MemoryCache(limit=100_000, max_ttl=MAX_TTL, clock=FakeClock())


def begun(cache: MemoryCache, key: str) -> Writer:
    writer: Writer = done(cache.create("ns", key))
    return writer


def stored(cache: MemoryCache, key: str, data: bytes) -> None:
    writer = begun(cache, key)
    done(writer.write(data))
    done(writer.commit())


def test_what_is_being_written_counts() -> None:
    """Eight uploads at once, each nearly as large as the cache, never hold more than its limit, and one of them gets
    in."""
    cache = small_cache()
    writers = {f"key{number}": begun(cache, f"key{number}") for number in range(8)}
    for _ in range(93):
        for key, writer in list(writers.items()):
            full = cache.held + 1000 > 100_000
            writing = Deferred.fromCoroutine(writer.write(BIG[:1000]))
            if full:
                assert isinstance(failure_of(writing), StorageFull)
                done(writers.pop(key).abort())
            else:
                assert value_of(writing) is None
            assert cache.held <= 100_000
    assert len(writers) == 1
    for writer in writers.values():
        done(writer.commit())
    assert done(cache.stats()).size == cache.held == 93_000


def test_nothing_goes_for_what_does_not_fit_all_the_same() -> None:
    """An upload that there is no room for, because of others that are being written, drops no object."""
    cache = small_cache()
    stored(cache, "kept", bytes(10_000))
    first, second = begun(cache, "first"), begun(cache, "second")
    done(first.write(bytes(80_000)))
    assert isinstance(failure_of(Deferred.fromCoroutine(second.write(bytes(30_000)))), StorageFull)
    assert done(cache.stat("ns", "kept")) is not None
    done(second.write(bytes(15_000)))
    assert done(cache.stat("ns", "kept")) is None, "that made the room"


def test_what_is_still_being_read_counts() -> None:
    """An object that has gone is there for as long as somebody reads it, and leaves no room meanwhile."""
    cache = small_cache()
    stored(cache, "read", BIG)
    entry = done(cache.open("ns", "read"))
    source = entry.source()
    entry.close()
    del entry
    assert done(cache.delete("ns", "read"))
    writer = begun(cache, "next")
    assert isinstance(failure_of(Deferred.fromCoroutine(writer.write(BIG))), StorageFull)
    assert done(read_all(source, len(BIG))) == BIG
    done(writer.write(BIG))
    assert cache.held == len(BIG)


@pytest.mark.parametrize("end", ["aborted", "forgotten"])
def test_an_upload_that_breaks_off_leaves_its_room(end: str) -> None:
    """What was written is free at once when it is aborted, and also when nobody does that."""
    cache = small_cache()
    writer = begun(cache, "key")
    done(writer.write(BIG))
    if end == "aborted":
        done(writer.abort())
    del writer
    assert cache.held == 0


def test_small_writes_make_large_pieces() -> None:
    """An object that came in a hundred thousand writes is read in pieces as any other."""
    cache = MemoryCache(limit=10_000_000, max_ttl=MAX_TTL, clock=FakeClock())
    writer = begun(cache, "key")
    for number in range(100_000):
        done(writer.write(b"%08d" % number))
    done(writer.commit())
    source = done(cache.open("ns", "key")).source(8, 2 * PIECE)
    first = done(source.read(PIECE * 4))
    assert len(first) > PIECE // 2
    assert first + done(read_all(source, 4 * PIECE)) == b"".join(b"%08d" % n for n in range(1, 2 * PIECE // 8 + 1))
