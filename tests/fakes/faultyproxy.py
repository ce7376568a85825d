"""A TCP proxy on loopback that fails at a test's command."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
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
        self._trapped = False

    def connectionMade(self) -> None:
        self._proxy.connections.add(self)
        if self._proxy.refuse:
            self.transport.abortConnection()
            return
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
        if proxy.trap is not None and proxy.trap in data:
            proxy.trap, self._trapped = None, True
            if not proxy.trap_answers:
                proxy.trapped.callback(None)
        if self._trapped and not proxy.trap_answers:
            return
        if proxy.change_requests is not None:
            data = data.replace(*proxy.change_requests)
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
        if self._trapped:
            if not self._proxy.trapped.called:
                self._proxy.trapped.callback(None)
            return
        if self._proxy.delay:
            self._proxy.later(lambda: self._answer(data))
        else:
            self._answer(data)

    def _answer(self, data: bytes) -> None:
        proxy = self._proxy
        proxy.passed += len(data)
        if proxy.flip is not None:
            data, proxy.flip = _flipped(data, proxy.flip), proxy.flip - len(data)
            proxy.flip = None if proxy.flip < 0 else proxy.flip
        if proxy.cut is not None and len(data) >= proxy.cut:
            self.transport.write(data[: proxy.cut])
            self.transport.loseConnection()
            return
        if proxy.cut is not None:
            proxy.cut -= len(data)
        if proxy.change is not None and proxy.change[0] in data:
            data = data.replace(*proxy.change)
            if proxy.once:
                proxy.change = None
        self.transport.write(data)

    def far_lost(self) -> None:
        if self._proxy.delay:
            self._proxy.later(self.transport.loseConnection)
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        self._proxy.connections.discard(self)
        if self._far is not None:
            self._far.transport.abortConnection()


def _flipped(data: bytes, at: int) -> bytes:
    return data if at >= len(data) else data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


class FaultyProxy:
    """Passes connections on to a port, unless it is told to fail.

    ``answer``: what every request is answered instead. ``hang``: requests are swallowed. ``refuse``: connections end
    at once. ``delay``: answers come so many seconds late. ``cut``: connections end after so many bytes more of answers.
    ``flip``: one bit is wrong after so many bytes more of answers.
    ``change``: bytes of answers that are replaced by others, with ``once`` a single time. ``change_requests``: bytes of
    requests that are replaced by others. ``trap``: the next request that holds these bytes is swallowed, or its answer
    when ``trap_answers`` is set; then ``trapped`` fires. ``passed`` counts the bytes of answers.

    :param target: the port, on loopback.
    """

    def __init__(self, *, reactor: Any, target: int) -> None:
        self.reactor, self.target = reactor, target
        self.answer: bytes | None = None
        self.hang = self.refuse = self.once = False
        self.delay = 0.0
        self.passed = self.port = 0
        self.cut: int | None = None
        self.flip: int | None = None
        self.change: tuple[bytes, bytes] | None = None
        self.change_requests: tuple[bytes, bytes] | None = None
        self.trap: bytes | None = None
        self.trap_answers = False
        self.trapped: Deferred[None] = Deferred()
        self.requests = 0
        self.connections: set[_Near] = set()
        self._later: list[Any] = []

    async def start(self) -> int:
        """Listen and return the port."""
        factory = Factory.forProtocol(lambda: _Near(self))
        factory.noisy = False
        self._port: IListeningPort = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        self.port = int(self._port.getHost().port)
        return self.port

    def behave(self) -> None:
        """Pass everything on again, over new connections."""
        self.answer = self.cut = self.flip = self.change = self.change_requests = None
        self.trap = None
        self.hang = self.refuse = self.trap_answers = False
        self.delay = 0.0
        self.drop()

    def later(self, action: Callable[[], object]) -> None:
        """Do something when the delay is over."""
        self._later = [call for call in self._later if call.active()]
        self._later.append(self.reactor.callLater(self.delay, action))

    def drop(self) -> None:
        """End all connections."""
        for call in self._later:
            if call.active():
                call.cancel()
        for near in list(self.connections):
            near.transport.abortConnection()

    async def stop(self) -> None:
        """End all connections and stop listening."""
        self.drop()
        await maybeDeferred(self._port.stopListening)
