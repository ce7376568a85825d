"""How full the stores are: what keeps archives and objects, and the kept packs."""

from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.cache.tiered import TieredCache
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError
from cachew.plumbing.shared import Shared
from cachew.smarthttp.keptpacks import KeptPacks

_PATIENCE = 1.0
"""Seconds that a page waits for a store that hangs."""


@dataclass(frozen=True, kw_only=True)
class CacheStatus:
    """A store and how full it is.

    :param capacity: its limit in bytes, 0 for none.
    :param error: what is wrong with it, empty when it works.
    """

    name: str
    objects: int
    size: int
    capacity: int
    error: str = ""


_UNCOUNTED = CacheStatus(name="objects", objects=0, size=0, capacity=0)
"""What is known of a store before it was counted."""


class StoreCounts:
    """Counts what the stores hold, one count at a time.

    :param cache: the tiers.
    :param packs: kept packs.
    :param background: where it is counted while nobody waits.
    :param reactor: bounds how long a store is waited for.
    """

    log = Logger()

    def __init__(self, *, cache: TieredCache, packs: KeptPacks, background: Background, reactor: IReactorTime) -> None:
        self._cache = cache
        self._kept_packs = packs
        self._background = background
        self._reactor = reactor
        self._counting: Shared[str, None] = Shared(keep=True)
        self._counted: CacheStatus | None = None

    def last(self) -> list[CacheStatus]:
        """Return what the stores hold; of the cache's tiers, what the last count found, while a new one begins."""
        self._background.start(self._under_way(), "counting of the store")
        counted = [] if self._counted is None else [self._counted]
        return [*counted, self._packs()]

    async def current(self) -> list[CacheStatus]:
        """Return what the stores hold; a count that takes long is shown the next time."""
        await self.count()
        return [self._counted or _UNCOUNTED, self._packs()]

    async def count(self) -> None:
        """Count what the stores hold, so that the first who asks is told; one that takes long is counted behind."""
        with suppress(CachewError, DeferredTimeout):
            await Deferred.fromCoroutine(self._under_way()).addTimeout(_PATIENCE, self._reactor)

    def _under_way(self) -> Coroutine[Any, Any, None]:
        return self._counting.run("store", self._count)

    async def _count(self) -> None:
        try:
            stats = await self._cache.stats()
        except CachewError as error:
            self._fails(str(error))
            return
        except CancelledError:
            raise
        except Exception as error:  # one store that is broken in whatever way is no reason to show nothing of the rest
            self.log.failure("the store can't be counted")
            self._fails(f"it can't be counted ({type(error).__name__})")
            return
        self._counted = CacheStatus(name="objects", objects=stats.objects, size=stats.size, capacity=stats.capacity)

    def _fails(self, error: str) -> None:
        self._counted = replace(self._counted or _UNCOUNTED, error=error)

    def _packs(self) -> CacheStatus:
        kept = self._kept_packs
        return CacheStatus(name="packs", objects=len(kept), size=kept.size, capacity=kept.limit)
