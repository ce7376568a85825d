"""The cache in an object store: the contract on real servers, and what a failing one may and may not do."""

import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any, cast
from urllib.error import HTTPError
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

import obstore
import pytest
import pytest_twisted
from obstore.store import MemoryStore
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.threadpool import ThreadPool

from cachew.cache.interface import Cache, object_key
from cachew.cache.manifest import manifest_path
from cachew.cache.memory import MemoryCache
from cachew.cache.objectstore import ObjectStoreCache
from cachew.cache.presigned import Presigning
from cachew.cache.tiered import TieredCache, TierTimes
from cachew.plumbing.bucket import Bucket
from cachew.plumbing.errors import CachewError, Conflict, CorruptObject, StorageUnavailable
from cachew.plumbing.s3store import s3_store
from cachew.plumbing.streams import PIECE, FiledSource, read_all
from cachew.plumbing.threads import Threads
from tests.contracts.cache import LARGE, LIMIT, MAX_TTL, CacheContract, Subject, fetch, missing, opened, store
from tests.fakes.background import WatchedBackground
from tests.fakes.caches import disk_cache
from tests.fakes.clock import FakeClock
from tests.fakes.faultyproxy import FaultyProxy
from tests.fakes.objectservers import ACCESS_KEY, BUCKET, SECRET_KEY
from tests.fakes.tiers import numbered


@pytest.fixture(scope="module", autouse=True)
def servers(seaweedfs: str, moto: str) -> dict[str, str]:
    """Start the servers before any test looks at what it leaves behind."""
    return {"seaweedfs": seaweedfs, "moto": moto}


class Keeping(Bucket):
    """A bucket that removes nothing while told so, as without the right to."""

    keeps = False

    async def delete(self, path: str) -> None:
        """Delete."""
        if self.keeps:
            raise StorageUnavailable("forbidden")
        await super().delete(path)


def s3(url: str, prefix: str, **settings: Any) -> Any:
    """Return a store below a prefix of its own."""
    return s3_store(
        bucket=BUCKET, endpoint=url, prefix=prefix, access_key=ACCESS_KEY, secret_key=SECRET_KEY, **settings
    )


def cache_over(raw: Any, clock: FakeClock, threads: Threads, **settings: Any) -> ObjectStoreCache:
    """Return a cache over a store."""
    return ObjectStoreCache(
        bucket=Bucket(store=raw, threads=threads), **{"max_ttl": MAX_TTL, "clock": clock, **settings}
    )


def tiered_over(tiers: list[Cache], clock: FakeClock) -> TieredCache:
    """Return tiers as one cache that asks the last one every time."""
    from twisted.internet import reactor

    return TieredCache(
        tiers=numbered(tiers),
        reactor=cast(IReactorTime, reactor),
        clock=clock,
        times=TierTimes(check_interval=0, check_wait=10),
    )


class TestObjectStore(CacheContract):
    """It keeps the contract, on each of the stores."""

    @pytest_twisted.async_yield_fixture(params=["in memory", "seaweedfs", "moto"])
    async def subject(
        self, request: pytest.FixtureRequest, servers: dict[str, str], clock: FakeClock, threads: Threads
    ) -> AsyncIterator[Subject]:
        """Give the cache."""
        if request.param == "in memory":
            raw: Any = MemoryStore()
        else:
            raw = s3(servers[request.param], uuid.uuid4().hex)
        cache = cache_over(raw, clock, threads)
        await cache.start()
        yield Subject(cache, clock, bounded=False, keeps_on_invalidate=True, slides=True)
        await cache.stop()


class TestTieredOverObjectStore(CacheContract):
    """An object store keeps the contract behind every combination of nearer caches."""

    @pytest_twisted.async_yield_fixture(
        params=[
            *(("seaweedfs", near) for near in ("", "memory", "disk", "memory+disk")),
            ("moto", "memory+disk"),
            ("in memory", "memory"),
        ],
        ids=lambda param: "+".join(filter(None, [param[1], param[0]])),
    )
    async def subject(
        self,
        request: pytest.FixtureRequest,
        servers: dict[str, str],
        clock: FakeClock,
        threads: Threads,
        tmp_path: Path,
    ) -> AsyncIterator[Subject]:
        """Give the cache."""
        server, near = request.param
        makers: dict[str, Callable[[], Cache]] = {
            "memory": lambda: MemoryCache(limit=LIMIT, max_ttl=MAX_TTL, clock=clock),
            "disk": lambda: disk_cache(tmp_path / "cache", limit=LIMIT, max_ttl=MAX_TTL, clock=clock, threads=threads),
        }
        raw: Any = MemoryStore() if server == "in memory" else s3(servers[server], uuid.uuid4().hex)
        tiers = [*(makers[kind]() for kind in near.split("+") if kind), cache_over(raw, clock, threads)]
        cache = tiered_over(tiers, clock)
        await cache.start()
        yield Subject(cache, clock, bounded=False, keeps_on_invalidate=True, slides=True)
        await cache.stop()


def everything(raw: Any) -> list[str]:
    """Return the names of all that lies in a store."""
    return sorted(meta["path"] for piece in obstore.list(raw) for meta in piece)


async def in_regions(cache: Cache, key: str) -> bytes:
    """Return the content of an object as it is handed to those who send it."""
    received = b""
    async with opened(cache, key) as entry:
        source = entry.source()
        assert isinstance(source, FiledSource)
        while region := await source.region(3_000_000):
            assert region.length <= 3_000_000
            received += region.read()
        source.close()
        assert await source.region(1) is None
    return received


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("server", ["in memory", "seaweedfs"])
async def test_large_objects_stream_both_ways(
    servers: dict[str, str], clock: FakeClock, threads: Threads, server: str
) -> None:
    """An object of many parts goes up in parts and comes down by parallel ranges, whole and by regions."""
    raw = MemoryStore() if server == "in memory" else s3(servers[server], uuid.uuid4().hex)
    cache = cache_over(raw, clock, threads)
    data = LARGE * 17
    await store(cache, "key", data)
    assert await fetch(cache, "key") == data
    assert await fetch(cache, "key", offset=3_000_001, length=36_000_000) == data[3_000_001:39_000_001]
    assert await in_regions(cache, "key") == data
    async with opened(cache, "key") as entry:
        source = entry.source()
        await source.read(PIECE)
        source.close()
        assert await source.read(PIECE) == b""
    await cache.stop()


class Crowd:
    """A pool of one thread that a test can keep busy."""

    def __init__(self, reactor: Any) -> None:
        self.pool = ThreadPool(minthreads=0, maxthreads=1)
        self.pool.start()
        self.threads = Threads(reactor=reactor, pool=self.pool)
        self.go = threading.Event()

    def keep_busy(self) -> None:
        """Have everything wait until ``go`` is set."""
        self.pool.callInThread(self.go.wait, 10)

    async def emptied(self) -> None:
        """Wait until everything that was begun has ended."""
        self.go.set()
        await self.threads(lambda: None)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    """Return the pool."""
    from twisted.internet import reactor

    crowd = Crowd(reactor)
    yield crowd
    crowd.go.set()
    crowd.pool.stop()


def unfinished(url: str, prefix: str) -> list[str]:
    """Return the multipart uploads of a store that have neither been completed nor been ended."""
    boto3: Any = import_module("boto3")
    given = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
    listed = boto3.client("s3", endpoint_url=url, **given).list_multipart_uploads(Bucket=BUCKET)
    return [one["Key"] for one in listed.get("Uploads", []) if one["Key"].startswith(prefix)]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("server", ["seaweedfs", "moto"])
@pytest.mark.parametrize("when", ["written", "being written", "not yet written", "being committed"])
async def test_an_aborted_upload_leaves_nothing_in_the_store(
    servers: dict[str, str], clock: FakeClock, crowd: Crowd, server: str, when: str
) -> None:
    """No object and no part of one, whatever was under way when the client went."""
    prefix = uuid.uuid4().hex
    raw = s3(servers[server], prefix)
    cache = cache_over(raw, clock, crowd.threads)
    writer = await cache.create("ns", "aborted")
    await writer.write(LARGE * 4 if when == "written" else LARGE)
    if when != "written":
        if when != "being written":
            crowd.keep_busy()
        going_on = writer.commit() if when == "being committed" else writer.write(LARGE * 8)
        work: Deferred[Any] = Deferred.fromCoroutine(going_on)
        work.cancel()
        with pytest.raises(CancelledError):
            await work
    aborting = Deferred.fromCoroutine(writer.abort())
    crowd.go.set()
    await aborting
    await crowd.emptied()
    assert everything(raw) == []
    assert unfinished(servers[server], prefix) == []
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_use_puts_off_expiry(clock: FakeClock, threads: Threads) -> None:
    """An object without a time of its own lives as long as it is used, and is written down seldom."""
    background = WatchedBackground()
    cache = cache_over(MemoryStore(), clock, threads, background=background)
    await store(cache, "used", b"data")
    await store(cache, "unused", b"data")
    for _ in range(6):
        clock.advance(MAX_TTL * 0.6)
        assert await fetch(cache, "used") == b"data"
        await background.idle()
    assert await missing(cache, "unused")
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_noting_a_use_never_undoes_a_write(clock: FakeClock, threads: Threads) -> None:
    """When an object is replaced while its use is written down, the replacement stays."""
    background = WatchedBackground()
    cache = cache_over(MemoryStore(), clock, threads, background=background)
    await store(cache, "key", b"old")
    clock.advance(MAX_TTL * 0.6)
    looking = Deferred.fromCoroutine(cache.stat("ns", "key"))
    await store(cache, "key", b"new")
    await looking
    await background.idle()
    assert await fetch(cache, "key") == b"new"
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("server", ["in memory", "seaweedfs", "moto"])
@pytest.mark.parametrize("there", [False, True])
async def test_a_late_writer_replaces_nothing(
    servers: dict[str, str], clock: FakeClock, threads: Threads, server: str, there: bool
) -> None:
    """What another replica has stored since an object was begun stays, and what came too late leaves nothing."""
    raw = MemoryStore() if server == "in memory" else s3(servers[server], uuid.uuid4().hex)
    near = MemoryCache(limit=LIMIT, max_ttl=MAX_TTL, clock=clock)
    other = cache_over(raw, clock, threads)
    cache = tiered_over([near, cache_over(raw, clock, threads)], clock)
    if there:
        await store(other, "key", b"old")
    writer = await cache.create("ns", "key", unless_replaced=True)
    await writer.write(b"late")
    await store(other, "key", b"new")
    before = everything(raw)
    with pytest.raises(Conflict):
        await writer.commit()
    await writer.abort()
    assert everything(raw) == before
    assert await missing(near, "key")
    assert await fetch(cache, "key") == b"new"
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("meanwhile", ["nothing", "use", "delete", "damage"])
@pytest.mark.parametrize("there", [False, True])
async def test_a_writer_that_nobody_was_before_stores(
    servers: dict[str, str], clock: FakeClock, threads: Threads, meanwhile: str, there: bool
) -> None:
    """Also when what it replaces has been used, has gone or has been damaged since it was begun."""
    raw = s3(servers["seaweedfs"], uuid.uuid4().hex)
    background = WatchedBackground()
    cache = cache_over(raw, clock, threads, background=background)
    if there:
        await store(cache, "key", b"old")
    writer = await cache.create("ns", "key", unless_replaced=True)
    await writer.write(b"new")
    if meanwhile == "use":
        clock.advance(MAX_TTL * 0.6)
        await cache.stat("ns", "key")
        await background.idle()
    elif meanwhile == "delete":
        await cache.delete("ns", "key")
    elif meanwhile == "damage":
        obstore.put(raw, manifest_path("ns", object_key("key")), b"{")
    await writer.commit()
    assert await fetch(cache, "key") == b"new"
    await cache.stop()


class RepeatingBucket(Bucket):
    """Makes every conditional put twice, as when the answer to the first one is lost."""

    async def put_if(self, path: str, data: bytes, version: str | None) -> str:
        """Put, and put again."""
        await super().put_if(path, data, version)
        return await super().put_if(path, data, version)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("there", [False, True])
async def test_a_commit_that_is_made_again_meets_its_own_trace(
    servers: dict[str, str], clock: FakeClock, threads: Threads, there: bool
) -> None:
    """What a repeated put is refused for is nobody else's."""
    bucket = RepeatingBucket(store=s3(servers["seaweedfs"], uuid.uuid4().hex), threads=threads)
    cache = ObjectStoreCache(bucket=bucket, max_ttl=MAX_TTL, clock=clock)
    if there:
        await store(cache, "key", b"old")
    writer = await cache.create("ns", "key", unless_replaced=True)
    await writer.write(b"new")
    await writer.commit()
    assert await fetch(cache, "key") == b"new"
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_sweep_removes_what_nobody_can_see(clock: FakeClock, threads: Threads) -> None:
    """Replaced and expired content goes after the grace, visible objects never, and a deleted one at once."""
    raw = MemoryStore()
    cache = cache_over(raw, clock, threads, grace=100)
    await store(cache, "key", b"old")
    await store(cache, "key", b"new")
    await store(cache, "short", b"data", ttl=10)
    await cache.sweep()
    assert len(everything(raw)) == 5
    clock.advance(99)
    await cache.sweep()
    assert [len(everything(raw)), (await cache.stats()).objects] == [4, 1]
    clock.advance(1)
    await cache.sweep()
    assert len(everything(raw)) == 3
    clock.advance(99)
    await cache.sweep()
    assert len(everything(raw)) == 2
    assert await fetch(cache, "key") == b"new"
    assert await cache.delete("ns", "key")
    assert everything(raw) == []
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_sweep_keeps_the_limit(clock: FakeClock, threads: Threads) -> None:
    """With a limit, what was used least lately goes, and what is kept for those who still read it doesn't count."""
    raw = MemoryStore()
    cache = cache_over(raw, clock, threads, limit=25, max_ttl=None, grace=100)
    for key in ("a", "b", "c"):
        await store(cache, key, b"0123456789")
        clock.advance(1)
    for contents in (3, 3, 2):
        await cache.sweep()
        assert [key for key in "abc" if not await missing(cache, key)] == ["b", "c"]
        assert [path.split("/")[0] for path in everything(raw)].count("contents") == contents
        stats = await cache.stats()
        assert (stats.objects, stats.size, stats.capacity) == (2, 20, 25)
        clock.advance(50)
    await cache.sweep()
    assert len(everything(raw)) == 4
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("server", ["in memory", "seaweedfs"])
@pytest.mark.parametrize("why", ["expired", "over the limit"])
async def test_a_sweep_breaks_no_download_off(
    servers: dict[str, str], clock: FakeClock, threads: Threads, server: str, why: str
) -> None:
    """Who is in the midst of an object when a sweep removes it gets the rest of it."""
    raw = MemoryStore() if server == "in memory" else s3(servers[server], uuid.uuid4().hex)
    cache = cache_over(raw, clock, threads, grace=100, limit=1 if why == "over the limit" else None)
    data = LARGE * 4
    await store(cache, "key", data)
    async with opened(cache, "key") as entry:
        source = entry.source()
        received = await source.read(PIECE)
        clock.advance(MAX_TTL if why == "expired" else 1)
        for _ in range(3):
            await cache.sweep()
            assert await missing(cache, "key")
            clock.advance(49)
        received += await read_all(source, 1 << 40)
        source.close()
    assert received == data
    clock.advance(3)
    await cache.sweep()
    assert everything(raw) == []
    await cache.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
async def test_damaged_content_is_never_served(clock: FakeClock, threads: Threads, damage: str) -> None:
    """Content that was changed, cut or removed behind our back fails its reader, and is a miss from then on."""
    raw = MemoryStore()
    cache = cache_over(raw, clock, threads)
    await store(cache, "key", LARGE)
    (path,) = [path for path in everything(raw) if path.startswith("contents")]
    content = bytearray(bytes(obstore.get(raw, path).bytes()))
    content[2_000_000] ^= 1
    if damage == "remove":
        obstore.delete(raw, path)
    else:
        obstore.put(raw, path, bytes(content if damage == "flip" else content[:2_000_000]))
    with pytest.raises(CorruptObject):
        await fetch(cache, "key")
    assert await missing(cache, "key")
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_damaged_content_that_the_store_keeps_is_not_served_again(clock: FakeClock, threads: Threads) -> None:
    """Its removal is tried whenever it is asked for; what is stored in its place is served."""
    raw, background = MemoryStore(), WatchedBackground()
    bucket = Keeping(store=raw, threads=threads)
    cache = ObjectStoreCache(bucket=bucket, max_ttl=MAX_TTL, clock=clock, background=background)
    for key in ("key", "other"):
        await store(cache, key, LARGE)
    for path in everything(raw):
        if path.startswith("contents"):
            obstore.put(raw, path, LARGE[:-1] + b"?")
    bucket.keeps = True
    for key in ("key", "other"):
        with pytest.raises(CorruptObject):
            await fetch(cache, key)
    assert await missing(cache, "key") and await cache.stat("ns", "key") is None
    await store(cache, "other", b"new")
    assert await fetch(cache, "other") == b"new"
    await background.idle()
    bucket.keeps = False
    assert await missing(cache, "key")
    await background.idle()
    assert not [path for path in everything(raw) if path == manifest_path("ns", object_key("key"))]
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_damaged_manifest_is_a_miss(clock: FakeClock, threads: Threads) -> None:
    """Whatever lies in a manifest's place, it is a miss unless it is that object's manifest."""
    raw = MemoryStore()
    cache = cache_over(raw, clock, threads)
    await store(cache, "key", b"data")
    (path,) = [path for path in everything(raw) if path.startswith("manifests")]
    good = json.loads(bytes(obstore.get(raw, path).bytes()))
    incomplete = [json.dumps({**good, name: None}).encode() for name in sorted(good.keys() - {"expires"})]
    for bad in (b"", b"{}", b"[1]", b"\xff", *incomplete):
        obstore.put(raw, path, bad)
        assert await missing(cache, "key"), bad
    obstore.put(raw, path, json.dumps(good).encode())
    assert await fetch(cache, "key") == b"data"
    await cache.stop()


class Faulty:
    """A cache over SeaweedFS behind a faulty proxy, and the same cache past the proxy."""

    def __init__(self, url: str, clock: FakeClock, threads: Threads) -> None:
        from twisted.internet import reactor

        self.proxy = FaultyProxy(reactor=reactor, target=urlsplit(url).port or 0)
        self.url, self.prefix, self.clock, self.threads = url, uuid.uuid4().hex, clock, threads

    async def start(self) -> None:
        """Start the proxy."""
        url = f"http://127.0.0.1:{await self.proxy.start()}"
        settings = {"timeout": 1.0, "connect_timeout": 1.0, "retries": 1}
        self.cache = cache_over(s3(url, self.prefix, **settings), self.clock, self.threads)
        self.sound = cache_over(s3(self.url, self.prefix), self.clock, self.threads)

    async def stop(self) -> None:
        """Stop everything."""
        await self.cache.stop()
        await self.sound.stop()
        await self.proxy.stop()


@pytest_twisted.async_yield_fixture
async def faulty(seaweedfs: str, clock: FakeClock, threads: Threads) -> AsyncIterator[Faulty]:
    """Give the faulty store."""
    faulty = Faulty(seaweedfs, clock, threads)
    await faulty.start()
    yield faulty
    await faulty.stop()


def break_it(proxy: FaultyProxy, how: str) -> None:
    """Make a proxy fail."""
    proxy.drop()
    if how == "hangs":
        proxy.hang = True
    elif how == "answers 503":
        proxy.answer = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    elif how == "answers rubbish":
        proxy.answer = b"\x00\x01rubbish\r\n\r\n"
    else:
        proxy.cut = 0


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["hangs", "answers 503", "answers rubbish", "drops connections"])
async def test_a_failing_store_is_named(faulty: Faulty, how: str) -> None:
    """While the store fails, reading and writing fail with the storage's error in bounded time; then they work."""
    await store(faulty.cache, "key", LARGE)
    break_it(faulty.proxy, how)
    with pytest.raises(StorageUnavailable):
        await faulty.cache.open("ns", "key")
    with pytest.raises(StorageUnavailable):
        await store(faulty.cache, "key", b"other")
    faulty.proxy.hang, faulty.proxy.answer, faulty.proxy.cut = False, None, None
    assert await fetch(faulty.cache, "key") == LARGE


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("cut", [1000, 1_500_000])
async def test_a_connection_lost_in_the_middle_gives_nothing_wrong(faulty: Faulty, cut: int) -> None:
    """A download whose connection breaks ends whole, by another try, or in a failure; never short or wrong."""
    await store(faulty.sound, "key", LARGE)
    async with opened(faulty.cache, "key") as entry:
        faulty.proxy.drop()
        faulty.proxy.cut = cut
        source, received = entry.source(), b""
        with pytest.raises(CachewError):
            while piece := await source.read(PIECE):
                received += piece
            assert received == LARGE
            raise StorageUnavailable("whole after all")
        source.close()
    assert LARGE.startswith(received)


@pytest_twisted.ensureDeferred
async def test_bytes_changed_on_their_way_are_noticed(faulty: Faulty) -> None:
    """An answer that was changed on its way fails its reader."""
    await store(faulty.sound, "key", LARGE)
    faulty.proxy.change = (LARGE[1_200_000:1_200_004], b"\x00\x00\x00\x00")
    with pytest.raises(CorruptObject):
        await fetch(faulty.cache, "key")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("size", [100_000, len(LARGE) * 4], ids=["one request", "parts"])
async def test_an_upload_changed_on_its_way_is_refused(faulty: Faulty, size: int) -> None:
    """The store checks what it gets against the digest that was sent along, and the old object stays."""
    await store(faulty.sound, "key", b"old")
    faulty.proxy.change_requests = (LARGE[50_000:50_004], bytes(4))
    with pytest.raises(StorageUnavailable):
        await store(faulty.cache, "key", (LARGE * 4)[:size])
    assert await fetch(faulty.sound, "key") == b"old"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["hangs", "answers 503", "drops connections"])
async def test_an_upload_that_fails_is_never_visible(faulty: Faulty, how: str) -> None:
    """When the store fails in the middle of an upload the old object stays, and the writer can be aborted."""
    await store(faulty.sound, "key", b"old")
    writer = await faulty.cache.create("ns", "key")
    await writer.write(LARGE * 4)
    break_it(faulty.proxy, how)
    with pytest.raises(StorageUnavailable):
        for _ in range(20):
            await writer.write(LARGE)
        await writer.commit()
    with pytest.raises(StorageUnavailable):
        await writer.abort()
    assert await fetch(faulty.sound, "key") == b"old"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("server", ["seaweedfs", "moto"])
async def test_addresses_in_the_store(servers: dict[str, str], server: str, clock: FakeClock, threads: Threads) -> None:
    """Large objects have an address at which anybody reads them, whole or in part, as long as they are the same."""
    raw, prefix = s3(servers[server], uuid.uuid4().hex), "k" * 64
    cache = cache_over(raw, clock, threads, presigning=Presigning(300, 10))
    await store(cache, prefix, b"small")
    await store(cache, "large", b"0123456789")
    small, large = await cache.stat("ns", prefix), await cache.stat("ns", "large")
    assert small is not None and large is not None
    assert await cache.presigned(small) is None
    address = await cache.presigned(large)
    assert address is not None and urlsplit(address).netloc == urlsplit(servers[server]).netloc
    assert await threads(read, address) == (200, b"0123456789")
    assert await threads(read, address, "bytes=2-4") == (206, b"234")
    await store(cache, "large", b"other content")
    assert await cache.presigned(large) is None
    assert await threads(read, address) == (200, b"0123456789")
    await cache.delete("ns", "large")
    assert await cache.presigned(large) is None
    assert await cache_over(raw, clock, threads).presigned(small) is None


@pytest_twisted.ensureDeferred
async def test_addresses_expire(servers: dict[str, str], clock: FakeClock, threads: Threads) -> None:
    """The store refuses an address that is too old, or that was changed."""
    from twisted.internet import reactor

    raw = s3(servers["seaweedfs"], uuid.uuid4().hex)
    cache = cache_over(raw, clock, threads, presigning=Presigning(1, 1))
    await store(cache, "key", b"data")
    info = await cache.stat("ns", "key")
    assert info is not None
    address = await cache.presigned(info)
    assert address is not None
    asked = dict(parse_qsl(urlsplit(address).query))
    began = datetime.strptime(asked["X-Amz-Date"], "%Y%m%dT%H%M%S%z").timestamp()
    ends = began + int(asked["X-Amz-Expires"])
    assert await threads(read, address.replace("X-Amz-Expires=1", "X-Amz-Expires=9000")) == (403, b"")
    await deferLater(cast(IReactorTime, reactor), max(0.0, ends + 1 - time.time()))
    assert await threads(read, address) == (403, b"")


def read(address: str, span: str = "bytes=0-") -> tuple[int, bytes]:
    """Read a range of what lies at an address, as somebody whom the store doesn't know; the whole of it by default."""
    try:
        with urlopen(Request(address, headers={} if span == "bytes=0-" else {"Range": span}), timeout=10) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, b""


@pytest_twisted.ensureDeferred
async def test_a_bucket_that_is_not_there(servers: dict[str, str], clock: FakeClock, threads: Threads) -> None:
    """Whatever is to be read, stored or counted there fails like in a store that is down: no copy goes for it."""
    raw = s3_store(bucket="nowhere", endpoint=servers["moto"], access_key=ACCESS_KEY, secret_key=SECRET_KEY)
    cache, bucket = cache_over(raw, clock, threads), Bucket(store=raw, threads=threads)
    with pytest.raises(StorageUnavailable):
        await cache.stat("n", "key")
    with pytest.raises(StorageUnavailable):
        await cache.stats()
    with pytest.raises(StorageUnavailable):
        await store(cache, "key", b"content")
    with pytest.raises(StorageUnavailable):
        await bucket.put_if("path", b"content", None)
