"""One tier of a tiered cache, with a memory for its failures.

A tier that has just failed is left alone for a while: nobody waits for it again and again, and it is asked again later.
"""

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.cache.interface import Cache, Entry, ObjectInfo
from cachew.plumbing.errors import CorruptObject, StorageFull, StorageUnavailable

T = TypeVar("T")


class Tier:
    """See the module.

    :param cache: what stores.
    :param name: what the log calls it.
    :param clock: for how long it is left alone.
    :param retry_after: seconds for which it is left alone after a failure.
    """

    log = Logger()

    def __init__(self, *, cache: Cache, name: str, clock: IReactorTime, retry_after: float) -> None:
        self.cache, self.name = cache, name
        self._clock, self._retry_after = clock, retry_after
        self._failed_at: float | None = None

    @property
    def resting(self) -> bool:
        """Whether it failed so lately that it is left alone."""
        return self._failed_at is not None and self._clock.seconds() < self._failed_at + self._retry_after

    def failed(self, error: Exception) -> None:
        """Note a failure; being full is none."""
        if isinstance(error, StorageFull):
            return
        if not self.resting:
            self.log.warn("cache tier {name} fails and is left alone: {error}", name=self.name, error=str(error))
        self._failed_at = self._clock.seconds()

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
        self._failed_at = None
        return result

    async def open(self, namespace: str, key: str) -> Entry | None:
        """Open an object; a failure is a miss."""
        try:
            return await self.ask(self.cache.open(namespace, key))
        except (StorageUnavailable, CorruptObject):
            return None

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object; a failure is a miss."""
        try:
            return await self.ask(self.cache.stat(namespace, key))
        except (StorageUnavailable, CorruptObject):
            return None

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove a local copy; a tier that fails is healed when it is asked next."""
        try:
            return await self.ask(self.cache.delete(namespace, key))
        except StorageUnavailable:
            return False
