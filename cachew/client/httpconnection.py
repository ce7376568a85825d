"""One connection to an HTTP/1.1 server or proxy: sends requests, over TLS where that is asked for (RFC 9112)."""

import socket
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO, Callable, Union  # noqa: UP035 (Python 3.9)

from cachew.client.httpanswer import HttpAnswer, Incoming

if TYPE_CHECKING:
    from ssl import SSLContext

Body = Union[bytes, Iterable[bytes], BinaryIO]  # noqa: UP007 (the client runs on Python 3.9 too)
_PIECE = 256 * 1024
_WITH_LENGTH = ("POST", "PUT", "PATCH")


class HttpConnection:
    """A connection, made when it is first used.

    :param host: of whom it is to; of the proxy when there is a tunnel. Names are ASCII.
    :param timeout: seconds until it must stand.
    :param tls: makes the settings of TLS; None for none.
    :param tunnel: the host and port that a proxy is to lead to, and what it is told besides.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout: float,
        tls: "Callable[[], SSLContext] | None" = None,
        tunnel: "tuple[str, int, Mapping[str, str]] | None" = None,
    ) -> None:
        self._host = host
        self._port = port
        self._timeout = timeout
        self._tls = tls
        self._tunnel = tunnel
        self._peer: socket.socket | None = None
        self._incoming: Incoming | None = None

    @property
    def peer(self) -> socket.socket:
        """Its socket.

        :raise OSError: when it can't be connected.
        """
        if self._peer is None:
            self._peer = self._connected()
            self._incoming = Incoming(self._peer)
        return self._peer

    @property
    def is_open(self) -> bool:
        """Whether it stands."""
        return self._peer is not None

    def close(self) -> None:
        """Close it; may be called more than once."""
        peer, self._peer = self._peer, None
        if peer is not None:
            peer.close()

    def send(self, method: str, target: str, headers: "Mapping[str, str]", body: "Body | None") -> None:
        """Send a request.

        :param headers: all but how the body is cut.
        :raise OSError: when the connection breaks.
        """
        peer, fields = self.peer, dict(headers)
        names = {name.lower() for name in fields}
        chunked = body is not None and not isinstance(body, bytes) and "content-length" not in names
        if chunked:
            fields["Transfer-Encoding"] = "chunked"
        elif "content-length" not in names and (isinstance(body, bytes) or method in _WITH_LENGTH):
            fields["Content-Length"] = str(len(body) if isinstance(body, bytes) else 0)
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
        head = "\r\n".join(lines).encode("latin-1")
        try:
            peer.sendall(head + body if isinstance(body, bytes) else head)
            if body is not None and not isinstance(body, bytes):
                _send_pieces(peer, body, chunked=chunked)
        except BlockingIOError:
            raise TimeoutError("timed out") from None

    def answer(self, method: str) -> HttpAnswer:
        """Read the head of the answer.

        :raise OSError: when there is none.
        """
        assert self._incoming is not None
        return HttpAnswer(self._incoming, method)

    def _connected(self) -> socket.socket:
        # As text it would be translated, by a library that is large.
        host = self._host.encode()
        plain = socket.create_connection((host, self._port), self._timeout)  # type: ignore[arg-type]
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = self._host
            if self._tunnel is not None:
                name = self._tunnel[0]
                _enter(plain, *self._tunnel)
            return plain if self._tls is None else self._tls().wrap_socket(plain, server_hostname=name)
        except BaseException:
            plain.close()
            raise


def _send_pieces(peer: socket.socket, body: "Iterable[bytes] | BinaryIO", *, chunked: bool) -> None:
    for piece in iter(lambda: body.read(_PIECE), b"") if hasattr(body, "read") else body:
        if chunked and piece:
            peer.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        else:
            peer.sendall(piece)
    if chunked:
        peer.sendall(b"0\r\n\r\n")


def _enter(plain: socket.socket, host: str, port: int, headers: "Mapping[str, str]") -> None:
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    fields = "".join(f"{name}: {value}\r\n" for name, value in {"Host": where, **headers}.items())
    plain.sendall(f"CONNECT {where} HTTP/1.1\r\n{fields}\r\n".encode("latin-1"))
    answer = HttpAnswer(Incoming(plain), "CONNECT")
    if answer.status != 200:
        raise OSError(f"Tunnel connection failed: {answer.status} {answer.reason}")
