"""The cache, made out of the settings: one tier or several, the nearest first."""

from collections.abc import Sequence
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from cachew.cache.disk import DiskCache
from cachew.cache.interface import Cache
from cachew.cache.memory import MemoryCache
from cachew.cache.tiered import TieredCache
from cachew.plumbing.background import Background
from cachew.plumbing.threads import Threads
from cachew.plumbing.wallclock import WallClock
from cachew.settings import CacheTier, DiskTier, MemoryTier, S3Tier


def make_cache(
    tiers: Sequence[CacheTier],
    *,
    state: Path,
    clock: IReactorTime,
    wall: WallClock,
    threads: Threads,
    background: Background,
) -> Cache:
    """Make the cache.

    :param tiers: the config's ``[[cache]]``.
    :param state: the state directory, where a disk tier lies that names no path.
    """
    caches = [_tier(tier, state=state, wall=wall, threads=threads) for tier in tiers]
    if len(caches) == 1 and not isinstance(tiers[0], S3Tier):
        return caches[0]
    return TieredCache(tiers=caches, clock=clock, wall_clock=wall.seconds, background=background)


def _tier(tier: CacheTier, *, state: Path, wall: WallClock, threads: Threads) -> Cache:
    if isinstance(tier, MemoryTier):
        return MemoryCache(limit=tier.limit, max_ttl=tier.max_ttl, clock=wall.seconds)
    if isinstance(tier, DiskTier):
        return DiskCache(
            directory=tier.path or state / "cache",
            limit=tier.limit,
            max_ttl=tier.max_ttl,
            min_free=tier.min_free,
            clock=wall.seconds,
            threads=threads,
        )
    raise NotImplementedError
