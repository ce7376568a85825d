"""Work that nobody waits for: started, followed to its end, and ended at shutdown.

Its failures are told once: the world's in one line, our own with a traceback.
"""

import sqlite3
from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError

_OF_THE_WORLD = (CachewError, OSError, TimedOut, sqlite3.Error)
"""Disks that are full, read-only or gone, upstreams and stores in trouble, time limits."""


def log_failure(log: Logger, subject: str, failure: Failure, **fields: Any) -> None:
    """Log that something failed; work that was broken off has not.

    :param log: whose log.
    :param subject: what failed, with the ``fields`` in braces, e.g. ``snapshot of {repository}``.
    """
    if failure.check(CancelledError):
        return
    if failure.check(*_OF_THE_WORLD):
        log.warn(
            f"{subject} failed: {{error}}", error=failure.getErrorMessage() or type(failure.value).__name__, **fields
        )
    else:
        log.failure(f"{subject} failed", failure=failure, **fields)


class Background:
    """Keeps track of work that goes on behind the requests.

    A failure that cachew names is logged as one line, any other with its traceback.

    :param clock: for how long work has been going on; None where nobody asks.
    """

    log = Logger()

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._seconds = (lambda: 0.0) if clock is None else clock.seconds
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
