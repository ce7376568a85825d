"""A bound on concurrent work, with a queue that is fair between keys."""

from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import Busy

_PLENTY = 4
"""From so many places on one is always left to others: whoever fills the rest may hold them for long."""


class Slots:
    """A number of places for concurrent work; those who wait are served round-robin over their keys.

    One repository with a thousand waiting clients delays another's single client by one turn, not by a thousand. No key
    takes more than half of the places while others wait, nor more than half of the queue.

    :param limit: places.
    :param queue_limit: how many may wait before :class:`Busy` is raised.
    :param per_key: how many places one key may hold; None for as many as the above leaves it.
    """

    def __init__(self, *, limit: int, queue_limit: int = 1000, per_key: int | None = None) -> None:
        self.limit = limit
        self.queue_limit = queue_limit
        self.running = 0
        self.waiting = 0
        self._fair = max(1, limit // 2)
        self._most = per_key or (limit - 1 if limit >= _PLENTY else limit)
        self._held: Counter[str] = Counter()
        self._queues: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()
        self._handing_on = False

    @asynccontextmanager
    async def take(self, key: str) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        :param key: whose turn it counts as, usually the repository's name.
        :raise Busy: when ``queue_limit`` others wait already, or half as many of the same key.
        """
        await self.acquire(key)
        try:
            yield
        finally:
            self.release(key)

    async def acquire(self, key: str) -> None:
        """Wait for a place; the caller owes a :meth:`release`.

        :raise Busy: when ``queue_limit`` others wait already, or half as many of the same key.
        """
        if self.running < self.limit and not self._handing_on and key not in self._queues and self._may_take(key):
            self._hold(key)
            return
        own = len(self._queues.get(key, ()))
        if self.waiting >= self.queue_limit or own >= (self.queue_limit + 1) // 2:
            raise Busy()
        turn: Deferred[None] = Deferred(lambda gone: self._forget(key, gone))
        self._queues.setdefault(key, deque()).append(turn)
        self.waiting += 1
        await turn

    def _may_take(self, key: str) -> bool:
        held = self._held[key]
        if held >= self._most:
            return False
        return held < self._fair or not any(self._held[other] < self._fair for other in self._queues if other != key)

    def _hold(self, key: str) -> None:
        self.running += 1
        self._held[key] += 1

    def _forget(self, key: str, turn: Deferred[None]) -> None:
        queue = self._queues[key]
        queue.remove(turn)
        self.waiting -= 1
        if not queue:
            del self._queues[key]
            # Others may have held back for the sake of who has left.
            self._hand_on()

    def release(self, key: str) -> None:
        """Hand the place to whoever is next.

        :param key: whose it was.
        """
        self.running -= 1
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
        self._hand_on()

    def _hand_on(self) -> None:
        if self._handing_on:
            # Somebody who was done at once; the loop below goes on, where a call would go deeper with each of them.
            return
        self._handing_on = True
        try:
            while self.running < self.limit and (key := self._next()) is not None:
                self._give(key)
        finally:
            self._handing_on = False

    def _next(self) -> str | None:
        return next((key for key in self._queues if self._may_take(key)), None)

    def _give(self, key: str) -> None:
        queue = self._queues.pop(key)
        turn = queue.popleft()
        self.waiting -= 1
        if queue:
            self._queues[key] = queue
        self._hold(key)
        turn.callback(None)
