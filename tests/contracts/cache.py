"""What every cache has to keep to. A backend's test module subclasses :class:`CacheContract` and gives the subject."""

import hashlib
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.cache.interface import NO_HEADERS, Cache, Entry, ObjectInfo, Stats
from cachew.plumbing.errors import BadRequest, CorruptObject, StorageUnavailable, TooLarge
from cachew.plumbing.streams import PIECE, read_all
from tests.fakes.clock import FakeClock

LIMIT = 6_000_000
"""Bytes that a bounded subject may hold."""
MAX_TTL = 3600.0
"""The longest that a subject's objects live."""
LARGE = random.Random(7).randbytes(2_500_000)
"""An object of several blocks and pieces."""


@dataclass
class Subject:
    """A cache under test.

    :param bounded: whether the cache evicts at once when it holds more than :data:`LIMIT` bytes.
    :param keeps_on_invalidate: whether others share its storage, so that it keeps what is invalidated.
    :param slides: whether use prolongs the life of an object.
    """

    cache: Cache
    clock: FakeClock
    bounded: bool = True
    keeps_on_invalidate: bool = False
    slides: bool = False


async def store(
    cache: Cache,
    key: str,
    data: bytes,
    *,
    namespace: str = "ns",
    headers: Mapping[str, str] = NO_HEADERS,
    ttl: float | None = None,
    etag: str | None = None,
    modified: float | None = None,
) -> ObjectInfo:
    """Store an object."""
    writer = await cache.create(namespace, key, headers=headers, ttl=ttl, etag=etag, modified=modified)
    for start in range(0, len(data), PIECE):
        await writer.write(data[start : start + PIECE])
    return await writer.commit()


@asynccontextmanager
async def opened(cache: Cache, key: str, namespace: str = "ns") -> AsyncIterator[Entry]:
    """Open an object that must be there, and close it."""
    entry = await cache.open(namespace, key)
    assert entry is not None
    try:
        yield entry
    finally:
        entry.close()


async def fetch(cache: Cache, key: str, *, namespace: str = "ns", offset: int = 0, length: int | None = None) -> bytes:
    """Return the content of an object that must be there."""
    async with opened(cache, key, namespace) as entry:
        return await read_all(entry.source(offset, length), 1 << 40)


async def missing(cache: Cache, key: str, namespace: str = "ns") -> bool:
    """Whether both ways to look for an object find none."""
    return await cache.open(namespace, key) is None and await cache.stat(namespace, key) is None


def sha256(data: bytes) -> str:
    """Return the SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()


class CacheContract:
    """The suite; ``subject`` is a fixture of the subclass."""

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("data", [b"", b"x", LARGE[: 1 << 20], LARGE], ids=["empty", "byte", "block", "large"])
    async def test_gives_back_what_was_stored(self, subject: Subject, data: bytes) -> None:
        """Content comes back whole, with its size and the SHA-256 as entity tag."""
        info = await store(subject.cache, "key", data)
        assert (info.namespace, info.key, info.size) == ("ns", sha256(b"key"), len(data))
        assert info.etag == info.digest == sha256(data)
        assert info.modified == subject.clock.now()
        assert await subject.cache.stat("ns", "key") == info
        async with opened(subject.cache, "key") as entry:
            assert entry.info == info
        assert await fetch(subject.cache, "key") == data

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 0), (0, 1), (5, 100), (2**20 - 1, 2), (2**20, 2**20), (2499999, 1), (2500000, None), (7, None), (9, 9**9)],
    )
    async def test_gives_any_region(self, subject: Subject, offset: int, length: int | None) -> None:
        """A region is given exactly, and ends with the object."""
        await store(subject.cache, "key", LARGE)
        end = None if length is None else offset + length
        assert await fetch(subject.cache, "key", offset=offset, length=length) == LARGE[offset:end]

    @pytest_twisted.ensureDeferred
    async def test_an_entry_gives_several_sources(self, subject: Subject) -> None:
        """Sources of one entry are independent of each other and outlive it."""
        await store(subject.cache, "key", LARGE)
        async with opened(subject.cache, "key") as entry:
            first, second = entry.source(0, 10), entry.source(1_500_000)
        entry.close()
        assert await read_all(second, 1 << 30) == LARGE[1_500_000:]
        assert await read_all(first, 1 << 30) == LARGE[:10]

    @pytest_twisted.ensureDeferred
    async def test_a_closed_source_ends(self, subject: Subject) -> None:
        """A reader may leave in the middle, and twice."""
        await store(subject.cache, "key", LARGE)
        async with opened(subject.cache, "key") as entry:
            source = entry.source()
            assert LARGE.startswith(await source.read(1000))
            source.close()
            source.close()

    @pytest_twisted.ensureDeferred
    async def test_what_is_not_there_is_not_found(self, subject: Subject) -> None:
        """Looking for nothing finds nothing, removing nothing removes nothing."""
        assert await missing(subject.cache, "key")
        assert not await subject.cache.delete("ns", "key")
        assert not await subject.cache.invalidate("ns", "key")
        assert await subject.cache.namespaces() == []
        stats = await subject.cache.stats()
        assert (stats.objects, stats.size) == (0, 0)

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_visible_before_the_commit(self, subject: Subject) -> None:
        """An object appears with its commit, not before."""
        writer = await subject.cache.create("ns", "key")
        await writer.write(LARGE)
        assert await missing(subject.cache, "key")
        assert await subject.cache.namespaces() == []
        assert (await subject.cache.stats()).objects == 0
        await writer.commit()
        assert await fetch(subject.cache, "key") == LARGE

    @pytest_twisted.ensureDeferred
    async def test_an_aborted_writer_leaves_nothing(self, subject: Subject) -> None:
        """Aborting leaves no trace, is idempotent, and ends the writer."""
        writer = await subject.cache.create("ns", "key")
        await writer.write(LARGE)
        await writer.abort()
        await writer.abort()
        with pytest.raises(RuntimeError):
            await writer.commit()
        assert await missing(subject.cache, "key")
        assert (await subject.cache.stats()).size == 0

    @pytest_twisted.ensureDeferred
    async def test_a_cancelled_writer_leaves_nothing(self, subject: Subject) -> None:
        """A client that goes away while its data is being written leaves no trace once its writer is aborted."""

        from twisted.internet import reactor

        async def upload() -> None:
            writer = await subject.cache.create("ns", "key")
            try:
                for _ in range(400):
                    await writer.write(LARGE[:PIECE])
            finally:
                await writer.abort()

        uploading = Deferred.fromCoroutine(upload())
        await deferLater(cast(IReactorTime, reactor), 0)
        uploading.cancel()
        with pytest.raises((CancelledError, TooLarge)):
            await uploading
        assert await missing(subject.cache, "key")
        assert (await subject.cache.stats()).size == 0

    @pytest_twisted.ensureDeferred
    async def test_an_aborted_replacement_keeps_the_old(self, subject: Subject) -> None:
        """Who fails to replace an object leaves the old one there."""
        await store(subject.cache, "key", b"old")
        writer = await subject.cache.create("ns", "key")
        await writer.write(b"new")
        await writer.abort()
        assert await fetch(subject.cache, "key") == b"old"

    @pytest_twisted.ensureDeferred
    async def test_abort_after_commit_is_harmless(self, subject: Subject) -> None:
        """A committed object stays, whatever its writer is told after."""
        writer = await subject.cache.create("ns", "key")
        await writer.write(b"data")
        await writer.commit()
        await writer.abort()
        with pytest.raises(RuntimeError):
            await writer.commit()
        assert await fetch(subject.cache, "key") == b"data"

    @pytest_twisted.ensureDeferred
    async def test_replacing_wins_and_open_entries_never_mix(self, subject: Subject) -> None:
        """A replacement is seen at once; an entry opened before gives the old content or fails."""
        await store(subject.cache, "key", LARGE)
        async with opened(subject.cache, "key") as entry:
            source = entry.source()
            begun = await source.read(1000)
            await store(subject.cache, "key", LARGE[::-1])
            assert await fetch(subject.cache, "key") == LARGE[::-1]
            assert begun + await read_all(source, 1 << 30) == LARGE
        assert (await subject.cache.stats()).objects == 1

    @pytest_twisted.ensureDeferred
    async def test_an_open_entry_outlives_deletion(self, subject: Subject) -> None:
        """Whoever opened an object before it was deleted gets its content or a failure, never less."""
        await store(subject.cache, "key", LARGE)
        async with opened(subject.cache, "key") as entry:
            source = entry.source()
            assert await subject.cache.delete("ns", "key")
            with suppress(CorruptObject, StorageUnavailable):
                assert await read_all(source, 1 << 30) == LARGE

    @pytest_twisted.ensureDeferred
    async def test_the_last_commit_wins(self, subject: Subject) -> None:
        """Of two writers under one key the later commit is what is seen, whoever began first."""
        first, second = await subject.cache.create("ns", "key"), await subject.cache.create("ns", "key")
        await first.write(b"first")
        await second.write(b"second")
        await second.commit()
        await first.commit()
        assert await fetch(subject.cache, "key") == b"first"

    @pytest_twisted.ensureDeferred
    async def test_many_at_once(self, subject: Subject) -> None:
        """Writers and readers of many keys don't disturb each other."""
        contents = {f"key{number}": LARGE[number : number + 1000 * number] for number in range(12)}
        waiting = [Deferred.fromCoroutine(store(subject.cache, key, data)) for key, data in contents.items()]
        await gatherResults(waiting)
        for key, data in contents.items():
            assert await fetch(subject.cache, key) == data
        assert (await subject.cache.stats()).objects == len(contents)

    @pytest_twisted.ensureDeferred
    async def test_keeps_headers_and_tag(self, subject: Subject) -> None:
        """Headers come back as they were given, a given entity tag takes the place of the digest."""
        headers = {"Content-Type": "text/plain; charset=utf-8", "X-Name": "naïve \u2713", "x-lower": ""}
        info = await store(subject.cache, "key", b"data", headers=headers, etag="v1.2", modified=1234.5)
        assert (dict(info.headers), info.etag, info.digest) == (headers, "v1.2", sha256(b"data"))
        assert info.modified == 1234.5
        found = await subject.cache.stat("ns", "key")
        assert found == info

    @pytest_twisted.ensureDeferred
    async def test_checks_a_promised_digest(self, subject: Subject) -> None:
        """Content that is not what was promised is not made visible."""
        writer = await subject.cache.create("ns", "key", digest=sha256(b"data"))
        await writer.write(b"atad")
        with pytest.raises(CorruptObject):
            await writer.commit()
        await writer.abort()
        assert await missing(subject.cache, "key")
        writer = await subject.cache.create("ns", "key", digest=sha256(b"data"))
        await writer.write(b"data")
        await writer.commit()

    @pytest_twisted.ensureDeferred
    async def test_expires_by_its_own_time(self, subject: Subject) -> None:
        """An object with a time to live goes when that is over, from the counts too."""
        info = await store(subject.cache, "key", b"data", ttl=60)
        assert info.expires == subject.clock.now() + 60
        subject.clock.advance(59)
        assert await fetch(subject.cache, "key") == b"data"
        subject.clock.advance(2)
        assert await missing(subject.cache, "key")
        assert not await subject.cache.delete("ns", "key")
        await subject.cache.sweep()
        assert (await subject.cache.stats()).objects == 0
        assert await subject.cache.namespaces() == []

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("ttl", [None, 10 * MAX_TTL])
    async def test_the_maximum_caps_the_time(self, subject: Subject, ttl: float | None) -> None:
        """No object lives longer unused than the cache allows, whatever was asked for."""
        info = await store(subject.cache, "key", b"data", ttl=ttl)
        assert info.expires == subject.clock.now() + MAX_TTL
        subject.clock.advance(MAX_TTL + 1)
        assert await missing(subject.cache, "key")

    @pytest_twisted.ensureDeferred
    async def test_use_prolongs_no_life_of_ones_own(self, subject: Subject) -> None:
        """Reading an object does not put off the time that its writer set."""
        await store(subject.cache, "key", b"data", ttl=MAX_TTL / 2)
        subject.clock.advance(MAX_TTL / 2 - 1)
        assert await fetch(subject.cache, "key") == b"data"
        subject.clock.advance(2)
        assert await missing(subject.cache, "key")

    @pytest_twisted.ensureDeferred
    async def test_sweep_keeps_what_is_visible(self, subject: Subject) -> None:
        """Sweeping takes nothing from anybody."""
        await store(subject.cache, "key", LARGE)
        await store(subject.cache, "key", LARGE[::-1])
        await subject.cache.sweep()
        assert await fetch(subject.cache, "key") == LARGE[::-1]

    @pytest_twisted.ensureDeferred
    async def test_the_least_recently_used_goes_first(self, subject: Subject) -> None:
        """When bytes are short, what nobody used for longest goes, and no more than needed."""
        if not subject.bounded:
            return
        for key in ("a", "b", "c"):
            await store(subject.cache, key, LARGE[:1_900_000])
            subject.clock.advance(1)
        await fetch(subject.cache, "a")
        subject.clock.advance(1)
        await subject.cache.stat("ns", "c")
        subject.clock.advance(1)
        await store(subject.cache, "d", LARGE[:1_900_000])
        assert [key for key in "abcd" if not await missing(subject.cache, key)] == ["a", "c", "d"]
        assert (await subject.cache.stats()).size <= LIMIT

    @pytest_twisted.ensureDeferred
    async def test_expired_objects_make_room_first(self, subject: Subject) -> None:
        """An expired object goes before one that is only old."""
        if not subject.bounded:
            return
        await store(subject.cache, "old", LARGE[:1_900_000])
        await store(subject.cache, "short", LARGE[:1_900_000], ttl=10)
        await store(subject.cache, "other", LARGE[:1_900_000])
        subject.clock.advance(20)
        await store(subject.cache, "new", LARGE[:1_900_000])
        assert await fetch(subject.cache, "old") == LARGE[:1_900_000]

    @pytest_twisted.ensureDeferred
    async def test_refuses_what_cannot_fit(self, subject: Subject) -> None:
        """An object over the limit fails while it is written, and takes nothing else with it."""
        if not subject.bounded:
            return
        await store(subject.cache, "small", b"data")
        writer = await subject.cache.create("ns", "large")
        with pytest.raises(TooLarge):
            for _ in range(10):
                await writer.write(LARGE)
        await writer.abort()
        assert await missing(subject.cache, "large")
        assert await fetch(subject.cache, "small") == b"data"

    @pytest_twisted.ensureDeferred
    async def test_delete_removes_for_everybody(self, subject: Subject) -> None:
        """What is deleted is gone, from the counts too; a second time there is nothing."""
        await store(subject.cache, "key", LARGE)
        assert await subject.cache.delete("ns", "key")
        assert await missing(subject.cache, "key")
        assert not await subject.cache.delete("ns", "key")
        stats = await subject.cache.stats()
        assert (stats.objects, stats.size) == (0, 0)

    @pytest_twisted.ensureDeferred
    async def test_invalidate_removes_local_copies_only(self, subject: Subject) -> None:
        """Invalidating takes a local copy and keeps what others share."""
        await store(subject.cache, "key", b"data")
        await subject.cache.invalidate("ns", "key")
        assert await missing(subject.cache, "key") is not subject.keeps_on_invalidate

    @pytest_twisted.ensureDeferred
    async def test_namespaces_are_apart(self, subject: Subject) -> None:
        """Equal keys in two namespaces are two objects; namespaces are listed in order, while they hold something."""
        await store(subject.cache, "key", b"one", namespace="zeta")
        await store(subject.cache, "key", b"two", namespace="Alpha-1_x")
        assert await subject.cache.namespaces() == ["Alpha-1_x", "zeta"]
        assert await fetch(subject.cache, "key", namespace="zeta") == b"one"
        assert await subject.cache.delete("zeta", "key")
        assert await fetch(subject.cache, "key", namespace="Alpha-1_x") == b"two"
        assert await subject.cache.namespaces() == ["Alpha-1_x"]

    @pytest_twisted.ensureDeferred
    async def test_stats_count_content(self, subject: Subject) -> None:
        """Objects and their bytes are counted, replaced ones once."""
        await store(subject.cache, "a", LARGE)
        await store(subject.cache, "b", b"12345")
        await store(subject.cache, "b", b"123")
        assert await subject.cache.stats() == Stats(2, len(LARGE) + 3, LIMIT if subject.bounded else 0)

    @pytest_twisted.ensureDeferred
    async def test_a_key_may_be_any_text(self, subject: Subject) -> None:
        """64 hex digits are a key as they are, other text by its SHA-256, so both name one object."""
        awkward = "snapshot:git.example:8443/org/../répo \n%2f?\x00"
        await store(subject.cache, awkward, b"data")
        assert await fetch(subject.cache, sha256(awkward.encode())) == b"data"
        assert await fetch(subject.cache, sha256(awkward.encode()).upper()) == b"data"

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("namespace", ["", ".", "..", "-a", "_a", "a/b", "a b", "ä", "a\n", "a" * 200])
    async def test_refuses_malformed_namespaces(self, subject: Subject, namespace: str) -> None:
        """A name that could mean anything else than a namespace is refused by every operation."""
        cache = subject.cache
        for operation in (cache.open, cache.stat, cache.create, cache.delete, cache.invalidate):
            with pytest.raises(BadRequest):
                await operation(namespace, "key")

    @pytest_twisted.ensureDeferred
    async def test_refuses_malformed_keys_and_tags(self, subject: Subject) -> None:
        """An empty key, one that is not text, and an entity tag with quotes are refused."""
        for key in ("", "\udcff"):
            with pytest.raises(BadRequest):
                await subject.cache.open("ns", key)
        for etag in ("", 'a"b', "a b", "ä"):
            with pytest.raises(BadRequest):
                await subject.cache.create("ns", "key", etag=etag)
