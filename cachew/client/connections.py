"""Kept-alive HTTP connections that threads share, and the answers that come over them.

This is ``http.client`` and nothing else: an answer is read straight into a buffer of the caller's, and importing it
takes a third of the time that a larger library takes, which counts in a command that is over in half a second.
"""

import select
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection, IncompleteRead
from typing import TYPE_CHECKING, BinaryIO, Union
from urllib.parse import SplitResult, quote, unquote, urlsplit

if TYPE_CHECKING:
    from ssl import SSLContext

Body = Union[bytes, Iterable[bytes], BinaryIO]  # noqa: UP007 (the client runs on Python 3.9 too)
BROKEN = (OSError, HTTPException)
"""What is raised when a connection or an answer breaks."""
_PIECE = 256 * 1024
_UNQUOTED = "%/:?#[]@!$&'()*+,;=~"


class Headers(Mapping[str, str]):
    """Header fields, whatever the case of their names; fields that come more than once are joined with commas."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields: dict[str, tuple[str, str]] = {}
        for name, value in fields:
            known = self._fields.get(name.lower())
            self._fields[name.lower()] = (name, value) if known is None else (known[0], f"{known[1]}, {value}")

    def __getitem__(self, name: str) -> str:
        """Return the value of a field."""
        return self._fields[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        """Give the names as they came."""
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        """Return how many fields there are."""
        return len(self._fields)

    def replaced(self, fields: Iterable[tuple[str, str]]) -> "Headers":
        """Return a copy in which some fields have other values."""
        new = {name.lower(): (name, value) for name, value in fields}
        return Headers((self._fields | new).values())


class ServerResponse:
    """A server's answer, its body still to be read.

    :param response: what ``http.client`` has read of it.
    :param peer: the socket that it comes over.
    :param done: is called once, and told whether the connection can be used again.
    """

    def __init__(self, response: HTTPResponse, peer: socket.socket, done: Callable[[bool], object]) -> None:
        self.status = response.status
        self.reason = response.reason
        self.headers = Headers(response.getheaders())
        self._response = response
        self._peer = peer
        self._done: Callable[[bool], object] | None = done

    def readinto(self, view: memoryview) -> int:
        """Read into a buffer and return how much; 0 at the end.

        :raise OSError: when the connection breaks, as everything in :data:`BROKEN`.
        """
        expected = self._response.length
        count = self._response.readinto(view)
        return self._counted(count, expected, len(view))

    def stream(self) -> Iterator[bytes]:
        """Yield the body in pieces as they come."""
        while True:
            expected = self._response.length
            piece = self._response.read1(_PIECE)
            if not self._counted(len(piece), expected, _PIECE):
                return
            yield piece

    def read(self, limit: int) -> bytes:
        """Return the body, or its first bytes when it is longer than the limit."""
        return self._response.read(limit)

    def close(self) -> None:
        """Let the connection go: to whoever needs it next when all was read, and for good otherwise."""
        done, self._done = self._done, None
        if done is not None:
            whole = not self._response.will_close and (self._response.isclosed() or self._response.length == 0)
            self._response.close()
            done(whole)

    def break_off(self) -> None:
        """Wake the thread that reads, whose reading fails then."""
        # Closing alone would leave it waiting. The method of a TLS socket would take the key away under its hands.
        with suppress(OSError):
            socket.socket.shutdown(self._peer, socket.SHUT_RDWR)

    def _counted(self, count: int, expected: int | None, wanted: int) -> int:
        # http.client takes the end of a connection for the end of the body, whatever the length was to be.
        if not count and expected and wanted:
            raise IncompleteRead(b"", expected)
        return count


class Connections:
    """Connections to whatever servers are asked, kept for the next request.

    :param connect_timeout: seconds until a connection must stand.
    :param proxy: returns the URL of the proxy for a server, None for none.
    :param tls: makes the settings of TLS connections; None for the system's own.
    """

    def __init__(
        self,
        *,
        connect_timeout: float = 10.0,
        proxy: Callable[[SplitResult], str | None] = lambda _: None,
        tls: "Callable[[], SSLContext] | None" = None,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._tls = tls
        self._proxy = proxy
        self._idle: dict[tuple[str, str], list[HTTPConnection]] = {}
        self._lock = threading.Lock()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Body | None, timeout: float
    ) -> ServerResponse:
        """Send a request and return its answer.

        :param timeout: seconds that may pass without a byte of it.
        :raise OSError: when there is none, as everything in :data:`BROKEN`.
        """
        server = urlsplit(url)
        connection = self._take(server)
        try:
            return self._ask(connection, method, server, dict(headers), body, timeout)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close those that are not in use."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for connection in (one for some in idle.values() for one in some):
            connection.close()

    def _ask(
        self,
        connection: HTTPConnection,
        method: str,
        server: SplitResult,
        headers: dict[str, str],
        body: Body | None,
        timeout: float,
    ) -> ServerResponse:
        if connection.sock is None:
            connection.connect()
        peer = connection.sock
        peer.settimeout(timeout)
        target = _target(server)
        if server.scheme == "http" and (proxy := self._proxy(server)):
            target = f"http://{server.netloc}{target}"
            headers |= _proxy_credentials(_parsed(proxy))
        # A server that refuses an upload may answer and stop reading in the midst of it.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, target, body, headers)
        response = connection.getresponse()
        return ServerResponse(response, peer, lambda whole: self._give(server, connection, whole=whole))

    def _take(self, server: SplitResult) -> HTTPConnection:
        while True:
            with self._lock:
                idle = self._idle.get(server[:2])
                connection = idle.pop() if idle else None
            if connection is None:
                return self._new(server)
            # What is idle has nothing to read but its end.
            if connection.sock is not None and not _readable(connection.sock):
                return connection
            connection.close()

    def _give(self, server: SplitResult, connection: HTTPConnection, *, whole: bool) -> None:
        if not whole:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(server[:2], []).append(connection)

    def _new(self, server: SplitResult) -> HTTPConnection:
        proxy = self._proxy(server)
        if not proxy:
            return self._direct(server)
        through = _parsed(proxy)
        if through.scheme not in ("http", "https") or server.scheme == through.scheme == "https":
            raise OSError(f"proxies like {through.scheme}://{through.hostname} are not supported")
        if server.scheme == "http":
            return self._direct(through)
        connection = self._secure(through.hostname or "", through.port or 80)
        connection.set_tunnel(server.hostname or "", server.port or 443, headers=_proxy_credentials(through))
        return connection

    def _direct(self, server: SplitResult) -> HTTPConnection:
        if server.scheme == "https":
            return self._secure(server.hostname or "", server.port or HTTPSConnection.default_port)
        port = server.port or HTTPConnection.default_port
        return HTTPConnection(server.hostname or "", port, timeout=self._connect_timeout, blocksize=_PIECE)

    def _secure(self, host: str, port: int) -> HTTPConnection:
        context = None if self._tls is None else self._tls()
        return HTTPSConnection(host, port, timeout=self._connect_timeout, blocksize=_PIECE, context=context)


def _target(server: SplitResult) -> str:
    return quote((server.path or "/") + (f"?{server.query}" if server.query else ""), safe=_UNQUOTED)


def _parsed(proxy: str) -> SplitResult:
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _proxy_credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


def _readable(peer: socket.socket) -> bool:
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    return bool(poll.poll(0))
