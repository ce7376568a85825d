"""Work behind the scenes that a test can wait for."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from cachew.plumbing.background import Background


class WatchedBackground(Background):
    """Tells when nothing is under way."""

    def __init__(self) -> None:
        super().__init__()
        self._under_way = 0
        self._waiting: list[Deferred[None]] = []

    def start(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Run the work and count it."""
        self._under_way += 1
        super().start(self._count(work), what)

    async def _count(self, work: Coroutine[Any, Any, object]) -> None:
        try:
            await work
        finally:
            self._under_way -= 1
            if not self._under_way:
                waiting, self._waiting = self._waiting, []
                for deferred in waiting:
                    deferred.callback(None)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        if self._under_way:
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            await waiter
