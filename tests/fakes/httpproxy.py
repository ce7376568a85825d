"""A forward proxy on loopback: tunnels for CONNECT, whole URLs for http, and a password if a test wants one."""

from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure


class HttpProxy(Factory):
    """The proxy.

    :param reactor: the reactor.
    :param places: where ``host:port`` really is, as port on loopback; any other place is not reached.
    :param password: ``USER:PASSWORD`` that it wants.
    """

    def __init__(self, *, reactor: Any, places: dict[str, int], password: str = "") -> None:
        self.reactor = reactor
        self.places = places
        self.asked: list[str] = []
        self.wanted = b"Basic " + b64encode(password.encode()) if password else None
        self._port: Any = None

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self._port.getHost().port}"

    def start(self) -> None:
        """Listen."""
        self._port = self.reactor.listenTCP(0, self, interface="127.0.0.1")

    async def stop(self) -> None:
        """Listen no more."""
        await self._port.stopListening()

    def buildProtocol(self, addr: object) -> Protocol:
        """Take a connection."""
        return _Side(self)


class _Side(Protocol):
    transport: Any

    def __init__(self, proxy: HttpProxy) -> None:
        self._proxy = proxy
        self._data = b""
        self._other: Any = None
        self._waiting = False

    def dataReceived(self, data: bytes) -> None:
        if self._other is not None and self._tunnels:
            self._other.transport.write(data)
            return
        self._data += data
        head, ended, _ = self._data.partition(b"\r\n\r\n")
        if ended and not self._waiting:
            self._waiting = True
            self._asked(head)
        elif self._other is not None:
            self._flush()

    def _asked(self, head: bytes) -> None:
        line, *headers = head.split(b"\r\n")
        method, target, _ = line.split(b" ")
        shown = dict(header.split(b": ", 1) for header in headers)
        self._proxy.asked.append(f"{method.decode()} {target.decode()}")
        if self._proxy.wanted is not None and shown.get(b"Proxy-Authorization") != self._proxy.wanted:
            self._end(b"407 Proxy Authentication Required")
            return
        self._tunnels = method == b"CONNECT"
        place = target.decode() if self._tunnels else urlsplit(target.decode()).netloc
        port = self._proxy.places.get(place)
        if port is None:
            self._end(b"502 Bad Gateway")
            return
        if not self._tunnels:
            # One request a connection: the next one's target would have to be found in what streams past.
            path = target[len(f"http://{place}") :]
            kept = [header for header in headers if not header.lower().startswith((b"proxy-", b"connection:"))]
            lines = [b"%b %b HTTP/1.1" % (method, path), *kept, b"Connection: close"]
            self._data = b"\r\n".join(lines) + self._data[len(head) :]
        endpoint = TCP4ClientEndpoint(self._proxy.reactor, "127.0.0.1", port)
        connectProtocol(endpoint, _Other(self)).addCallbacks(self._connected, lambda _: self._end(b"502 Bad Gateway"))

    def _connected(self, other: Any) -> None:
        self._other = other
        if self._tunnels:
            self._data = self._data.partition(b"\r\n\r\n")[2]
            self.transport.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._flush()

    def _flush(self) -> None:
        data, self._data = self._data, b""
        self._other.transport.write(data)

    def _end(self, status: bytes) -> None:
        asks = b"Proxy-Authenticate: Basic realm=proxy\r\n" if status.startswith(b"407") else b""
        self.transport.write(b"HTTP/1.1 %b\r\n%bContent-Length: 0\r\nConnection: close\r\n\r\n" % (status, asks))
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._other is not None:
            self._other.transport.loseConnection()


class _Other(Protocol):
    transport: Any

    def __init__(self, side: _Side) -> None:
        self._side = side

    def dataReceived(self, data: bytes) -> None:
        self._side.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._side.transport.loseConnection()
