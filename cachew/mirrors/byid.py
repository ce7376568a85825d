"""Objects that clients ask for by their ids, fetched in a lane of their own.

Following the upstream's refs never waits for it. Each client has one fetch at a time here, for all that he asks for
meanwhile, so that one with a thousand ids that nobody has keeps no other waiting; whoever asks for what somebody else
has asked for already waits for that fetch.
"""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.python.failure import Failure

from cachew.plumbing.jobs import Slots
from cachew.plumbing.shared import Shared
from cachew.plumbing.sharedlock import SharedLock

_AT_A_TIME = 4
_WAITING = 1000


class _Batch:
    """Ids that are fetched together."""

    def __init__(self) -> None:
        self.ids: list[str] = []


class ById:
    """The lane of one mirror.

    :param lock: held together with others while objects come: whoever takes packs away, or lists them, holds it alone.
    :param fetch: fetches ids that are missing; it ends by itself.
    """

    def __init__(self, *, lock: SharedLock, fetch: Callable[[list[str]], Coroutine[Any, Any, None]]) -> None:
        self._lock, self._fetch = lock, fetch
        self._places = Slots(limit=_AT_A_TIME, queue_limit=_WAITING, per_key=1)
        self._asked: dict[str, _Batch] = {}
        self._open: dict[str, _Batch] = {}
        self._batches: Shared[_Batch, None] = Shared(keep=True)

    def __contains__(self, oid: str) -> bool:
        """Say whether somebody has asked for an object already."""
        return oid in self._asked

    async def get(self, ids: Iterable[str], client: str) -> None:
        """Wait until all ids have been tried.

        :raise Busy: when too many clients wait.
        :raise CachewError: when a fetch failed as a whole.
        """
        wanted = list(dict.fromkeys(ids))
        new = [oid for oid in wanted if oid not in self._asked]
        if new:
            self._ask(new, client)
        asked = dict.fromkeys(self._asked[oid] for oid in wanted if oid in self._asked)
        tries: list[Deferred[None]] = [
            Deferred.fromCoroutine(self._batches.run(batch, self._nothing)) for batch in asked
        ]
        results: list[Any] = await DeferredList(tries, consumeErrors=True)
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()

    def _ask(self, ids: list[str], client: str) -> None:
        batch = self._open.get(client)
        begun = batch is not None
        if batch is None:
            batch = self._open[client] = _Batch()
        batch.ids += ids
        self._asked.update(dict.fromkeys(ids, batch))
        if not begun:
            trying = Deferred.fromCoroutine(self._batches.run(batch, partial(self._try, batch, client)))
            # It is those who wait that are told.
            trying.addErrback(lambda failure: None)

    async def _nothing(self) -> None:
        """Do what there is to do for a batch that has ended."""

    async def _try(self, batch: _Batch, client: str) -> None:
        try:
            async with self._places.take(client), self._lock.together():
                self._close(batch, client)
                await self._fetch(batch.ids)
        finally:
            self._close(batch, client)
            for oid in batch.ids:
                del self._asked[oid]

    def _close(self, batch: _Batch, client: str) -> None:
        """Take up nothing more."""
        if self._open.get(client) is batch:
            del self._open[client]

    async def stop(self) -> None:
        """Break off the fetches under way."""
        await self._batches.stop()
