"""Work that is done in rounds: one at a time, each for all who came before it began.

Who comes while a round is under way can't know what that round still takes up; he waits for the next, and all who come
until it begins share it.
"""

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from twisted.internet.defer import CancelledError, DeferredLock

from cachew.plumbing.shared import Shared


@asynccontextmanager
async def holding(lock: DeferredLock) -> AsyncIterator[None]:
    """Hold a lock while the block runs."""
    await lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Rounds:
    """Runs one piece of work in rounds.

    A round goes on when nobody waits for it any more.

    :param lock: what each round holds.
    :param work: makes the coroutine of one round; what there is to do is taken up when it begins.
    """

    def __init__(self, *, lock: DeferredLock, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._lock, self._work = lock, work
        self._asked = self._served = 0
        self._shared: Shared[str, None] = Shared(keep=True)

    @property
    def under_way(self) -> bool:
        """Whether a round runs or waits for the lock."""
        return "round" in self._shared

    async def run(self) -> None:
        """Wait for the end of a round that begins from now on.

        :raise Exception: that round's failure, never an earlier one's.
        """
        self._asked += 1
        place = self._asked
        while self._served < place:
            try:
                await self._shared.run("round", self._round)
            except CancelledError:
                raise
            except Exception:
                if self._served >= place:
                    raise

    async def stop(self) -> None:
        """Break off the round under way and wait for its end."""
        await self._shared.stop()

    async def _round(self) -> None:
        async with holding(self._lock):
            served = self._asked
            try:
                await self._work()
            finally:
                self._served = served
