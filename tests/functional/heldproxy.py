"""A way to a server that tests can stop in the middle: before a part of an object is asked for, or after some bytes."""

from collections.abc import Callable
from typing import Any

from twisted.protocols.portforward import ProxyClient, ProxyClientFactory, ProxyFactory, ProxyServer


class _Client(ProxyClient):
    def dataReceived(self, data: bytes) -> None:
        peer: Any = self.peer
        peer.factory.way.came(len(data))
        super().dataReceived(data)


class _ClientFactory(ProxyClientFactory):
    protocol = _Client
    noisy = False


class _Server(ProxyServer):
    clientProtocolFactory = _ClientFactory

    def dataReceived(self, data: bytes) -> None:
        factory: Any = self.factory
        way: HeldProxy = factory.way
        if not way.holds(data):
            super().dataReceived(data)
            return
        way.held.append(lambda: ProxyServer.dataReceived(self, data))
        way.stopped()


class _Factory(ProxyFactory):
    protocol = _Server
    noisy = False

    def __init__(self, port: int, way: "HeldProxy") -> None:
        super().__init__("127.0.0.1", port)
        self.way = way


class HeldProxy:
    """Passes everything on to a server on loopback.

    :param reactor: the reactor.
    :param port: the server's.
    """

    def __init__(self, *, reactor: Any, port: int) -> None:
        self._reactor, self._port = reactor, port
        self._listening: Any = None
        self._parts_left: int | None = None
        self._bytes_left: int | None = None
        self._then: Callable[[], object] = lambda: None
        self.held: list[Callable[[], object]] = []

    def start(self) -> str:
        """Listen; return the base URL."""
        self._listening = self._reactor.listenTCP(0, _Factory(self._port, self), interface="127.0.0.1")
        return f"http://127.0.0.1:{self._listening.getHost().port}"

    async def stop(self) -> None:
        """Stop listening."""
        await self._listening.stopListening()

    def stop_after_parts(self, count: int, then: Callable[[], object]) -> None:
        """Let so many requests for parts through, keep the others, and call ``then`` at the first of them."""
        self._parts_left, self._then = count, then

    def call_after_bytes(self, count: int, then: Callable[[], object]) -> None:
        """Call ``then`` when the server has sent so many bytes."""
        self._bytes_left, self._then = count, then

    def go_on(self) -> None:
        """Pass on what was kept, and all that comes."""
        self._parts_left = None
        held, self.held = self.held, []
        for one in held:
            one()

    def holds(self, data: bytes) -> bool:
        """Count a request; say whether it is to be kept."""
        if self._parts_left is None or b"\r\nrange:" not in data.lower():
            return False
        self._parts_left -= 1
        return self._parts_left < 0

    def stopped(self) -> None:
        """Tell that something is kept for the first time."""
        then, self._then = self._then, lambda: None
        then()

    def came(self, count: int) -> None:
        """Count the server's bytes."""
        if self._bytes_left is not None:
            self._bytes_left -= count
            if self._bytes_left <= 0:
                self._bytes_left = None
                self.stopped()
