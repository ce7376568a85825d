"""Where the server listens, from the first second of its life to the end of its last response."""

import os
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from cachew.http.site import StreamingSite
from cachew.plumbing.errors import CachewError
from cachew.server.listening import CertificateError, server_endpoint

_EVERYWHERE = ("0.0.0.0", "::")


class Listeners:
    """The listening ports and what answers at them.

    :param reactor: the reactor.
    :param endpoints: descriptions of where to listen.
    :param site: what answers there.
    """

    log = Logger()

    def __init__(self, *, reactor: Any, endpoints: Sequence[str], site: StreamingSite) -> None:
        self._reactor = reactor
        self._endpoints = endpoints
        self._site = site
        self._ports: list[IListeningPort] = []

    @property
    def addresses(self) -> list[Any]:
        """Where it listens."""
        return [port.getHost() for port in self._ports]

    @property
    def url(self) -> str | None:
        """The server's address for a browser on this machine; None where no browser gets at it."""
        for endpoint, address in zip(self._endpoints, self.addresses, strict=False):
            if hasattr(address, "port"):
                scheme = "https" if endpoint.startswith(("ssl:", "tls:")) else "http"
                where = in_words(address) if address.host not in _EVERYWHERE else f"localhost:{address.port}"
                return f"{scheme}://{where}"
        return None

    async def open(self) -> None:
        """Begin to listen.

        :raise CachewError: when that can't be done somewhere.
        """
        for description in self._endpoints:
            try:
                port = await server_endpoint(self._reactor, description).listen(self._site)
            except (CannotListenError, OSError, CertificateError) as error:
                raise CachewError(f"nobody can listen on {description}: {error}") from error
            self._ports.append(port)
            self.log.info("listening on {address}", address=in_words(port.getHost()))

    async def close(self) -> None:
        """Listen no more; what is being answered goes on."""
        ports, self._ports = self._ports, []
        for port in ports:
            await maybeDeferred(port.stopListening)
        if ports:
            self.log.info("listening no more")

    async def drain(self, seconds: float) -> None:
        """Wait until everybody has been answered, so long at most; the others are broken off."""
        retired = self._site.retire()
        retired.addTimeout(seconds, self._reactor)
        try:
            await retired
        except DeferredTimeout:
            self.log.warn("{count} connections are still open and are closed now", count=self._site.connections)
            self._site.abort_connections()


def in_words(address: Any) -> str:
    """Return where a port listens, as people and URLs write it."""
    host = getattr(address, "host", None)
    if host is not None:
        return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    name = getattr(address, "name", None)
    return os.fsdecode(name) if name else str(address)
