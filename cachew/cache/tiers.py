"""One tier of a tiered cache, with a memory for its failures.

A tier that has just failed is left alone for a while: nobody waits for it again and again, and it is asked again later.
"""

from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.logger import Logger

from cachew.cache.interface import Cache, Entry, ObjectInfo, object_key
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CorruptObject, StorageFull, StorageRefused, StorageUnavailable
from cachew.plumbing.metrics import Metrics

T = TypeVar("T")


_PROBE = "git", object_key("probe")
SLOW = 2.0
"""Seconds after which a tier that hasn't said what it has counts as slow."""


class Tier:
    """One tier: its cache, its name, and whether it can be used at present.

    :param cache: what stores.
    :param name: what the log and the metrics call it.
    :param clock: for how long it is left alone.
    :param retry_after: seconds for which it is left alone after a failure.
    :param metrics: where its hits, misses and failures are counted.
    """

    log = Logger()

    def __init__(self, *, cache: Cache, name: str, clock: Clock, retry_after: float, metrics: Metrics) -> None:
        self.cache, self.name = cache, name
        self._clock = clock
        self._retry_after = retry_after
        self._metrics = metrics
        self._failed_at: float | None = None
        self._why = self._refusal = ""
        self._unopened = False
        self._took = 0.0
        self._asked: list[float] = []
        metrics.tier_up.labels(name).set(1)
        metrics.tier_seconds.labels(name)
        for outcome in ("hit", "miss", "outdated", "failed"):
            metrics.tier_requests.labels(name, outcome)

    async def start(self) -> None:
        """Start the cache; while that can't be done the tier fails, and this may be called again.

        :raise StorageUnavailable: when it can't be done.
        """
        try:
            await self.cache.start()
        except StorageUnavailable as error:
            self._unopened = True
            self.failed(error)
            raise
        self._unopened = False
        self._works()

    async def probe(self) -> None:
        """Ask it something, so that trouble is noticed, and its end, though nobody reads or writes."""
        with suppress(StorageUnavailable):
            if self._unopened:
                await self.start()
        await self.stat(*_PROBE)

    @property
    def resting(self) -> bool:
        """Whether it can't be used, or failed so lately that it is left alone."""
        if self._unopened:
            return True
        return self._failed_at is not None and self._clock.seconds() < self._failed_at + self._retry_after

    @property
    def trouble(self) -> str:
        """What is wrong with it, in words; empty when it works."""
        if self._failed_at is not None:
            return f"cache tier {self.name} fails: {self._why}"
        waiting = self._clock.seconds() - self._asked[0] if self._asked else 0.0
        if max(self._took, waiting) > SLOW:
            return f"cache tier {self.name} is slow"
        return f"cache tier {self.name} is restricted: {self._refusal}" if self._refusal else ""

    def failed(self, error: Exception) -> None:
        """Note a failure; being full is none, nor is being there to be read only."""
        if isinstance(error, StorageRefused):
            self._refused(str(error))
        if isinstance(error, StorageFull):
            return
        if not self.resting:
            self.log.warn("cache tier {name} fails and is left alone: {error}", name=self.name, error=str(error))
        self._failed_at, self._why = self._clock.seconds(), str(error)
        self.count("failed")
        self._metrics.tier_up.labels(self.name).set(0)

    def _refused(self, why: str) -> None:
        if why != self._refusal:
            self.log.warn("cache tier {name} is restricted, and is read on: {error}", name=self.name, error=why)
        self._refusal = why

    def took(self) -> None:
        """Note that it has taken an object."""
        self._refusal = ""

    def count(self, outcome: str) -> None:
        """Count what came of looking for an object."""
        self._metrics.tier_requests.labels(self.name, outcome).inc()

    async def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Run one operation of the tier.

        :raise StorageUnavailable: when it fails, or did so lately.
        """
        if self.resting:
            question.close()
            raise StorageUnavailable(f"cache tier {self.name} failed lately")
        try:
            result = await question
        except StorageUnavailable as error:
            self.failed(error)
            raise
        self._works()
        return result

    def _works(self) -> None:
        if self._failed_at is not None:
            self.log.info("cache tier {name} works again", name=self.name)
            self._failed_at = None
            self._metrics.tier_up.labels(self.name).set(1)

    async def look(self, question: Coroutine[Any, Any, T]) -> T:
        """Run an operation that finds out what the tier has, which should not take long; see :meth:`ask`."""
        began = self._clock.seconds()
        self._asked.append(began)
        try:
            return await self.ask(question)
        finally:
            self._asked.remove(began)
            self._took = self._clock.seconds() - began
            self._metrics.tier_seconds.labels(self.name).observe(self._took)

    async def open(self, namespace: str, key: str) -> Entry | None:
        """Open an object; a failure is a miss."""
        try:
            entry = await self.look(self.cache.open(namespace, key))
        except (StorageUnavailable, CorruptObject):
            return None
        if entry is None:
            self.count("miss")
        return entry

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object; a failure is a miss."""
        try:
            return await self.look(self.cache.stat(namespace, key))
        except (StorageUnavailable, CorruptObject):
            return None

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove a local copy; a tier that fails is healed when it is asked next."""
        try:
            return await self.ask(self.cache.delete(namespace, key))
        except StorageUnavailable:
            return False
