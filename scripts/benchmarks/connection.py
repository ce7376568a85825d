"""One client of the load: a connection that sends its requests one after the other and forgets what it receives."""

import re
import selectors
import socket
import time
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

from scripts.benchmarks.exchange import Head, complete, dechunked, parse_head

_TAIL = 64
_CHUNK = re.compile(rb"\r\n[0-9a-f]{1,8}\r\n")
"""What stands between two chunks."""
_BUFFER = bytearray(1024 * 1024)


class Broken(Exception):
    """The server's answer is not what it should be."""


@dataclass(frozen=True)
class Visit:
    """Requests for one connection, the last of which says ``Connection: close``.

    :param requests: as they go out.
    :param least: the fewest bytes of body that the last answer may have.
    :param end: what the last answer's body must end with.
    :param statuses: the statuses that the answers may have.
    :param skip: so many bytes of the last answer's body aren't even copied out of the kernel.
    """

    host: str
    port: int
    requests: tuple[bytes, ...]
    least: int = 0
    end: bytes = b""
    statuses: tuple[int, ...] = (200,)
    skip: int = 0


class Connection:
    """Carries a visit out, one event at a time.

    :param keep: a file for the last answer's body, as it came.
    :ivar received: bytes of the last answer's body so far.
    :ivar begin: when the connection was begun.
    :ivar first_byte: when the last answer began.
    :ivar finished: when the visit had succeeded; 0 before.
    """

    def __init__(self, visit: Visit, *, keep: Path | None = None) -> None:
        self._visit = visit
        self._left = list(visit.requests)
        self._unsent = memoryview(self._left.pop(0))
        self._head: Head | None = None
        self._answer = b""
        self._tail = b""
        self._keep: BufferedWriter | None = None if keep is None else keep.open("wb")
        self.received = 0
        self.first_byte = 0.0
        self.finished = 0.0
        self.begin = time.perf_counter()
        self.socket = socket.socket()
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.socket.connect_ex((visit.host, visit.port))

    @property
    def chunked(self) -> bool:
        """Whether the last answer comes in chunks."""
        return self._head is not None and self._head.chunked

    def turn(self, size: int) -> int:
        """Send or receive as much as can be done at once.

        :param size: the most bytes to receive.
        :return: the event to wait for next, 0 at the end.
        :raise Broken: when an answer is wrong.
        """
        if self._unsent:
            self._unsent = self._unsent[self.socket.send(self._unsent) :]
            return selectors.EVENT_WRITE if self._unsent else selectors.EVENT_READ
        if self._head is not None and self.received < self._visit.skip:
            return self._drop(min(size, self._visit.skip - self.received))
        count = self.socket.recv_into(_BUFFER, size)
        if self._head is not None:
            return self._body(memoryview(_BUFFER)[:count])
        if not count:
            raise Broken("the server hung up before its answer")
        if not self._left and not self.first_byte:
            self.first_byte = time.perf_counter()
        self._answer += bytes(_BUFFER[:count])
        return self._small() if self._left else self._begin_last()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()
        if self._keep is not None:
            self._keep.close()

    def _small(self) -> int:
        """Wait for the whole of an answer that isn't the last."""
        text, blank, body = self._answer.partition(b"\r\n\r\n")
        if not blank:
            return selectors.EVENT_READ
        head = self._checked(text)
        if head.chunked:
            whole = dechunked(body)
            if whole is None:
                return selectors.EVENT_READ
        elif head.length is None:
            raise Broken("an answer without length on a kept-alive connection")
        elif len(body) < head.length:
            return selectors.EVENT_READ
        self._answer = b""
        self._unsent = memoryview(self._left.pop(0))
        return selectors.EVENT_WRITE

    def _begin_last(self) -> int:
        text, blank, body = self._answer.partition(b"\r\n\r\n")
        if not blank:
            return selectors.EVENT_READ
        self._head = self._checked(text)
        return self._body(memoryview(body)) if body else selectors.EVENT_READ

    def _checked(self, text: bytes) -> Head:
        head = parse_head(text)
        if head.status not in self._visit.statuses:
            raise Broken(f"status {head.status}")
        return head

    def _body(self, piece: memoryview) -> int:
        if not piece:
            return self._end()
        self.received += len(piece)
        self._tail = (self._tail + bytes(piece[-_TAIL:]))[-_TAIL:]
        if self._keep is not None:
            self._keep.write(piece)
        return selectors.EVENT_READ

    def _drop(self, size: int) -> int:
        # With MSG_TRUNC Linux forgets the bytes of a stream without copying them (tcp(7)).
        count = self.socket.recv_into(_BUFFER, size, socket.MSG_TRUNC)
        self.received += count
        return selectors.EVENT_READ if count else self._end()

    def _end(self) -> int:
        assert self._head is not None
        if not complete(self._head, self.received, self._tail):
            raise Broken(f"the answer broke off after {self.received} bytes")
        if self.received < self._visit.least:
            raise Broken(f"only {self.received} bytes instead of {self._visit.least}")
        ending = _CHUNK.sub(b"", self._tail.removesuffix(b"\r\n0\r\n\r\n")) if self._head.chunked else self._tail
        if not ending.endswith(self._visit.end):
            raise Broken(f"the answer ends with {ending[-16:]!r}")
        self.finished = time.perf_counter()
        return 0
