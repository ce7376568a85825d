"""Everything that is being made of mirrors, and what was stored of it lately."""

from collections.abc import Iterable

from twisted.internet.task import deferLater
from twisted.logger import Logger

from cachew.cache.interface import Cache
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import StorageUnavailable
from cachew.plumbing.followed import Followed
from cachew.snapshots.order import Order, title_of
from cachew.snapshots.storedkeys import of_instance
from cachew.snapshots.storedproduction import Means, StoredProduction
from cachew.snapshots.variants import NAMESPACE

_TRIES, _PAUSE = 60, 60.0
"""How often, and after how many seconds, it is tried again to remove what may be damaged from a store that fails."""


class Productions:
    """Everything that is being made.

    :param means: what it is made with.
    """

    log = Logger()

    def __init__(self, *, means: Means) -> None:
        self._means = means
        self._productions: Followed[str, StoredProduction] = Followed()

    async def start(self) -> None:
        """Remove what a killed server left behind."""
        await self._means.scratch.start()

    async def stop(self) -> None:
        """Break off whatever is being made, and wait until it is cleaned up."""
        await self._productions.stop()

    async def settled(self) -> None:
        """Wait until whatever is being made has ended, well or badly."""
        await self._productions.settled()

    @property
    def count(self) -> int:
        """How many are being made, those included that were given up and have not ended yet."""
        return self._productions.running

    def running(self, key: str) -> StoredProduction | None:
        """Return what is being made under a key."""
        return self._productions.under_way.get(key)

    def run(self, order: Order) -> StoredProduction:
        """Join what is being made under the order's key, or begin to make it."""
        return self._productions.begin(
            order.key, lambda: StoredProduction(order=order, means=self._means, log=self.log)
        )

    def give_up(self, key: str) -> None:
        """Break off what is being made under a key, unless a client is waiting for it."""
        production = self.running(key)
        if production is not None and not production.spool.followers:
            production.give_up()

    async def withdraw(self, owner: str, since: float) -> None:
        """Remove from the cache what was made of a repository since a moment, because it may be damaged.

        Where the cache fails nearer copies are gone all the same, and it is tried again; what is made again of the
        same meanwhile stays.

        :param since: in monotonic seconds, as productions are dated.
        :raise StorageUnavailable: when the cache fails for long.
        """
        cache, stored = self._means.cache, self._means.stored
        keys = stored.taken_since(owner, since)
        for key in keys:
            self.log.warn("withdrawing {key}, which may be damaged", key=title_of(key))
        for _ in range(_TRIES):
            keys = list(await _undeleted(cache, keys))
            if not keys:
                return
            await deferLater(self._means.reactor, _PAUSE)
            keys = [key for key in keys if not stored.has(owner, key)]
        await delete_each(cache, keys)

    async def withdraw_of(self, instance: Instance, also: Iterable[str] = ()) -> None:
        """Remove from the cache what was made of an instance that has ended, and break off what is being made of it.

        :param also: keys of what may have been made of it by others, or longer ago.
        :raise StorageUnavailable: when the cache fails.
        """
        for key, production in self._productions.under_way.items():
            if of_instance(key, instance):
                production.withdrawn = True
                self.give_up(key)
        await delete_each(self._means.cache, [*self._means.stored.taken_of(instance), *also])


async def delete_each(cache: Cache, keys: Iterable[str]) -> None:
    """Remove what was made of mirrors; where that fails for one thing the others go all the same.

    :raise StorageUnavailable: when it has failed for any.
    """
    for failure in (await _undeleted(cache, keys)).values():
        raise failure


async def _undeleted(cache: Cache, keys: Iterable[str]) -> dict[str, StorageUnavailable]:
    """Remove what was made of mirrors, and return what could not be removed, with the reasons."""
    failed: dict[str, StorageUnavailable] = {}
    for key in keys:
        try:
            await cache.delete(NAMESPACE, key)
        except StorageUnavailable as error:
            failed[key] = error
    return failed
