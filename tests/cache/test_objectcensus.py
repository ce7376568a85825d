"""Counting and sweeping an object store."""

from typing import Any, cast

import pytest
from obstore.store import MemoryStore

from cachew.cache.interface import ObjectInfo
from cachew.cache.manifest import content_path, manifest_path
from cachew.cache.objectcensus import ObjectCensus
from cachew.cache.objectstore import ObjectStoreCache
from cachew.plumbing.bucket import Bucket, ListedObject
from cachew.plumbing.errors import StorageRefused, StorageUnavailable
from tests.contracts.cache import fetch, missing, store
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import result_of

GRACE = 100.0


class WatchedBucket(Bucket):
    """A bucket that knows which objects were read; it fails after so many of them, or when it is to list."""

    def __init__(self) -> None:
        super().__init__(store=MemoryStore(), threads=cast(Any, InlineThreads()))
        self.read: list[str] = []
        self.good: float = float("inf")
        self.lists = True
        self.unlisted: set[str] = set()
        self.locked: set[str] = set()

    async def get(self, path: str) -> tuple[bytes, str] | None:
        """Get."""
        if self.good <= 0:
            raise StorageUnavailable("the store fails")
        self.good -= 1
        self.read.append(path)
        return await super().get(path)

    async def listing(self, prefix: str) -> list[ListedObject]:
        """List."""
        if not self.lists:
            raise StorageUnavailable("the store fails")
        return [listed for listed in await super().listing(prefix) if listed.path not in self.unlisted]

    async def delete(self, path: str) -> None:
        """Delete."""
        if path in self.locked:
            raise StorageRefused("it is locked")
        await super().delete(path)


class Bench:
    """A census of what a cache has stored."""

    def __init__(self, limit: int | None = None) -> None:
        self.clock = FakeClock(now=1_700_000_000.0)
        self.bucket = WatchedBucket()
        self.cache = ObjectStoreCache(bucket=self.bucket, clock=self.clock)
        self.census = ObjectCensus(bucket=self.bucket, limit=limit, grace=GRACE, clock=self.clock)

    def store(self, *keys: str, **options: Any) -> list[ObjectInfo]:
        """Store an object of ten bytes under each key."""
        return [result_of(store(self.cache, key, b"0123456789", **options)) for key in keys]

    def count(self) -> int:
        """Return how many objects there are, and forget what was read before that."""
        self.bucket.read.clear()
        return result_of(self.census.stats()).objects

    def sweep(self) -> None:
        """Sweep."""
        result_of(self.census.sweep())

    @property
    def contents(self) -> list[str]:
        """Where content lies."""
        return [listed.path for listed in result_of(Bucket.listing(self.bucket, "contents"))]


@pytest.fixture
def bench() -> Bench:
    """Return an empty store without a limit."""
    return Bench()


def test_a_count_reads_what_is_new(bench: Bench) -> None:
    """What it knows already is listed and not read; what was replaced is read again, what is gone counts no more."""
    infos = bench.store("a", "b", "c")
    assert bench.count() == 3 and len(bench.bucket.read) == 3
    assert bench.count() == 3 and bench.bucket.read == []
    bench.store("b", etag="other")
    assert bench.count() == 3 and bench.bucket.read == [manifest_path("ns", infos[1].key)]
    assert result_of(bench.cache.delete("ns", "c"))
    assert bench.count() == 2 and bench.bucket.read == []


@pytest.mark.parametrize("lists", [True, False])
def test_a_count_that_fails_forgets_nothing(bench: Bench, lists: bool) -> None:
    """Whether nothing can be listed, or it fails in the midst of reading: the next reads what is missing."""
    bench.store("a", "b")
    bench.count()
    bench.store("c", "d")
    bench.bucket.lists, bench.bucket.good = lists, 1
    with pytest.raises(StorageUnavailable):
        result_of(bench.census.stats())
    bench.bucket.lists, bench.bucket.good = True, float("inf")
    assert bench.count() == 4 and len(bench.bucket.read) == (1 if lists else 2)


def test_what_is_no_manifest_is_not_counted(bench: Bench) -> None:
    """Neither what is damaged nor what lies in another's place."""
    (info,) = bench.store("a")
    found = result_of(bench.bucket.get(manifest_path("ns", info.key)))
    assert found is not None
    for path, data in (
        (manifest_path("ns", "0" * 64), b"{damaged"),
        (manifest_path("other", "0" * 64), found[0]),
        ("manifests/stray", found[0]),
        ("manifests/ns/too/deep", found[0]),
    ):
        result_of(bench.bucket.put(path, data))
    assert bench.count() == 1
    assert result_of(bench.census.namespaces()) == ["ns"]


def test_what_has_expired_is_not_counted(bench: Bench) -> None:
    """Nor is its namespace, though it is there until the next sweep."""
    bench.store("kept")
    bench.store("short", ttl=10, namespace="passing")
    assert result_of(bench.census.namespaces()) == ["ns", "passing"]
    bench.clock.advance(10)
    stats = result_of(bench.census.stats())
    assert (stats.objects, stats.size, stats.capacity) == (1, 10, 0)
    assert result_of(bench.census.namespaces()) == ["ns"]


def test_content_without_a_manifest_goes_after_the_grace(bench: Bench) -> None:
    """Not when it is seen first: somebody may be about to make it visible."""
    bench.store("kept")
    orphan = content_path("ns", "0" * 64, "nonce")
    result_of(bench.bucket.put(orphan, b"content"))
    for _ in range(2):
        bench.sweep()
        assert orphan in bench.contents
        bench.clock.advance(GRACE / 2)
    bench.sweep()
    assert len(bench.contents) == 1 and orphan not in bench.contents


def test_content_stays_whose_manifest_is_only_not_listed(bench: Bench) -> None:
    """Stores list late, or leave things out, and what another version has written can't be read here."""
    late, foreign = bench.store("late", "foreign")
    bench.bucket.unlisted = {manifest_path("ns", late.key)}
    found = result_of(bench.bucket.get(manifest_path("ns", foreign.key)))
    assert found is not None
    result_of(bench.bucket.put(manifest_path("ns", foreign.key), found[0].replace(b'"slides"', b'"slides_by"')))
    for _ in range(3):
        bench.sweep()
        bench.clock.advance(GRACE)
    assert len(bench.contents) == 2 and result_of(fetch(bench.cache, "late")) == b"0123456789"


def test_what_has_no_name_of_ours_is_left_alone(bench: Bench) -> None:
    """Neither read nor removed, wherever it lies: it is somebody else's."""
    strangers = ["contents/report.csv", "contents/ns/short/nonce", f"contents/ns/{'0' * 64}/deeper/nonce"]
    for path in (*strangers, "manifests/backup.tar", "manifests/ns/too/deep"):
        result_of(bench.bucket.put(path, b"theirs"))
    for _ in range(2):
        bench.sweep()
        bench.clock.advance(GRACE)
    assert bench.contents == sorted(strangers) and bench.bucket.read == []


def test_what_may_not_be_removed_keeps_nothing_else() -> None:
    """Single objects are locked in some buckets; the sweep goes on, and tells of it in the end."""
    bench = Bench(limit=10)
    infos = []
    for key in ("a", "b", "c"):
        infos += bench.store(key)
        bench.clock.advance(1)
    orphans = [content_path("ns", "0" * 64, nonce) for nonce in ("1", "2")]
    for orphan in orphans:
        result_of(bench.bucket.put(orphan, b"content"))
    bench.bucket.locked = {manifest_path("ns", infos[0].key), orphans[0]}
    for _ in range(2):
        with pytest.raises(StorageRefused):
            bench.sweep()
        bench.clock.advance(GRACE)
    with pytest.raises(StorageRefused):
        bench.sweep()
    assert orphans[0] in bench.contents and orphans[1] not in bench.contents
    assert bench.count() == 2


def test_content_that_becomes_visible_stays(bench: Bench) -> None:
    """The grace begins anew when it is an orphan again."""
    (info,) = bench.store("key")
    path = manifest_path("ns", info.key)
    found = result_of(bench.bucket.get(path))
    assert found is not None
    result_of(bench.bucket.delete(path))
    bench.sweep()
    bench.clock.advance(GRACE - 1)
    result_of(bench.bucket.put(path, found[0]))
    bench.sweep()
    result_of(bench.bucket.delete(path))
    bench.clock.advance(1)
    bench.sweep()
    assert len(bench.contents) == 1
    bench.clock.advance(GRACE)
    bench.sweep()
    assert bench.contents == []


def test_the_grace_is_no_shorter_for_a_time_of_day_that_is_put_forward(bench: Bench) -> None:
    """Who reads what was replaced has all of it to finish."""
    bench.store("key")
    bench.store("key")
    bench.sweep()
    bench.clock.put_forward(10 * GRACE)
    bench.sweep()
    assert len(bench.contents) == 2
    bench.clock.advance(GRACE)
    bench.sweep()
    assert len(bench.contents) == 1


def test_what_was_used_least_lately_goes() -> None:
    """No more than is needed, and what has expired doesn't count."""
    bench = Bench(limit=25)
    for key in ("a", "b", "c"):
        bench.store(key)
        bench.clock.advance(1)
    bench.store("expired", ttl=1)
    bench.clock.advance(1)
    bench.sweep()
    assert [key for key in ("a", "b", "c", "expired") if not result_of(missing(bench.cache, key))] == ["b", "c"]


def test_what_is_replaced_while_a_sweep_is_under_way_stays() -> None:
    """It is another object by the time it would be hidden."""
    bench = Bench(limit=15)
    bench.store("old")
    bench.clock.advance(1)
    bench.store("young")

    class Replacing(ObjectCensus):
        async def _all(self) -> Any:
            seen = await super()._all()
            await store(bench.cache, "old", b"9876543210")
            return seen

    census = Replacing(bucket=bench.bucket, limit=15, grace=GRACE, clock=bench.clock)
    result_of(census.sweep())
    assert result_of(fetch(bench.cache, "old")) == b"9876543210"
    assert result_of(fetch(bench.cache, "young")) == b"0123456789"
