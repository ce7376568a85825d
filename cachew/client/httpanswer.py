"""Reads the answers of an HTTP/1.1 server from a connection (RFC 9112), straight into the caller's memory.

Python's ``http.client`` needs the libraries of mail and of TLS before it can say a word: a third of what a short
command waits for. It also asks the system three times for what comes in one piece here.
"""

import socket
import struct
from typing import Any, Callable  # noqa: UP035 (Python 3.9)

_AT_ONCE = 64 * 1024
_LINE_LIMIT = 64 * 1024
_HEAD_LIMIT = 256 * 1024
_EARLY = "the connection closed in the midst of an answer"
_RUBBISH = "the server answers with something that is not HTTP"
_NO_BODY = (204, 304)
_DIGITS = {10: "0123456789", 16: "0123456789abcdefABCDEF"}
_MOST_DIGITS = 18
_ALL = getattr(socket, "MSG_WAITALL", 0)


class BrokenAnswer(OSError):
    """What came is not HTTP, or ends before its end."""


class Incoming:
    """What comes over a connection.

    :param peer: the connection.
    """

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._held = b""
        # TLS hands out one record at a time, and has no use for flags.
        self._flags = _ALL if _is_plain(peer) else 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been received that nobody has asked for."""
        return not self._held

    def line(self) -> bytes:
        """Return a line without its end.

        :raise BrokenAnswer: when there is none.
        """
        while (end := self._held.find(b"\n")) < 0:
            piece: bytes = self._received(self._peer.recv, _AT_ONCE)
            if not piece or len(self._held) > _LINE_LIMIT:
                raise BrokenAnswer(_EARLY if not piece else _RUBBISH)
            self._held += piece
        line, self._held = self._held[:end], self._held[end + 1 :]
        return line.rstrip(b"\r")

    def into(self, view: memoryview) -> int:
        """Fill memory with what comes next, as much as there is in a while, and return how much; 0 at the end."""
        if self._held:
            count = min(len(self._held), len(view))
            view[:count], self._held = self._held[:count], self._held[count:]
        else:
            count = self._received(self._peer.recv_into, view, 0, self._flags)
        return count

    @staticmethod
    def _received(receive: "Callable[..., Any]", *arguments: object) -> "Any":
        try:
            return receive(*arguments)
        except BlockingIOError:  # what the system says when a time-out of its own has passed
            raise TimeoutError("timed out") from None


class HttpAnswer:
    """One answer, whose head has been read.

    :param incoming: what comes over its connection.
    :param method: what was asked with.
    :raise BrokenAnswer: when it is not HTTP.
    """

    def __init__(self, incoming: Incoming, method: str) -> None:
        self._incoming = incoming
        version, self.status, self.reason = _status_line(incoming)
        while 100 <= self.status < 200 and self.status != 101:
            _fields(incoming)
            version, self.status, self.reason = _status_line(incoming)
        self.fields = _fields(incoming)
        said = _joined(self.fields)
        self._chunked = "chunked" in said.get("transfer-encoding", "").lower()
        self._ended = False
        self.left: int | None = None
        """Bytes of the body, or of the chunk, that are still to come; None for all until the connection ends."""
        if method == "HEAD" or self.status in _NO_BODY or (method == "CONNECT" and self.status == 200):
            self._chunked, self.left = False, 0
        elif self._chunked:
            self.left = 0
        elif "content-length" in said:
            self.left = _length(said["content-length"])
        options = said.get("connection", "").lower()
        stays = version != b"HTTP/1.0" or "keep-alive" in options
        self._stays = stays and "close" not in options and (self._chunked or self.left is not None)

    @property
    def is_whole(self) -> bool:
        """Whether all of it was read, and another one may come over the same connection."""
        ended = self._ended if self._chunked else self.left == 0
        return self._stays and ended and self._incoming.is_empty

    def readinto(self, view: memoryview) -> int:
        """Read into memory and return how much; 0 at the end.

        :raise OSError: when the connection breaks.
        """
        if self._chunked and not self.left and not self._ended:
            self._begin_chunk()
        if self.left == 0 or self._ended or not view:
            return 0
        count = self._incoming.into(view if self.left is None else view[: self.left])
        if self.left is None:
            self._ended = not count
        elif not count:
            raise BrokenAnswer(_EARLY)
        else:
            self.left -= count
            if self._chunked and not self.left and self._incoming.line():
                raise BrokenAnswer(_RUBBISH)
        return count

    def _begin_chunk(self) -> None:
        self.left = _number(self._incoming.line().partition(b";")[0].strip().decode("latin-1"), 16)
        if not self.left:
            self._ended = True
            _fields(self._incoming)


def set_timeout(peer: socket.socket, seconds: float) -> None:
    """Let nothing take longer than that; what waits in the system for all that was asked for is woken once."""
    if not _is_plain(peer) or not hasattr(socket, "SO_RCVTIMEO"):
        peer.settimeout(seconds)
        return
    bound = struct.pack("ll", int(seconds), max(int(seconds % 1 * 1e6), 0 if seconds >= 1 else 1))
    try:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, bound)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, bound)
    except OSError:  # a system of 32 bits may have times of 64, and then takes another structure
        peer.settimeout(seconds)
    else:
        peer.setblocking(True)


def _is_plain(peer: socket.socket) -> bool:
    """Tell whether a connection is without TLS."""
    return not hasattr(peer, "pending")


def _status_line(incoming: Incoming) -> "tuple[bytes, int, str]":
    version, _, rest = incoming.line().partition(b" ")
    status, _, reason = rest.partition(b" ")
    if not version.startswith(b"HTTP/1.") or len(status) != 3 or not status.isdigit():
        raise BrokenAnswer(_RUBBISH)
    return version, int(status), reason.decode("latin-1").strip()


def _fields(incoming: Incoming) -> "list[tuple[str, str]]":
    found: list[tuple[str, str]] = []
    size = 0
    while line := incoming.line():
        size += len(line) + 2
        if size > _HEAD_LIMIT:
            raise BrokenAnswer("the head of the server's answer is too long")
        name, colon, value = line.decode("latin-1").partition(":")
        if line[:1] in (b" ", b"\t") and found:  # obsolete, and still to be understood
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.decode('latin-1').strip()}")
        elif not colon or not name or name != name.strip():
            raise BrokenAnswer(_RUBBISH)
        else:
            found.append((name, value.strip()))
    return found


def _joined(fields: "list[tuple[str, str]]") -> "dict[str, str]":
    said: dict[str, str] = {}
    for name, value in fields:
        lower = name.lower()
        said[lower] = f"{said[lower]}, {value}" if lower in said else value
    return said


def _length(said: str) -> int:
    """Return the length of a body, which may be said more than once (RFC 9110, section 8.6)."""
    lengths = {_number(text.strip(), 10) for text in said.split(",")}
    if len(lengths) != 1:
        raise BrokenAnswer(_RUBBISH)
    return lengths.pop()


def _number(text: str, base: int) -> int:
    if not text or len(text) > _MOST_DIGITS or text.strip(_DIGITS[base]):
        raise BrokenAnswer(_RUBBISH)
    return int(text, base)
