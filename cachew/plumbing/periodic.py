"""A periodic job that outlives its failures."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from cachew.plumbing.background import log_failure


class Periodic(Service):
    """Runs a coroutine every ``interval`` seconds, never two at a time; a failure is logged and the next turn comes.

    :param name: what the log calls it.
    :param interval: seconds from start to start.
    :param work: makes the coroutine.
    :param reactor: gives the turns.
    :param now: whether the first turn is at start rather than one interval later.
    """

    log = Logger()

    def __init__(
        self,
        *,
        name: str,
        interval: float,
        work: Callable[[], Coroutine[Any, Any, object]],
        reactor: IReactorTime,
        now: bool = False,
    ) -> None:
        self.name = name
        self._interval = interval
        self._work = work
        self._now = now
        self._loop = LoopingCall(self._turn)
        self._loop.clock = reactor
        self._current: Deferred[object] | None = None
        self._finished: Deferred[LoopingCall] = Deferred()

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._finished = self._loop.start(self._interval, now=self._now)

    def stopService(self) -> Deferred[None]:
        """End; a turn under way is cancelled and waited for."""
        super().stopService()
        stopped: Deferred[None] = Deferred()
        if not self._loop.running:
            stopped.callback(None)
            return stopped
        finished = self._finished
        self._loop.stop()
        finished.addBoth(lambda _: stopped.callback(None))
        if self._current is not None:
            self._current.cancel()
        return stopped

    def replace(self, interval: float) -> None:
        """Take turns so often from the next one on."""
        self._interval = interval
        self._loop.interval = interval

    def _turn(self) -> Deferred[object]:
        self._current = Deferred.fromCoroutine(self._run())
        return self._current.addErrback(self._failed)

    async def _run(self) -> None:
        await self._work()

    def _failed(self, failure: Any) -> None:
        log_failure(self.log, "a turn of the periodic job {name}", failure, name=self.name)
