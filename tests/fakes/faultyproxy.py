"""A TCP proxy on loopback that fails at a test's command."""

from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure


class _Far(Protocol):
    transport: Any

    def __init__(self, near: "_Near") -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.answered(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._near.far_lost()


class _Near(Protocol):
    transport: Any

    def __init__(self, proxy: "FaultyProxy") -> None:
        self._proxy = proxy
        self._waiting: list[bytes] = []
        self._far: Any = None

    def connectionMade(self) -> None:
        self._proxy.connections.add(self)
        if self._proxy.answer is None:
            endpoint = TCP4ClientEndpoint(self._proxy.reactor, "127.0.0.1", self._proxy.target)
            endpoint.connect(Factory.forProtocol(lambda: _Far(self))).addCallbacks(self._connected, self._failed)

    def _connected(self, far: Any) -> None:
        self._far = far
        for data in self._waiting:
            far.transport.write(data)
        if self not in self._proxy.connections:
            far.transport.abortConnection()

    def _failed(self, _: Failure) -> None:
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        proxy = self._proxy
        proxy.requests += 1
        if proxy.hang:
            return
        if proxy.answer is not None:
            self.transport.write(proxy.answer)
            self.transport.loseConnection()
        elif self._far is None:
            self._waiting.append(data)
        else:
            self._far.transport.write(data)

    def answered(self, data: bytes) -> None:
        proxy = self._proxy
        if proxy.cut is not None and len(data) >= proxy.cut:
            self.transport.write(data[: proxy.cut])
            self.transport.loseConnection()
            return
        if proxy.cut is not None:
            proxy.cut -= len(data)
        self.transport.write(data if proxy.change is None else data.replace(*proxy.change))

    def far_lost(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._proxy.connections.discard(self)
        if self._far is not None:
            self._far.transport.abortConnection()


class FaultyProxy:
    """Passes connections on to a port, unless it is told to fail.

    ``answer``: what every request is answered instead. ``hang``: requests are swallowed. ``cut``: connections end after
    so many bytes more of answers. ``change``: bytes of answers that are replaced by others.

    :param target: the port, on loopback.
    """

    def __init__(self, *, reactor: Any, target: int) -> None:
        self.reactor, self.target = reactor, target
        self.answer: bytes | None = None
        self.hang = False
        self.cut: int | None = None
        self.change: tuple[bytes, bytes] | None = None
        self.requests = 0
        self.connections: set[_Near] = set()

    async def start(self) -> int:
        """Listen and return the port."""
        factory = Factory.forProtocol(lambda: _Near(self))
        factory.noisy = False
        self._port: IListeningPort = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        return int(self._port.getHost().port)

    def drop(self) -> None:
        """End all connections."""
        for near in list(self.connections):
            near.transport.abortConnection()

    async def stop(self) -> None:
        """End all connections and stop listening."""
        self.drop()
        await maybeDeferred(self._port.stopListening)
