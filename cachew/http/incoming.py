"""The body of one request while it comes in, framing on the connection's side, a source on the handler's, and whole.

Framings (RFC 9112, sections 6.2 and 7.1) are pure: they are fed what the socket gives and say what of it is body and
what already belongs to the next request. Chunk extensions and trailers are bounded and dropped.
"""

import hashlib
import re
import weakref
from collections.abc import Callable, Iterator
from typing import Protocol

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.streams import BytesSource, PushSource, Source

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t !-~\x80-\xff]*)?")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t !-~\x80-\xff]*")
_LINE = 1024
_TRAILERS = 8 * 1024


class Framing(Protocol):
    """How the end of a body is known."""

    ended: bool

    @property
    def remaining(self) -> int | None:
        """Bytes that are still to come, None when that isn't known."""

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes off the wire.

        :return: the body's part of them, and what lies after the body's end.
        :raise BadRequest: when the framing is broken; nothing after it can be trusted.
        """


class LengthFraming:
    """A body of known length.

    :param length: in bytes.
    """

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.ended = not length

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes off the wire."""
        body, rest = data[: self.remaining], data[self.remaining :]
        self.remaining -= len(body)
        self.ended = not self.remaining
        return body, rest


class ChunkedFraming:
    """A body in chunks."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._chunk = 0
        self._trailers = 0
        self._step = self._size
        self.ended = False

    @property
    def remaining(self) -> int | None:
        """Unknown until the end."""
        return 0 if self.ended else None

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Take bytes off the wire.

        :raise BadRequest: when a chunk is malformed.
        """
        self._buffer += data
        pieces: list[bytes] = []
        while not self.ended and self._step(pieces):
            pass
        rest = b""
        if self.ended:
            rest = bytes(self._buffer)
            self._buffer.clear()
        return b"".join(pieces), rest

    def _line(self, limit: int) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, limit + 2)
        if end < 0:
            if len(self._buffer) > limit + 1:
                raise BadRequest("a line of the chunked body is too long")
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _size(self, pieces: list[bytes]) -> bool:
        line = self._line(_LINE)
        if line is None:
            return False
        if not (size := _CHUNK_SIZE.fullmatch(line)):
            raise BadRequest("a chunk size is malformed")
        self._chunk = int(size[1], 16)
        self._step = self._data if self._chunk else self._trailer
        return True

    def _data(self, pieces: list[bytes]) -> bool:
        if not self._buffer:
            return False
        piece = bytes(self._buffer[: self._chunk])
        del self._buffer[: len(piece)]
        pieces.append(piece)
        self._chunk -= len(piece)
        if not self._chunk:
            self._step = self._data_end
        return True

    def _data_end(self, pieces: list[bytes]) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise BadRequest("a chunk does not end where its size says")
        if len(self._buffer) < 2:
            return False
        del self._buffer[:2]
        self._step = self._size
        return True

    def _trailer(self, pieces: list[bytes]) -> bool:
        line = self._line(_TRAILERS - self._trailers)
        if line is None:
            return False
        self._trailers += len(line)
        if line and not _TRAILER.fullmatch(line):
            raise BadRequest("a trailer of the chunked body is malformed")
        self.ended = not line
        return True


def framing_for(length: int | None) -> Framing:
    """Choose the framing of a body.

    :param length: in bytes, None for a chunked one.
    """
    return ChunkedFraming() if length is None else LengthFraming(length)


class IncomingBody:
    """A :class:`~cachew.plumbing.streams.Source` that the connection fills.

    :param length: bytes announced; 0 for no body, None for a chunked one.
    :param expected: called before the first read when the client waits to be told to go on.
    :param pause: called when the handler is slower than the client.
    :param resume: called when it has caught up or given up.
    :param high_water: bytes held before ``pause`` is called.
    """

    def __init__(
        self,
        *,
        length: int | None,
        expected: Callable[[], object] | None,
        pause: Callable[[], object],
        resume: Callable[[], object],
        high_water: int,
    ) -> None:
        self._framing = framing_for(length)
        self._source = (
            None if self._framing.ended else PushSource(pause=pause, resume=resume, stop=resume, high_water=high_water)
        )
        """Where it comes from; None where there is none."""
        self._expected = expected
        self._broken = False
        self.received = 0
        self.dropped = 0

    @property
    def ended(self) -> bool:
        """Whether all of the body has come in."""
        return self._framing.ended

    @property
    def broken(self) -> bool:
        """Whether the rest of the body can no longer be made sense of."""
        return self._broken

    @property
    def remaining(self) -> int | None:
        """Bytes still to come; None when that isn't known."""
        return self._framing.remaining

    @property
    def awaited(self) -> bool:
        """Whether the client still waits to be told to send the body."""
        return self._expected is not None

    async def read(self, size: int) -> bytes:
        """Return the next 1..size bytes, ``b""`` at the end.

        :raise BadRequest: when the body is malformed.
        :raise BodyTimedOut: when it came too slowly.
        :raise ClientGone: when the client went away.
        """
        if self._source is None:
            return b""
        expected, self._expected = self._expected, None
        if expected is not None and not self._source.closed:
            expected()
        return await self._source.read(size)

    def close(self) -> None:
        """Give the body up; what still comes of it is dropped."""
        if self._source is not None:
            self._source.close()

    def take(self, data: bytes) -> bytes:
        """Take bytes off the wire.

        :return: what lies after the body's end.
        :raise BadRequest: when the body is malformed; its reader gets the same.
        """
        if self._source is None:
            return data
        self._expected = None
        self.received += len(data)
        body, rest = self._framing.take(data)
        if self._source.closed:
            self.dropped += len(data) - len(rest)
        self._source.data(body)
        if self._framing.ended:
            self._source.finish()
        return rest

    def fail(self, reason: Exception) -> None:
        """Break the body off; unless all of it has come, its reader gets ``reason``."""
        self._broken = self._broken or not self.ended
        if self._source is not None:
            self._source.fail(reason)


class Body(Protocol):
    """A whole request body.

    :ivar size: its bytes, decoded.
    """

    size: int

    @property
    def digest(self) -> str:
        """Its SHA-256 in hex."""

    def source(self) -> Source:
        """Return a stream over it, which outlives it."""

    def pieces(self) -> Iterator[bytes]:
        """Give it in pieces (blocking, from a disk's cache mostly)."""

    def close(self) -> None:
        """Let go of it now; it goes by itself with the last who refers to it."""


class HeldBody:
    """A body in memory.

    :param data: its bytes.
    :param digest: its SHA-256 in hex; None where that is to be found out when it is asked for.
    :param release: called when it goes, if anything is to be.
    """

    def __init__(self, data: bytes, *, digest: str | None = None, release: Callable[[], object] | None = None) -> None:
        self._data = data
        self._digest = digest
        self.size = len(data)
        self._finalizer = None if release is None else weakref.finalize(self, release)

    @property
    def digest(self) -> str:
        """Its SHA-256 in hex."""
        if self._digest is None:
            self._digest = hashlib.sha256(self._data).hexdigest()
        return self._digest

    def source(self) -> Source:
        """Return a stream over it."""
        return BytesSource(self._data)

    def pieces(self) -> Iterator[bytes]:
        """Give it in one piece."""
        return iter((self._data,))

    def close(self) -> None:
        """Forget it."""
        self._data = b""
        if self._finalizer is not None:
            self._finalizer()
