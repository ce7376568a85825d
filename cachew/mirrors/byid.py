"""Objects that clients ask for by their ids, fetched in a lane of their own.

Following the upstream's refs never waits for it. Each client has one fetch at a time here, for all that he asks for
meanwhile, so that one with a thousand ids that nobody has keeps no other waiting; whoever asks for what somebody else
has asked for already waits for that fetch.
"""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.mirrors.fetches import Fetches
from cachew.mirrors.life import MirrorLife
from cachew.mirrors.mirroredobjects import MirroredObjects
from cachew.mirrors.place import MirrorPlace
from cachew.mirrors.transfer import Transfer
from cachew.mirrors.updates import Updates
from cachew.plumbing.errors import CachewError
from cachew.plumbing.jobs import Slots
from cachew.plumbing.shared import Shared
from cachew.plumbing.sharedlock import SharedLock

_AT_A_TIME = 4
_WAITING = 1000

Told = Callable[[CachewError], object]
"""Is told why a fetch failed."""


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
        asked = dict.fromkeys(self._asked[oid] for oid in wanted if oid in self._asked)
        new = [oid for oid in wanted if oid not in self._asked]
        tries = [Deferred.fromCoroutine(self._batches.run(batch, self._nothing)) for batch in asked]
        if new:
            tries.append(Deferred.fromCoroutine(self._tried(new, client)))
        results: list[Any] = await DeferredList(tries, consumeErrors=True)
        for _, result in results:
            if isinstance(result, Failure):
                result.raiseException()

    async def _tried(self, ids: list[str], client: str) -> None:
        """Have ids tried that nobody has asked for; whoever asks is told also of what fails at once."""
        batch = self._open.get(client)
        if batch is None:
            batch = self._open[client] = _Batch()
        batch.ids += ids
        self._asked.update(dict.fromkeys(ids, batch))
        await self._batches.run(batch, partial(self._try, batch, client))

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


class WantedObjects:
    """Tries to get objects that one mirror does not have.

    :param life: what becomes of the mirror.
    :param place: where it lies.
    :param objects: what it has.
    :param updates: brings it to where its upstream is, which may be all that is needed.
    :param transfer: fetches from its upstream.
    :param fetches: runs its fetches.
    :param packs: held together with others while objects come.
    """

    log = Logger()

    def __init__(
        self,
        *,
        life: MirrorLife,
        place: MirrorPlace,
        objects: MirroredObjects,
        updates: Updates,
        transfer: Transfer,
        fetches: Fetches,
        packs: SharedLock,
    ) -> None:
        self._life = life
        self._place = place
        self._objects = objects
        self._updates = updates
        self._transfer = transfer
        self._fetches = fetches
        self._by_id = ById(lock=packs, fetch=self._fetch)

    async def ensure(self, oids: Iterable[str], client: str, told: Told = lambda failure: None) -> list[str]:
        """Get objects by the fetch under way, else by their exact ids.

        :param client: who asks; what others ask for is not delayed by it.
        :param told: told of a fetch that failed, other than by the upstream's not having what was asked for.
        :return: those that are still missing.
        """
        missing = self._objects.missing(oids)
        if missing:
            await self._updates.followed()
            missing = self._objects.missing(missing)
        if self._life.ready and (wanted := self._objects.hopeful(missing)):
            try:
                await self._by_id.get(wanted, client)
            except CachewError as error:
                message = "fetch for wanted objects of {repository} failed: {error}"
                self.log.info(message, repository=self._life.identity.name, error=str(error))
                told(error)
        return self._objects.missing(missing)

    def asked_for(self, oid: str) -> bool:
        """Say whether an object is being fetched by its id already."""
        return oid in self._by_id

    async def stop(self) -> None:
        """Break off the fetches under way, which no waiter's end breaks off."""
        await self._by_id.stop()

    async def _fetch(self, ids: list[str]) -> None:
        if self._life.ready and (absent := self._objects.missing(ids)):
            await self._fetches.by_id(self._transfer.fetch_ids(self._place.repository, absent))
