"""Writing one object into several tiers at once."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from cachew.cache.backfill import abandon
from cachew.cache.interface import ObjectInfo, Writer
from cachew.cache.tiers import Tier
from cachew.plumbing.errors import StorageUnavailable, TooLarge

T = TypeVar("T")


class TieredWriter:
    """An object on its way into several tiers.

    A nearer tier that fails or is too small loses its copy. When the last tier fails the object is stored in the
    nearer ones and owed to the last.

    :param tiers: the nearest first, with their writers; the last tier has None when it would not begin.
    :param committed: told what was stored, and whether the last tier has it.
    """

    def __init__(
        self,
        *,
        tiers: Sequence[tuple[Tier, Writer | None]],
        committed: Callable[[ObjectInfo, bool], Awaitable[None]],
    ) -> None:
        self._last = tiers[-1][0]
        self._writers = [(tier, writer) for tier, writer in tiers if writer is not None]
        self._committed = committed
        self._ended = False
        self._reason = StorageUnavailable("no cache tier takes the object")

    async def write(self, data: bytes) -> None:
        """Take the next bytes.

        :raise TooLarge: when the last tier can't hold the object.
        :raise StorageUnavailable: when no tier takes it.
        """
        if self._ended:
            raise RuntimeError("the writer has ended")
        writers = list(self._writers)
        writing = [Deferred.fromCoroutine(self._write_one(tier, writer, data)) for tier, writer in writers]
        # Cancelling this cancels every write and waits for their ends: none is under way while its writer is aborted.
        for succeeded, result in await DeferredList(writing, consumeErrors=True):
            if not succeeded and isinstance(result, Failure):
                result.raiseException()
        if not self._writers:
            raise self._reason

    async def _write_one(self, tier: Tier, writer: Writer, data: bytes) -> None:
        try:
            await _noting(tier, writer.write(data))
        except TooLarge:
            if tier is self._last:
                raise
            await self._drop(tier, writer)
        except StorageUnavailable as error:
            self._reason = error
            await self._drop(tier, writer)

    async def _drop(self, tier: Tier, writer: Writer) -> None:
        self._writers.remove((tier, writer))
        await abandon(writer)

    async def commit(self) -> ObjectInfo:
        """Make the object visible, in the last tier first.

        :raise StorageUnavailable: when no tier has it, or it can't be owed to the last.
        """
        if self._ended:
            raise RuntimeError("the writer has ended")
        stored: ObjectInfo | None = None
        in_last = False
        for tier, writer in reversed(list(self._writers)):
            info = await self._commit_one(tier, writer)
            in_last = in_last or (info is not None and tier is self._last)
            stored = stored or info
        await self.abort()
        if stored is None:
            raise self._reason
        await self._committed(stored, in_last)
        return stored

    async def _commit_one(self, tier: Tier, writer: Writer) -> ObjectInfo | None:
        try:
            info = await _noting(tier, writer.commit())
        except StorageUnavailable as error:
            self._reason = error
            await self._drop(tier, writer)
            return None
        self._writers.remove((tier, writer))
        tier.took()
        return info

    async def abort(self) -> None:
        """Forget what was written."""
        self._ended = True
        writers, self._writers = self._writers, []
        await abort_all(writer for _, writer in writers)


async def abort_all(writers: Iterable[Writer]) -> None:
    """Forget what several writers have written, also where a storage fails."""
    for writer in writers:
        await abandon(writer)


async def _noting(tier: Tier, work: Coroutine[Any, Any, T]) -> T:
    # Not through Tier.ask: a tier that fails for others meanwhile may still finish what it has begun.
    try:
        return await work
    except StorageUnavailable as error:
        tier.failed(error)
        raise
