"""A bound on concurrent work, with a queue that is fair between keys."""

from collections import Counter, OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Busy

_PLENTY = 4
"""From so many places on one is always left to others: whoever fills the rest may hold them for long."""


LONG = 10.0
"""Seconds from which work is long: whoever waits for it notices."""

_Turns = tuple[str, bool]
"""A key, and whether it is long work that waits: what is short never waits behind it."""


class Slots:
    """A number of places for concurrent work; those who wait are served round-robin over their keys.

    One repository with a thousand waiting clients delays another's single client by one turn, not by a thousand. No key
    takes more than half of the places while others wait, nor more than half of the queue.

    Places can be kept free of long work, so that short work finds one whoever has the others. What was taken for short
    and has gone on for :data:`LONG` seconds counts as long from then on; where it has a place that was kept, there is
    another one meanwhile, up to ``limit + kept_short`` places in all.

    :param limit: places.
    :param queue_limit: how many may wait before :class:`Busy` is raised.
    :param per_key: how many places one key may hold; None for as many as the above leaves it.
    :param kept_short: how many places long work can't take; one at least is left to it.
    :param reactor: tells when work has become long; None where that is known before, or doesn't matter.
    :param clock: for how long work has been going on or has waited; None where nobody asks.
    """

    def __init__(
        self,
        *,
        limit: int,
        queue_limit: int = 1000,
        per_key: int | None = None,
        kept_short: int = 0,
        reactor: IReactorTime | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.limit = limit
        self.queue_limit = queue_limit
        self.running = 0
        self.waiting = 0
        self._long = 0
        self._most_long = max(1, limit - kept_short)
        self._kept_short, self._reactor = kept_short, reactor
        self._fair = max(1, limit // 2)
        self._most = per_key or (limit - 1 if limit >= _PLENTY else limit)
        self._seconds = (lambda: 0.0) if clock is None else clock.seconds
        self._held: Counter[str] = Counter()
        self._began: dict[str, list[float]] = {}
        self._asked: dict[Deferred[float], tuple[str, float]] = {}
        self._queues: OrderedDict[_Turns, deque[Deferred[float]]] = OrderedDict()
        self._handing_on = False

    @property
    def under_way(self) -> list[tuple[str, int, float]]:
        """Whose work is under way, how many pieces, and for how many seconds the longest."""
        now = self._seconds()
        return [(key, len(began), now - began[0]) for key, began in self._began.items()]

    @property
    def queue(self) -> list[tuple[str, int, float]]:
        """Whose work waits, how many pieces, and for how many seconds the longest."""
        now, waiting = self._seconds(), Counter(key for key, _ in self._asked.values())
        first = dict(reversed(self._asked.values()))
        return [(key, count, now - first[key]) for key, count in waiting.items()]

    @asynccontextmanager
    async def take(self, key: str, *, long: bool = False) -> AsyncIterator[None]:
        """Hold a place while the block runs.

        :param key: whose turn it counts as, usually the repository's name.
        :param long: whether the work is known to be long.
        :raise Busy: when ``queue_limit`` others wait already, or half as many of the same key.
        """
        began = await self.acquire(key, long=long)
        becoming = None
        if self._reactor is not None and self._kept_short and not long:
            becoming = self._reactor.callLater(LONG, self._became_long)
        try:
            yield
        finally:
            if becoming is not None:
                long = not becoming.active()
                if not long:
                    becoming.cancel()
            self.release(key, long=long, began=began)

    async def acquire(self, key: str, *, long: bool = False) -> float:
        """Wait for a place; the caller owes a :meth:`release`.

        :return: when the place was taken, which tells it from others of the same key.
        :raise Busy: when ``queue_limit`` others wait already, or half as many of the same key.
        """
        turns = key, long
        if not self._handing_on and turns not in self._queues and self._may_take(turns):
            return self._hold(turns)
        own = sum(len(self._queues.get((key, any_length), ())) for any_length in (False, True))
        if self.waiting >= self.queue_limit or own >= (self.queue_limit + 1) // 2:
            raise Busy()
        turn: Deferred[float] = Deferred(lambda gone: self._forget(turns, gone))
        self._queues.setdefault(turns, deque()).append(turn)
        self._asked[turn] = key, self._seconds()
        self.waiting += 1
        return await turn

    def _became_long(self) -> None:
        self._long += 1
        self._hand_on()

    @property
    def _room(self) -> int:
        """How many places there are now."""
        return self.limit + max(0, min(self._kept_short, self._long - self._most_long))

    def _may_take(self, turns: _Turns) -> bool:
        key, long = turns
        held = self._held[key]
        # What is kept for short work is also for that of whoever has all the long work that he may have.
        most = self._most if long or not self._kept_short else max(self._most, self.limit - 1)
        if self.running >= self._room or held >= most or not self._fits(turns):
            return False
        return held < self._fair or not any(
            self._held[other[0]] < self._fair for other in self._queues if other[0] != key and self._fits(other)
        )

    def _fits(self, turns: _Turns) -> bool:
        """Say whether there is no more long work than there may be."""
        return not turns[1] or self._long < self._most_long

    def _hold(self, turns: _Turns) -> float:
        key, long = turns
        began = self._seconds()
        self._began.setdefault(key, []).append(began)
        self.running += 1
        self._held[key] += 1
        self._long += long
        return began

    def _forget(self, turns: _Turns, turn: Deferred[float]) -> None:
        queue = self._queues[turns]
        queue.remove(turn)
        del self._asked[turn]
        self.waiting -= 1
        if not queue:
            del self._queues[turns]
            # Others may have held back for the sake of who has left.
            self._hand_on()

    def release(self, key: str, *, long: bool = False, began: float | None = None) -> None:
        """Hand the place to whoever is next.

        :param key: whose it was.
        :param long: whether it was for long work.
        :param began: when it was taken; the longest ago by default.
        """
        self._began[key].remove(self._began[key][0] if began is None else began)
        self.running -= 1
        self._long -= long
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key], self._began[key]
        self._hand_on()

    def _hand_on(self) -> None:
        if self._handing_on:
            # Somebody who was done at once; the loop below goes on, where a call would go deeper with each of them.
            return
        self._handing_on = True
        try:
            while (turns := self._next()) is not None:
                self._give(turns)
        finally:
            self._handing_on = False

    def _next(self) -> _Turns | None:
        if self.running >= self._room:
            return None
        return next((turns for turns in self._queues if self._may_take(turns)), None)

    def _give(self, turns: _Turns) -> None:
        queue = self._queues.pop(turns)
        turn = queue.popleft()
        del self._asked[turn]
        self.waiting -= 1
        if queue:
            self._queues[turns] = queue
        turn.callback(self._hold(turns))
