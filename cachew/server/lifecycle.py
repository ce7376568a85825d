"""The server's life: what is opened in which order, when it is ready, and how it goes without dropping anybody.

Listeners open first, so that the process can say from its first second that it lives; it is ready when the mirrors
have been found. At the end readiness fails first, then the listeners close, then whoever is still being served has the
time that the operator gives, then everything that still runs is ended.
"""

import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IListeningPort
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from cachew.http.site import StreamingSite
from cachew.plumbing.patience import ended_within
from cachew.plumbing.waiters import Waiters
from cachew.server.listening import server_endpoint
from cachew.server.watchdog import Watchdog

_EVERYWHERE = ("0.0.0.0", "::")
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


class Server(MultiService):
    """The running server; its children are the periodic jobs, which run while it is ready.

    :param reactor: the reactor.
    :param endpoints: descriptions of where to listen.
    :param site: what answers there.
    :param pool: the threads.
    :param opening: what is opened before it is ready, in this order.
    :param closing: what is closed at the end, in this order.
    :param jobs: services that run while it is ready.
    :param patience: how it goes.
    :param public_url: where clients find it, None for where it listens.
    :param reload: reads the config again and follows it; nothing where there is none.
    :param login_path: makes the path that logs one browser in to the dashboard, once.
    :param watchdog: tells outside how the server is.
    :param on_failure: called when it can't start, before the reactor is stopped.
    """

    log = Logger()

    def __init__(
        self,
        *,
        reactor: Any,
        endpoints: Sequence[str],
        site: StreamingSite,
        pool: ThreadPool,
        opening: Sequence[Step],
        closing: Sequence[Step],
        jobs: Sequence[IService],
        patience: Patience,
        login_path: Callable[[], str],
        reload: Step | None = None,
        public_url: str | None = None,
        watchdog: Watchdog,
        on_failure: Callable[[], object] = lambda: None,
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._endpoints = endpoints
        self._site = site
        self._pool = pool
        self._opening = opening
        self._closing = closing
        self._jobs = jobs
        self._patience = patience
        self._reload, self._public_url = reload, public_url
        self._watchdog = watchdog
        self._login_path, self._on_failure = login_path, on_failure
        self._ports: list[IListeningPort] = []
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
        return [port.getHost() for port in self._ports]

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
        for description in self._endpoints:
            port = await server_endpoint(self._reactor, description).listen(self._site)
            self._ports.append(port)
            self.log.info("listening on {address}", address=in_words(port.getHost()))
        self.announce()
        for step in self._opening:
            await step()
        for job in self._jobs:
            job.setServiceParent(self)
        self._state = ""
        self.log.info("ready")
        self._watchdog.ready()
        self._ready.wake()

    def announce(self) -> None:
        """Say where the dashboard is and how to get in: once, within an hour."""
        for endpoint, address in zip(self._endpoints, self.addresses, strict=True):
            if hasattr(address, "port"):
                scheme = "https" if endpoint.startswith(("ssl:", "tls:")) else "http"
                where = in_words(address) if address.host not in _EVERYWHERE else f"localhost:{address.port}"
                base = (self._public_url or f"{scheme}://{where}").rstrip("/")
                url = f"{base}{self._login_path()}"
                self.log.info("dashboard (this link logs one browser in, once, within an hour): {url}", url=url)
                return

    async def hang_up(self) -> None:
        """Do what SIGHUP asks for: read the config again, and say how to get into the dashboard."""
        self.announce()
        if self._reload is not None:
            await self._reload()

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
        if self._ports and self._patience.readiness_delay:
            await deferLater(self._reactor, self._patience.readiness_delay, lambda: None)
        for port in self._ports:
            await _maybe(port.stopListening())
        if self._ports:
            self.log.info("listening no more")
        await self._drain()
        until = self._reactor.seconds() + _CLOSING
        Service.stopService(self)
        jobs = [self._close(job.stopService, _CLOSING) for job in reversed(list(self))]
        await DeferredList([Deferred.fromCoroutine(job) for job in jobs])
        for step in self._closing:
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

    async def _drain(self) -> None:
        retired = self._site.retire()
        retired.addTimeout(self._patience.shutdown, self._reactor)
        try:
            await retired
        except DeferredTimeout:
            self.log.warn("{count} connections are still open and are closed now", count=self._site.connections)
            self._site.abort_connections()


async def _maybe(result: Any) -> None:
    if result is not None:
        await result


def in_words(address: Any) -> str:
    """Return where a port listens, as people and URLs write it."""
    host = getattr(address, "host", None)
    if host is not None:
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    name = getattr(address, "name", None)
    return os.fsdecode(name) if name else str(address)
