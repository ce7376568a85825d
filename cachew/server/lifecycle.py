"""The server's life: what is opened in which order, when it is ready, and how it goes without dropping anybody.

Listeners open first, so that the process can say from its first second that it lives; it is ready when the mirrors
have been found. At the end readiness fails first, then the listeners close, then whoever is still being served has the
time that the operator gives, then everything that still runs is ended.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cachew.plumbing.patience import ended_within
from cachew.plumbing.waiters import Waiters
from cachew.server.listeners import Listeners
from cachew.server.watchdog import Watchdog

_CLOSING = 20.0
"""Seconds that all that is closed at the end has; a storage that hangs must keep no process alive."""
_LEAST = 1.0
"""Seconds that each of it has in any case."""
Step = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Patience:
    """How the server goes.

    :param readiness_delay: seconds from failing readiness to closed listeners.
    :param shutdown: seconds that running responses have.
    """

    readiness_delay: float
    shutdown: float


@dataclass(frozen=True, kw_only=True)
class Phases:
    """What the server does, and when.

    :param opening: before it is ready, in this order, when it listens already.
    :param jobs: services that run while it is ready.
    :param closing: at the end, in this order.
    :param hang_up: when it is told SIGHUP.
    """

    opening: Sequence[Step]
    jobs: Sequence[IService]
    closing: Sequence[Step]
    hang_up: Step


class Server(MultiService):
    """The running server; its children are the periodic jobs, which run while it is ready.

    :param reactor: the reactor.
    :param listeners: where it listens.
    :param pool: the threads.
    :param phases: what it does, and when.
    :param patience: how it goes.
    :param watchdog: tells outside how the server is.
    :param on_failure: called when it can't start, before the reactor is stopped.
    """

    log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        listeners: Listeners,
        pool: ThreadPool,
        phases: Phases,
        patience: Patience,
        watchdog: Watchdog,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self.listeners = listeners
        self._reactor = reactor
        self._pool = pool
        self._phases = phases
        self._patience = patience
        self._watchdog = watchdog
        self._on_failure = on_failure
        self._state = "warming up"
        self._warming: Deferred[None] | None = None
        self._ready = Waiters()

    @property
    def unready(self) -> str:
        """Why no traffic should be sent here, empty when it may."""
        return self._state

    @property
    def addresses(self) -> list[Any]:
        """Where it listens."""
        return self.listeners.addresses

    async def ready(self) -> None:
        """Wait until it is ready."""
        if self._state:
            await self._ready.wait()

    def startService(self) -> None:
        """Open everything; readiness says when that is done."""
        super().startService()
        self._pool.start()
        self._reactor.callWhenRunning(self._watchdog.start)
        self._warming = Deferred.fromCoroutine(self._warm_up())
        self._warming.addErrback(self._failed)

    async def _warm_up(self) -> None:
        await self.listeners.open()
        for step in self._phases.opening:
            await step()
        for job in self._phases.jobs:
            job.setServiceParent(self)
        self._state = ""
        self.log.info("ready")
        self._watchdog.ready()
        self._ready.wake()

    async def hang_up(self) -> None:
        """Do what SIGHUP asks for."""
        await self._phases.hang_up()

    def _failed(self, failure: Any) -> None:
        if self._state != "shutting down":
            self.log.critical("the server can't start: {error}", error=failure.getErrorMessage())
            self._on_failure()
            # What fails at once does so before the reactor runs, when there is no stopping it.
            self._reactor.callWhenRunning(self._reactor.stop)

    def stopService(self) -> Deferred[None]:
        """Close everything, as gently as the settings allow."""
        self._state = "shutting down"
        self._watchdog.stopping()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._warming is not None:
            self._warming.cancel()
        if self.listeners.addresses and self._patience.readiness_delay:
            await deferLater(self._reactor, self._patience.readiness_delay, lambda: None)
        await self.listeners.close()
        await self.listeners.drain(self._patience.shutdown)
        until = self._reactor.seconds() + _CLOSING
        Service.stopService(self)
        jobs = [self._close(job.stopService, _CLOSING) for job in reversed(list(self))]
        await DeferredList([Deferred.fromCoroutine(job) for job in jobs])
        for step in self._phases.closing:
            await self._close(step, max(until - self._reactor.seconds(), _LEAST))
        self._watchdog.stop()
        self._pool.stop()

    async def _close(self, step: Callable[[], Awaitable[object] | None], seconds: float) -> None:
        name = getattr(step, "__qualname__", step)
        try:
            if not await ended_within(self._reactor, seconds, _maybe(step())):
                self.log.error("closing {step} takes more than {seconds:.0f} s", step=name, seconds=seconds)
        except Exception:
            self.log.failure("closing {step} failed", step=name)


async def _maybe(result: Any) -> None:
    if result is not None:
        await result
