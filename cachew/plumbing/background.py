"""Work that nobody waits for: started, followed to its end, and ended at shutdown."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.plumbing.failurelog import log_failure


class Background:
    """Keeps track of work that goes on behind the requests.

    A failure that cachew names is logged as one line, any other with its traceback.

    :param seconds: a monotonic clock, for how long work has been going on.
    """

    log = Logger()

    def __init__(self, *, seconds: Callable[[], float] = lambda: 0.0) -> None:
        self._seconds = seconds
        self._running: dict[Deferred[Any], tuple[str, float]] = {}
        self._stopped = False

    @property
    def under_way(self) -> list[tuple[str, float]]:
        """What is under way, in words, and for how many seconds."""
        now = self._seconds()
        return [(what, now - began) for what, began in self._running.values()]

    def start(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Run ``work`` to its end.

        After :meth:`stop` it is cancelled where it first waits, so that it lets go of what it was handed.

        :param what: what the log calls it, e.g. ``fetch of github.com/org/repo``.
        """
        deferred = Deferred.fromCoroutine(work)
        self._running[deferred] = (what, self._seconds())
        deferred.addErrback(self._failed, what)
        deferred.addBoth(self._ended, deferred)
        if self._stopped:
            deferred.cancel()

    def _failed(self, failure: Failure, what: str) -> None:
        log_failure(self.log, "{what}", failure, what=what)

    def _ended(self, _: object, deferred: Deferred[Any]) -> None:
        self._running.pop(deferred, None)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await DeferredList(list(self._running))

    async def stop(self) -> None:
        """Cancel what is under way and wait for its end; what is started from now on is cancelled where it waits."""
        self._stopped = True
        for deferred in list(self._running):
            deferred.cancel()
        await self.idle()
