"""Kept-alive HTTP connections that threads share, and the answers that come over them.

An answer is read straight into a buffer of the caller's, and what is imported for it is what it needs: that counts in a
command that is over in half a second.
"""

import select
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urlsplit

from cachew.client.httpanswer import HttpAnswer, set_timeout
from cachew.client.httpconnection import Body as Body
from cachew.client.httpconnection import HttpConnection

if TYPE_CHECKING:
    from ssl import SSLContext

BROKEN = (OSError,)
"""What is raised when a connection or an answer breaks."""
_PIECE = 256 * 1024
_UNQUOTED = "%/:?#[]@!$&'()*+,;=~"
_PORTS = {"http": 80, "https": 443}


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

    :param answer: what has been read of it.
    :param peer: the socket that it comes over.
    :param done: is called once, and told whether the connection can be used again.
    """

    def __init__(self, answer: HttpAnswer, peer: socket.socket, done: Callable[[bool], object]) -> None:
        self.status = answer.status
        self.reason = answer.reason
        self.headers = Headers(answer.fields)
        self._answer = answer
        self._peer = peer
        self._done: Callable[[bool], object] | None = done

    def readinto(self, view: memoryview) -> int:
        """Read into a buffer and return how much; 0 at the end.

        :raise OSError: when the connection breaks, as everything in :data:`BROKEN`.
        """
        return self._answer.readinto(view)

    def stream(self) -> Iterator[bytes]:
        """Yield the body in pieces as they come."""
        room = memoryview(bytearray(_PIECE))
        while count := self._answer.readinto(room):
            yield bytes(room[:count])

    def read(self, limit: int) -> bytes:
        """Return the body, or its first bytes when it is longer than the limit."""
        content = bytearray()
        for piece in self.stream():
            content += piece
            if len(content) >= limit:
                break
        return bytes(content[:limit])

    def close(self) -> None:
        """Let the connection go: to whoever needs it next when all was read, and for good otherwise."""
        done, self._done = self._done, None
        if done is not None:
            done(self._answer.is_whole)

    def break_off(self) -> None:
        """Wake the thread that reads, whose reading fails then."""
        # Closing alone would leave it waiting. The method of a TLS socket would take the key away under its hands.
        with suppress(OSError):
            socket.socket.shutdown(self._peer, socket.SHUT_RDWR)


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
        self._idle: dict[tuple[str, str], list[HttpConnection]] = {}
        self._lock = threading.Lock()

    def request(
        self, method: str, url: str, *, headers: Mapping[str, str], body: Body | None, timeout: float
    ) -> ServerResponse:
        """Send a request and return its answer.

        :param timeout: seconds that may pass without a byte of it.
        :raise OSError: when there is none, as everything in :data:`BROKEN`.
        """
        try:
            server = urlsplit(url)
            sent = {"Host": _host(server), **headers}
            connection = self._take(server)
        except ValueError as error:  # a port or a name that there can't be, perhaps the proxy's
            raise OSError(str(error)) from error
        try:
            return self._ask(connection, method, server, sent, body, timeout)
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
        connection: HttpConnection,
        method: str,
        server: SplitResult,
        headers: dict[str, str],
        body: Body | None,
        timeout: float,
    ) -> ServerResponse:
        peer = connection.peer
        set_timeout(peer, timeout)
        target = _target(server)
        if server.scheme == "http" and (proxy := self._proxy(server)):
            target = f"http://{_host(server)}{target}"
            headers |= _proxy_credentials(_parsed(proxy))
        # A server that refuses an upload may answer and stop reading in the midst of it.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.send(method, target, headers, body)
        answer = connection.answer(method)
        return ServerResponse(answer, peer, lambda whole: self._give(server, connection, whole=whole))

    def _take(self, server: SplitResult) -> HttpConnection:
        while True:
            with self._lock:
                idle = self._idle.get(server[:2])
                connection = idle.pop() if idle else None
            if connection is None:
                return self._new(server)
            # What is idle has nothing to read but its end.
            if connection.is_open and not _readable(connection.peer):
                return connection
            connection.close()

    def _give(self, server: SplitResult, connection: HttpConnection, *, whole: bool) -> None:
        if not whole:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(server[:2], []).append(connection)

    def _new(self, server: SplitResult) -> HttpConnection:
        proxy = self._proxy(server)
        if not proxy:
            return self._direct(server)
        through = _parsed(proxy)
        if through.scheme not in ("http", "https") or server.scheme == through.scheme == "https":
            raise OSError(f"proxies like {through.scheme}://{through.hostname} are not supported")
        if server.scheme == "http":
            return self._direct(through)
        to = (_name(server), server.port or 443, _proxy_credentials(through))
        return HttpConnection(
            _name(through), through.port or 80, timeout=self._connect_timeout, tls=self._context, tunnel=to
        )

    def _direct(self, server: SplitResult) -> HttpConnection:
        port = server.port or _PORTS.get(server.scheme, 80)
        tls = self._context if server.scheme == "https" else None
        return HttpConnection(_name(server), port, timeout=self._connect_timeout, tls=tls)

    def _context(self) -> "SSLContext":
        if self._tls is not None:
            return self._tls()
        import ssl  # which takes as long to import as much of the rest

        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        return context


def _target(server: SplitResult) -> str:
    return quote((server.path or "/") + (f"?{server.query}" if server.query else ""), safe=_UNQUOTED)


def _host(server: SplitResult) -> str:
    """Return what the ``Host`` header says of a server."""
    name = _name(server)
    name = f"[{name}]" if ":" in name else name
    return name if server.port in (None, _PORTS.get(server.scheme)) else f"{name}:{server.port}"


def _name(server: SplitResult) -> str:
    """Return the name of a server's host as other machines know it.

    :raise ValueError: when it is none.
    """
    name = server.hostname or ""
    return name if name.isascii() else name.encode("idna").decode()


def _parsed(proxy: str) -> SplitResult:
    return urlsplit(proxy if "://" in proxy else f"http://{proxy}")


def _proxy_credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {b64encode(pair).decode()}"}


def _readable(peer: socket.socket) -> bool:
    if hasattr(peer, "pending") and peer.pending():  # TLS has deciphered more than was asked for
        return True
    poll = select.poll()
    poll.register(peer, select.POLLIN)
    return bool(poll.poll(0))
