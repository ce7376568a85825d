"""A lock that many may hold together, or one alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred, DeferredLock


class SharedLock:
    """Held by any number together or by one alone; whoever wants it alone is not overtaken by those who come later."""

    def __init__(self) -> None:
        self._door = DeferredLock()
        self._together = 0
        self._empty: Deferred[None] | None = None

    @asynccontextmanager
    async def together(self) -> AsyncIterator[None]:
        """Hold it with others while the block runs."""
        await self._door.acquire()
        self._together += 1
        self._door.release()
        try:
            yield
        finally:
            self._together -= 1
            self._tell()

    def _tell(self) -> None:
        if self._empty is not None and not self._together:
            empty, self._empty = self._empty, None
            empty.callback(None)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Hold it alone while the block runs."""
        await self._door.acquire()
        try:
            if self._together:
                self._empty = Deferred(self._gave_up)
                await self._empty
            yield
        finally:
            self._door.release()

    def _gave_up(self, _: object) -> None:
        self._empty = None
