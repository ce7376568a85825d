"""Work that nobody waits for: started, followed to its end, and ended at shutdown."""

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.plumbing.errors import CachewError


class Background:
    """Keeps track of work that goes on behind the requests.

    A failure that cachew names is logged as one line, any other with its traceback.
    """

    log = Logger()

    def __init__(self) -> None:
        self._running: dict[Deferred[Any], str] = {}
        self._stopped = False

    @property
    def running(self) -> list[str]:
        """What is under way, in words."""
        return sorted(self._running.values())

    def start(self, work: Coroutine[Any, Any, object], what: str) -> None:
        """Run ``work`` to its end.

        :param what: what the log calls it, e.g. ``fetch of github.com/org/repo``.
        """
        if self._stopped:
            work.close()
            return
        deferred = Deferred.fromCoroutine(work)
        self._running[deferred] = what
        deferred.addErrback(self._failed, what)
        deferred.addBoth(self._ended, deferred)

    def _failed(self, failure: Failure, what: str) -> None:
        if failure.check(CancelledError):
            return
        if failure.check(CachewError):
            self.log.warn("{what} failed: {error}", what=what, error=failure.getErrorMessage())
        else:
            self.log.failure("{what} failed", failure=failure, what=what)

    def _ended(self, _: object, deferred: Deferred[Any]) -> None:
        self._running.pop(deferred, None)

    async def stop(self) -> None:
        """Cancel what is under way and wait for its end; nothing new starts."""
        self._stopped = True
        running = list(self._running)
        for deferred in running:
            deferred.cancel()
        await gatherResults(running)
