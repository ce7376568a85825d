"""Several caches as one: the contract in every combination, and what failing tiers may and may not do."""

import gc
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from cachew.cache.debts import MOST_DEBTS, Debt
from cachew.cache.interface import Cache, ObjectInfo
from cachew.cache.memory import MemoryCache
from cachew.cache.tiered import TieredCache, TierTimes
from cachew.plumbing.errors import CorruptObject, StorageUnavailable, TooLarge
from cachew.plumbing.journal import Journal
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import read_all
from cachew.plumbing.threads import Threads
from tests.contracts.cache import LARGE, LIMIT, MAX_TTL, CacheContract, Subject, fetch, missing, opened, store
from tests.fakes.background import WatchedBackground
from tests.fakes.caches import UnreliableCache, disk_cache
from tests.fakes.clock import FakeClock
from tests.fakes.tiers import numbered
from tests.functional.loglines import listening

COMBINATIONS = ["memory", "disk", "memory+disk", "disk+memory", "memory+memory", "disk+disk", "memory+memory+disk"]


@pytest.fixture
def background() -> WatchedBackground:
    """Return work behind the scenes that can be waited for."""
    return WatchedBackground()


class TestTiered(CacheContract):
    """It keeps the contract, whatever the tiers are."""

    @pytest_twisted.async_yield_fixture(params=COMBINATIONS)
    async def subject(
        self, request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock, threads: Threads
    ) -> AsyncIterator[Subject]:
        """Give a tiered cache that asks the authority every time and as long as it takes."""
        from twisted.internet import reactor

        tiers: list[Cache] = []
        for number, kind in enumerate(request.param.split("+")):
            if kind == "memory":
                tiers.append(MemoryCache(limit=LIMIT, max_ttl=MAX_TTL, clock=clock))
            else:
                path = tmp_path / str(number)
                tiers.append(disk_cache(path, limit=LIMIT, max_ttl=MAX_TTL, clock=clock, threads=threads))
        cache = TieredCache(
            tiers=numbered(tiers),
            reactor=cast(IReactorTime, reactor),
            clock=clock,
            times=TierTimes(check_interval=0, check_wait=10),
        )
        await cache.start()
        yield Subject(cache, clock, keeps_on_invalidate=True)
        await cache.stop()


class Tiers:
    """A tiered cache of three in memory, that fail at command, or of others."""

    def __init__(
        self,
        clock: FakeClock,
        background: WatchedBackground,
        tiers: Sequence[Cache] = (),
        debts: Journal[Debt] | None = None,
    ) -> None:
        self.clock = clock
        self.background = background
        self.near, self.middle, self.far = three = [
            UnreliableCache(MemoryCache(limit=LIMIT, clock=clock)) for _ in range(3)
        ]
        self.metrics = Metrics()
        self.cache = TieredCache(
            tiers=numbered(tiers) if tiers else dict(zip(["near", "middle", "far"], three, strict=True)),
            reactor=self.clock,
            clock=clock,
            times=TierTimes(check_interval=1),
            background=background,
            metrics=self.metrics,
            debts=debts,
        )

    def counted(self, tier: str, outcome: str) -> float:
        """Return how often something came of looking into a tier."""
        labels = {"tier": tier, "outcome": outcome}
        return self.metrics.registry.get_sample_value("cachew_cache_tier_requests_total", labels) or 0

    def up(self, tier: str) -> float | None:
        """Return what the metrics say of a tier."""
        return self.metrics.registry.get_sample_value("cachew_cache_tier_up", {"tier": tier})


@pytest_twisted.async_yield_fixture
async def tiers(clock: FakeClock, background: WatchedBackground) -> AsyncIterator[Tiers]:
    """Give the three."""
    tiers = Tiers(clock, background)
    yield tiers
    await tiers.cache.stop()


@pytest_twisted.ensureDeferred
async def test_a_nearer_tier_is_filled_by_the_reader(tiers: Tiers, clock: FakeClock) -> None:
    """Who reads an object from far away leaves copies in all nearer tiers, equal in all that is known of it."""
    info = await store(tiers.far, "key", LARGE, headers={"A": "b"}, etag="v1", ttl=100)
    clock.advance(50)
    assert await fetch(tiers.cache, "key") == LARGE
    await tiers.background.idle()
    assert await tiers.near.stat("ns", "key") == info
    assert await tiers.middle.stat("ns", "key") == info
    tiers.far.asked.clear()
    assert await fetch(tiers.cache, "key") == LARGE
    assert "open" not in tiers.far.asked


@pytest_twisted.ensureDeferred
async def test_no_copy_is_seen_before_it_is_whole(tiers: Tiers) -> None:
    """While an object is being read from far away nothing is visible nearer; who stops reading leaves nothing."""
    await store(tiers.far, "key", LARGE)
    async with opened(tiers.cache, "key") as entry:
        source = entry.source()
        await source.read(100_000)
        assert await missing(tiers.near, "key")
        source.close()
    await tiers.background.idle()
    assert await missing(tiers.near, "key")
    assert await fetch(tiers.cache, "key") == LARGE
    await tiers.background.idle()
    assert not await missing(tiers.near, "key")


@pytest_twisted.ensureDeferred
async def test_a_reader_waits_for_no_copy_of_what_he_has(tiers: Tiers) -> None:
    """A piece is handed out while it is being copied, the next one when the copies have it; all of it is copied."""
    await store(tiers.far, "key", LARGE)
    gate = tiers.near.writing = Deferred()
    async with opened(tiers.cache, "key") as entry:
        source = entry.source()
        first = await source.read(len(LARGE))
        reading = Deferred.fromCoroutine(read_all(source, 1 << 30))
        assert first and not reading.called
        tiers.near.writing = None
        gate.callback(None)
        assert first + await reading == LARGE
    await tiers.background.idle()
    assert await fetch(tiers.near, "key") == await fetch(tiers.middle, "key") == LARGE


@pytest_twisted.ensureDeferred
async def test_a_reader_who_leaves_while_a_copy_is_written_leaves_nothing(tiers: Tiers) -> None:
    """The copies end, and the object can be copied by the next reader."""
    await store(tiers.far, "key", LARGE)
    gate = tiers.near.writing = Deferred()
    async with opened(tiers.cache, "key") as entry:
        source = entry.source()
        await source.read(1000)
        source.close()
    tiers.near.writing = None
    gate.callback(None)
    await tiers.background.idle()
    assert await missing(tiers.near, "key")
    assert await fetch(tiers.cache, "key") == LARGE
    await tiers.background.idle()
    assert await fetch(tiers.near, "key") == LARGE


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("cut", [0, 1, 1_000_000, 2_499_999])
async def test_a_connection_lost_in_the_middle_leaves_no_copy(tiers: Tiers, cut: int) -> None:
    """A reader of an object whose storage breaks off gets the failure, and nothing of it is kept."""
    await store(tiers.far, "key", LARGE)
    tiers.far.cut = cut
    with pytest.raises(CorruptObject):
        await fetch(tiers.cache, "key")
    await tiers.background.idle()
    assert await missing(tiers.near, "key")
    assert await missing(tiers.middle, "key")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("cut", [0, 1, 1_500_000])
@pytest.mark.parametrize("region", [(0, None), (500_000, 2_000_000)])
async def test_a_damaged_copy_is_read_on_from_a_farther_tier(
    tiers: Tiers, cut: int, region: tuple[int, int | None]
) -> None:
    """Who reads a copy that turns out to be damaged gets the rest from a tier that has the same object."""
    await store(tiers.cache, "key", LARGE)
    tiers.near.cut = cut
    tiers.middle.down = True
    offset, length = region
    end = len(LARGE) if length is None else offset + length
    async with opened(tiers.cache, "key") as entry:
        assert await read_all(entry.source(offset, length), LIMIT) == LARGE[offset:end]


@pytest_twisted.ensureDeferred
async def test_a_damaged_copy_is_read_on_from_nothing_else(tiers: Tiers) -> None:
    """When the other tiers have another object by now, or fail, the stream ends with what was wrong."""
    await store(tiers.cache, "key", LARGE)
    tiers.near.cut = 1_000_000
    async with opened(tiers.cache, "key") as entry:
        await store(tiers.middle, "key", b"other")
        await store(tiers.far, "key", b"other")
        with pytest.raises(CorruptObject):
            await read_all(entry.source(), LIMIT)
        tiers.middle.down = tiers.far.down = True
        with pytest.raises(CorruptObject):
            await read_all(entry.source(), LIMIT)


@pytest_twisted.ensureDeferred
async def test_reading_a_part_fills_in_the_background(tiers: Tiers) -> None:
    """Readers of parts get them at once; one copy of the whole is made behind them, by one reading."""
    await store(tiers.far, "key", LARGE)
    tiers.far.asked.clear()
    async with opened(tiers.cache, "key") as entry:
        sources = [entry.source(offset, 10) for offset in range(0, 100, 10)]
        assert b"".join([await read_all(source, 10) for source in sources]) == LARGE[:100]
    await tiers.background.idle()
    assert await fetch(tiers.near, "key") == LARGE
    assert await fetch(tiers.middle, "key") == LARGE
    assert tiers.far.asked.count("open") == 2


@pytest_twisted.ensureDeferred
async def test_a_stale_copy_is_noticed_and_healed(tiers: Tiers) -> None:
    """When the authority has another object than a nearer tier, the authority's is served and replaces the copies."""
    await store(tiers.cache, "key", b"old")
    await store(tiers.far, "key", b"new")
    assert await fetch(tiers.cache, "key") == b"new"
    await tiers.background.idle()
    assert await fetch(tiers.near, "key") == b"new"
    assert await fetch(tiers.middle, "key") == b"new"


@pytest_twisted.ensureDeferred
async def test_what_the_authority_lost_is_gone(tiers: Tiers) -> None:
    """An object that another replica deleted is not served from a copy."""
    await store(tiers.cache, "key", b"data")
    await tiers.far.delete("ns", "key")
    assert await missing(tiers.cache, "key")
    assert await missing(tiers.near, "key")


@pytest_twisted.ensureDeferred
async def test_the_authority_is_asked_once_per_interval(tiers: Tiers) -> None:
    """Its answer holds for a while: reading a hot object costs the authority one question per interval."""
    await store(tiers.cache, "key", b"data")
    tiers.far.asked.clear()
    for _ in range(10):
        assert await fetch(tiers.cache, "key") == b"data"
    assert tiers.far.asked == ["stat"]
    tiers.clock.advance(2)
    await fetch(tiers.cache, "key")
    assert tiers.far.asked == ["stat", "stat"]


@pytest_twisted.ensureDeferred
async def test_nobody_waits_long_for_the_authority(tiers: Tiers) -> None:
    """While the authority hangs a copy is served after a short wait; a late answer takes effect for the next reader."""
    await store(tiers.cache, "key", b"old")
    await store(tiers.far, "key", b"new")
    tiers.far.gate = Deferred()
    reading = Deferred.fromCoroutine(fetch(tiers.cache, "key"))
    assert not reading.called
    tiers.clock.advance(0.05)
    assert await reading == b"old"
    gate, tiers.far.gate = tiers.far.gate, None
    gate.callback(None)
    await tiers.background.idle()
    assert await missing(tiers.near, "key")
    assert await fetch(tiers.cache, "key") == b"new"


@pytest_twisted.ensureDeferred
async def test_a_failing_authority_harms_no_reader_of_a_copy(tiers: Tiers) -> None:
    """With the authority down, copies are served, other objects are misses, and it is left alone for a while."""
    await store(tiers.cache, "key", b"data")
    tiers.far.down = True
    assert await fetch(tiers.cache, "key") == b"data"
    tiers.far.asked.clear()
    assert await fetch(tiers.cache, "key") == b"data"
    assert await missing(tiers.cache, "other")
    assert tiers.far.asked == []
    tiers.far.down = False
    await store(tiers.far, "other", b"more")
    tiers.clock.advance(5)
    assert await fetch(tiers.cache, "other") == b"more"


@pytest_twisted.ensureDeferred
async def test_a_failing_near_tier_is_skipped(tiers: Tiers) -> None:
    """With the nearest tier down, the others serve and store; it serves again when it is back."""
    await store(tiers.cache, "key", b"data")
    tiers.near.down = True
    assert await fetch(tiers.cache, "key") == b"data"
    await store(tiers.cache, "new", b"more")
    assert await fetch(tiers.cache, "new") == b"more"
    tiers.near.down = False
    tiers.clock.advance(5)
    assert await fetch(tiers.cache, "new") == b"more"
    await tiers.background.idle()
    assert not await missing(tiers.near, "new")


@pytest_twisted.ensureDeferred
async def test_a_near_tier_that_breaks_while_writing_loses_its_copy(tiers: Tiers) -> None:
    """A nearer tier that fails in the middle of a write doesn't fail the write."""
    tiers.near.full_after = 1_000_000
    await store(tiers.cache, "key", LARGE)
    assert await missing(tiers.near, "key")
    assert await fetch(tiers.far, "key") == LARGE


@pytest_twisted.ensureDeferred
async def test_only_when_all_fail_it_fails(tiers: Tiers) -> None:
    """When no tier works, reading, storing and counting fail with the storage's error."""
    await store(tiers.cache, "key", b"data")
    for tier in (tiers.near, tiers.middle, tiers.far):
        tier.down = True
    for operation in (tiers.cache.open, tiers.cache.stat, tiers.cache.create, tiers.cache.delete):
        with pytest.raises(StorageUnavailable):
            await operation("ns", "key")
    for counting in (tiers.cache.stats, tiers.cache.namespaces):
        with pytest.raises(StorageUnavailable):
            await counting()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("when", ["before", "while"])
async def test_what_the_authority_could_not_take_is_owed_to_it(tiers: Tiers, when: str) -> None:
    """An object written while the authority fails is served from the copies and stored there when it is back."""
    await store(tiers.cache, "key", b"old")
    if when == "before":
        tiers.far.down = True
    else:
        tiers.far.full_after = 1
    await store(tiers.cache, "key", LARGE)
    assert await fetch(tiers.cache, "key") == LARGE
    tiers.clock.advance(5)
    tiers.far.down, tiers.far.full_after = False, None
    assert await fetch(tiers.cache, "key") == LARGE
    tiers.clock.advance(10)
    await tiers.background.idle()
    assert await fetch(tiers.far, "key") == LARGE


def _journal(path: Path, threads: Threads) -> Journal[Debt]:
    return Journal(path=path, in_thread=threads, read=Debt.read, write=Debt.fields, lost="nothing")


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("damaged", [False, True])
async def test_what_is_owed_outlives_the_server(
    clock: FakeClock, threads: Threads, tmp_path: Path, damaged: bool
) -> None:
    """An object that was accepted while the authority failed is served, and stored there, by the next server.

    Where the file that says so is damaged the authority is right about what it does not have.
    """
    far = UnreliableCache(MemoryCache(limit=LIMIT, clock=clock))

    async def begin() -> Tiers:
        near = disk_cache(tmp_path / "cache", limit=LIMIT, clock=clock, threads=threads)
        server = Tiers(clock, WatchedBackground(), tiers=[near, far], debts=_journal(tmp_path / "debts", threads))
        await server.cache.start()
        return server

    server = await begin()
    far.down = True
    await store(server.cache, "key", LARGE)
    await server.cache.stop()
    if damaged:
        (tmp_path / "debts").write_bytes(b"{\n")
    far.down = False
    server = await begin()
    assert (await server.cache.stat("ns", "key") is None) == damaged
    server.clock.advance(5)
    await server.background.idle()
    assert (await far.stat("ns", "key") is None) == damaged
    await server.cache.stop()
    assert await _journal(tmp_path / "debts", threads).load() == {}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("owed", [0, MOST_DEBTS])
async def test_what_cannot_be_owed_is_not_accepted(
    clock: FakeClock, threads: Threads, tmp_path: Path, owed: int
) -> None:
    """While the authority fails, whoever stores what can't be written down, or too much, is told so."""
    near, far = MemoryCache(limit=LIMIT, clock=clock), UnreliableCache(MemoryCache(limit=LIMIT, clock=clock))
    (tmp_path / "file").touch()
    journal = None if owed else _journal(tmp_path / "file" / "debts", threads)
    cache = Tiers(clock, WatchedBackground(), tiers=[near, far], debts=journal).cache
    await cache.start()
    far.down = True
    for number in range(owed):
        await store(cache, str(number), b"")
    with pytest.raises(StorageUnavailable, match="owed"):
        await store(cache, "key", b"content")
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_what_the_authority_would_not_remove_is_not_to_be_had(tiers: Tiers) -> None:
    """Its removal is tried again and again; what is stored in its place meanwhile is to be had."""
    for key in ("key", "other"):
        await store(tiers.cache, key, b"damaged")
    tiers.far.keeps = True
    for key in ("key", "other"):
        with pytest.raises(StorageUnavailable):
            await tiers.cache.delete("ns", key)
    for _ in range(3):
        tiers.clock.advance(6)
        assert await missing(tiers.cache, "key") and await tiers.cache.stat("ns", "key") is None
        assert not await missing(tiers.far, "key")
    await store(tiers.cache, "other", b"new")
    assert await fetch(tiers.cache, "other") == b"new"
    tiers.far.keeps = False
    tiers.clock.pump([6] * 8)
    await tiers.background.idle()
    assert await missing(tiers.far, "key") and await fetch(tiers.cache, "other") == b"new"


@pytest_twisted.ensureDeferred
async def test_what_is_to_be_removed_is_not_to_be_had_while_it_is_tried_again(tiers: Tiers) -> None:
    """The attempt may fail like the one before."""
    await store(tiers.cache, "key", b"damaged")
    tiers.far.keeps = True
    with pytest.raises(StorageUnavailable):
        await tiers.cache.delete("ns", "key")
    for _ in range(2):
        tiers.clock.advance(6)
    gate: Deferred[None] = Deferred()
    tiers.near.gate = gate
    again = Deferred.fromCoroutine(tiers.cache.delete("ns", "key"))
    tiers.near.gate = None
    assert await missing(tiers.cache, "key") and await tiers.cache.stat("ns", "key") is None
    tiers.far.keeps = False
    gate.callback(None)
    assert await again
    tiers.clock.pump([6] * 8)
    await tiers.background.idle()
    await store(tiers.cache, "key", b"new")
    assert await fetch(tiers.cache, "key") == b"new"


@pytest_twisted.ensureDeferred
async def test_a_debt_yields_to_what_another_stored_since(tiers: Tiers, clock: FakeClock) -> None:
    """What the authority got from elsewhere after the failed write is newer, and stays."""
    tiers.far.down = True
    await store(tiers.cache, "key", b"ours")
    tiers.far.down = False
    clock.advance(1)
    await store(tiers.far, "key", b"theirs")
    tiers.clock.advance(5)
    await tiers.background.idle()
    assert await fetch(tiers.cache, "key") == b"theirs"


@pytest_twisted.ensureDeferred
async def test_a_debt_that_is_gone_before_it_is_due_is_no_failure(tiers: Tiers) -> None:
    """An object that is removed before the authority is back is owed to it no more, and nothing goes wrong behind."""
    tiers.far.down = True
    await store(tiers.cache, "key", b"ours")
    with pytest.raises(StorageUnavailable):
        await tiers.cache.delete("ns", "key")
    tiers.far.down = False
    tiers.clock.advance(5)
    await tiers.background.idle()
    assert await tiers.far.stat("ns", "key") is None


@pytest_twisted.ensureDeferred
async def test_a_small_near_tier_passes_large_objects(clock: FakeClock, background: WatchedBackground) -> None:
    """An object too large for a nearer tier is stored in the last; one too large for that is refused."""
    small, large = MemoryCache(limit=1000, clock=clock), MemoryCache(limit=LIMIT, clock=clock)
    cache = TieredCache(tiers=numbered([small, large]), reactor=clock, clock=clock, background=background)
    await store(cache, "key", LARGE)
    assert await fetch(cache, "key") == LARGE
    await background.idle()
    assert await missing(small, "key")
    with pytest.raises(TooLarge):
        await store(cache, "huge", LARGE * 3)
    await cache.stop()


@pytest_twisted.ensureDeferred
async def test_invalidate_leaves_the_authority(tiers: Tiers) -> None:
    """Invalidating removes every copy and keeps the authority's object."""
    await store(tiers.cache, "key", b"data")
    assert await tiers.cache.invalidate("ns", "key")
    assert await missing(tiers.near, "key")
    assert await missing(tiers.middle, "key")
    assert await fetch(tiers.far, "key") == b"data"
    assert not await tiers.cache.invalidate("ns", "key")


def test_needs_a_tier(clock: FakeClock) -> None:
    """A tiered cache without tiers is a mistake."""
    make: Callable[..., TieredCache] = TieredCache
    with pytest.raises(ValueError, match="at least one"):
        make(tiers=[], reactor=clock, clock=clock)


@pytest_twisted.ensureDeferred
async def test_hits_misses_and_failures_are_counted(tiers: Tiers) -> None:
    """For each tier by itself."""
    await store(tiers.middle, "key", b"data")
    await store(tiers.far, "key", b"data")
    tiers.near.down = True
    await fetch(tiers.cache, "key")
    assert await missing(tiers.cache, "other")
    assert [tiers.counted("near", outcome) for outcome in ("hit", "miss", "failed")] == [0, 0, 1]
    assert [tiers.counted("middle", outcome) for outcome in ("hit", "miss", "failed")] == [1, 1, 0]
    assert [tiers.counted("far", outcome) for outcome in ("hit", "miss", "failed")] == [0, 1, 0]
    await tiers.middle.delete("ns", "key")
    await store(tiers.middle, "key", b"old")
    tiers.clock.advance(2)
    assert await fetch(tiers.cache, "key") == b"data"
    assert tiers.counted("middle", "outdated") == 1


@pytest_twisted.ensureDeferred
async def test_trouble_is_told_until_it_is_over(tiers: Tiers) -> None:
    """A probe notices that a tier fails or is slow, and that it works again, though nobody reads anything."""
    assert tiers.cache.troubles == []
    tiers.far.down = True
    await tiers.cache.probe()
    assert tiers.cache.troubles == ["cache tier far fails: down"]
    assert (tiers.up("far"), tiers.up("near")) == (0, 1)
    tiers.far.down = False
    await tiers.cache.probe()
    assert tiers.cache.troubles == ["cache tier far fails: down"]
    tiers.clock.advance(6)
    await tiers.cache.probe()
    assert (tiers.cache.troubles, tiers.up("far")) == ([], 1)
    gate = tiers.far.gate = Deferred()
    probe = Deferred.fromCoroutine(tiers.cache.probe())
    assert tiers.cache.troubles == []
    tiers.clock.advance(3)
    assert tiers.cache.troubles == ["cache tier far is slow"]
    gate.callback(None)
    await probe
    assert tiers.cache.troubles == ["cache tier far is slow"]
    tiers.far.gate = None
    await tiers.cache.probe()
    assert tiers.cache.troubles == []


@pytest_twisted.ensureDeferred
async def test_a_probe_that_is_cancelled_leaves_no_failure_to_be_logged(tiers: Tiers) -> None:
    """A server that stops while a tier hangs says nothing of an error that nobody has handled."""
    tiers.far.gate = Deferred()
    probe = Deferred.fromCoroutine(tiers.cache.probe())
    with listening() as lines:
        probe.cancel()
        with pytest.raises(CancelledError):
            await probe
        del probe
        gc.collect()
    assert lines.count("Unhandled") == 0
    tiers.far.gate = None


@pytest_twisted.ensureDeferred
async def test_a_tier_that_cannot_be_started_is_started_later(
    tmp_path: Path, clock: FakeClock, threads: Threads
) -> None:
    """A disk that is not there at the start makes its tier fail until it is; a cache of nothing else doesn't start."""
    directory = tmp_path / "disk"
    directory.write_text("in the way")
    disk = disk_cache(directory, limit=LIMIT, clock=clock, threads=threads)
    with pytest.raises(StorageUnavailable):
        await TieredCache(tiers={"disk": disk}, reactor=clock, clock=clock).start()
    cache = TieredCache(
        tiers={"disk": disk, "memory": MemoryCache(limit=LIMIT, clock=clock)}, reactor=clock, clock=clock
    )
    await cache.start()
    await store(cache, "key", b"data")
    assert cache.troubles == ["cache tier disk fails: the disk cache failed: Not a directory"]
    clock.advance(60)
    assert await fetch(cache, "key") == b"data"
    await cache.probe()
    assert cache.troubles == ["cache tier disk fails: the disk cache failed: Not a directory"]
    directory.unlink()
    await cache.probe()
    assert cache.troubles == []
    await store(cache, "key", b"new")
    assert await fetch(disk, "key") == b"new"
    await cache.stop()


class Presigning(MemoryCache):
    """A store of which clients may read for themselves, when it gets round to saying where."""

    gate: Deferred[None] | None = None

    async def presigned(self, info: ObjectInfo) -> str | None:
        """Return an address."""
        await (self.gate or succeed(None))
        return f"https://store.example/{info.key}"


@pytest_twisted.ensureDeferred
async def test_nobody_waits_long_for_an_address(clock: FakeClock) -> None:
    """A store that does not say where an object is is not waited for, and not asked again for a while."""
    far = Presigning(limit=LIMIT, clock=clock)
    cache = TieredCache(tiers=numbered([MemoryCache(limit=LIMIT, clock=clock), far]), reactor=clock, clock=clock)
    info = await store(cache, "key", b"data")
    assert await cache.presigned(info) == f"https://store.example/{info.key}"
    far.gate = Deferred()
    asking = Deferred.fromCoroutine(cache.presigned(info))
    clock.advance(0.6)
    assert await asking is None
    far.gate = None
    assert await cache.presigned(info) is None
    clock.advance(5)
    assert await cache.presigned(info) is not None
