"""A bound on concurrent work, with a queue that is fair between keys."""

from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import Busy


class Slots:
    """A number of places for concurrent work; those who wait are served round-robin over their keys.

    One repository with a thousand waiting clients delays another's single client by one turn, not by a thousand.

    :param limit: places.
    :param queue_limit: how many may wait before :class:`Busy` is raised.
    """

    def __init__(self, *, limit: int, queue_limit: int = 1000) -> None:
        self.limit = limit
        self.queue_limit = queue_limit
        self.running = 0
        self.waiting = 0
        self._queues: OrderedDict[str, deque[Deferred[None]]] = OrderedDict()
        self._handing_on = False

    @asynccontextmanager
    async def take(self, key: str) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        :param key: whose turn it counts as, usually the repository's name.
        :raise Busy: when ``queue_limit`` others wait already.
        """
        await self.acquire(key)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, key: str) -> None:
        """Wait for a place; the caller owes a :meth:`release`.

        :raise Busy: when ``queue_limit`` others wait already.
        """
        if self.running < self.limit and not self.waiting:
            self.running += 1
            return
        if self.waiting >= self.queue_limit:
            raise Busy()
        turn: Deferred[None] = Deferred(lambda gone: self._forget(key, gone))
        self._queues.setdefault(key, deque()).append(turn)
        self.waiting += 1
        await turn

    def _forget(self, key: str, turn: Deferred[None]) -> None:
        queue = self._queues[key]
        queue.remove(turn)
        self.waiting -= 1
        if not queue:
            del self._queues[key]

    def release(self) -> None:
        """Hand the place to whoever is next."""
        self.running -= 1
        if self._handing_on:
            # Somebody who was done at once; the loop below goes on, where a call would go deeper with each of them.
            return
        self._handing_on = True
        try:
            while self._queues and self.running < self.limit:
                self._next()
        finally:
            self._handing_on = False

    def _next(self) -> None:
        key, queue = self._queues.popitem(last=False)
        turn = queue.popleft()
        self.waiting -= 1
        if queue:
            self._queues[key] = queue
        self.running += 1
        turn.callback(None)
