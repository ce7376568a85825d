"""The way into a cache for what is sent to clients at the same time: storing may fail without failing them."""

from collections.abc import Awaitable

from cachew.cache.interface import Writer
from cachew.plumbing.errors import CachewError


class Storing:
    """An object on its way into a cache that may fail at any time, which is remembered and told at the end."""

    def __init__(self) -> None:
        self._writer: Writer | None = None
        self._failure: CachewError | None = None

    async def begin(self, creating: Awaitable[Writer]) -> None:
        """Begin the object.

        :param creating: gives its writer.
        """
        try:
            self._writer = await creating
        except CachewError as failure:
            self._failure = failure

    async def write(self, data: bytes) -> None:
        """Take the next bytes; after a failure they are dropped."""
        if self._writer is None or self._failure is not None:
            return
        try:
            await self._writer.write(data)
        except CachewError as failure:
            self._failure = failure

    async def commit(self) -> None:
        """Make the object visible.

        :raise CachewError: what has kept it from being stored.
        """
        if self._failure is not None:
            raise self._failure
        if self._writer is not None:
            await self._writer.commit()

    async def abort(self) -> None:
        """Forget what was written; harmless after :meth:`commit`."""
        if self._writer is not None:
            await self._writer.abort()
