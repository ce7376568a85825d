"""Everything that is being made of mirrors, and what was stored of it lately."""

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.cache.interface import Cache
from cachew.mirrors.instance import Instance
from cachew.plumbing.clock import Clock
from cachew.plumbing.followed import Followed
from cachew.plumbing.jobs import Slots
from cachew.snapshots.estimates import Estimates
from cachew.snapshots.order import Order, title_of
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.storedkeys import StoredKeys, of_instance
from cachew.snapshots.storedproduction import Means, StoredProduction
from cachew.snapshots.variants import NAMESPACE


class Productions:
    """Everything that is being made.

    :param cache: where it is stored.
    :param scratch: for work in progress.
    :param slots: bounds how much is made at once.
    :param reactor: ends what takes longer than ``timeout`` seconds.
    :param clock: dates it.
    :param estimates: says what will be long, and is told how long it was.
    """

    log = Logger()

    def __init__(
        self,
        *,
        cache: Cache,
        scratch: Scratch,
        slots: Slots,
        reactor: IReactorTime,
        clock: Clock,
        timeout: float = 3600.0,
        estimates: Estimates | None = None,
    ) -> None:
        self._cache = cache
        self._scratch = scratch
        self._stored = StoredKeys()
        self._productions: Followed[str, StoredProduction] = Followed()
        self._means = Means(
            cache=cache,
            scratch=scratch,
            slots=slots,
            reactor=reactor,
            clock=clock,
            timeout=timeout,
            estimates=estimates or Estimates(),
            stored=self._stored,
        )

    async def start(self) -> None:
        """Remove what a killed server left behind."""
        await self._scratch.start()

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

        :param since: seconds since the epoch.
        """
        for key in self._stored.taken_since(owner, since):
            self.log.warn("withdrawing {key}, which may be damaged", key=title_of(key))
            await self._cache.delete(NAMESPACE, key)

    async def withdraw_of(self, instance: Instance) -> None:
        """Remove from the cache what was made of an instance that has ended, and break off what is being made of it.

        :raise StorageUnavailable: when the cache fails.
        """
        for key, production in self._productions.under_way.items():
            if of_instance(key, instance):
                production.withdrawn = True
                self.give_up(key)
        for key in self._stored.taken_of(instance):
            await self._cache.delete(NAMESPACE, key)
