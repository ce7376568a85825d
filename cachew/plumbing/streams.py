"""Byte streams that are read, with back-pressure from end to end.

Everything that flows through the house (request bodies, upstream responses, output of processes, spools, cached
objects) is a :class:`Source`, so that anything can be sent to anyone by the same few lines.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, runtime_checkable

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import TooLarge
from cachew.plumbing.regions import AnyRegion, MemoryRegion, Region

PIECE = 256 * 1024
"""The size, in bytes, in which streams are read and written."""


class Source(Protocol):
    """A stream of bytes that is pulled by its one reader."""

    async def read(self, size: int) -> bytes:
        """Return the next 1..size bytes, or ``b""`` at the end.

        :raise Exception: whatever ended the stream early.
        """

    def close(self) -> None:
        """Give the stream up; may be called at any time and more than once."""


@runtime_checkable
class FiledSource(Source, Protocol):
    """A source whose bytes lie in a file, or in memory that stays, from where another thread can send them."""

    async def region(self, limit: int) -> AnyRegion | None:
        """Return where the next 1..limit bytes lie and go past them, or None at the end.

        The region is good until the source is closed.

        :raise Exception: whatever ended the stream early.
        """


class BytesSource:
    """A source over bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        return bytes(self._next(size))

    async def region(self, limit: int) -> MemoryRegion | None:
        """Return where the next bytes lie: all of them, up to the limit."""
        return MemoryRegion(self._next(limit)) if self._data else None

    @property
    def length(self) -> int:
        """How many bytes are left."""
        return len(self._data)

    def again(self) -> "BytesSource":
        """Return another source of the bytes that are left."""
        return BytesSource(bytes(self._data))

    def _next(self, count: int) -> memoryview:
        piece, self._data = self._data[:count], self._data[count:]
        return piece

    def close(self) -> None:
        """Forget the rest."""
        self._data = memoryview(b"")


class FileSource:
    """A source over a region of an open binary file, which it owns.

    The file's own position is never used, so several sources may share a descriptor's file through ``os.dup``.

    :param file: a real file, open for reading in binary mode.
    :param offset: where the region starts, in bytes.
    :param length: how many bytes it has; None means up to the present end of the file.
    """

    def __init__(self, file: BinaryIO, offset: int = 0, length: int | None = None) -> None:
        self.file = file
        self.offset = offset
        self.length = max(0, os.fstat(file.fileno()).st_size - offset) if length is None else length

    async def read(self, size: int) -> bytes:
        """Return the next bytes of the region.

        :raise EOFError: when the file has shrunk below the region.
        """
        if not self.length or self.file.closed:
            return b""
        data = os.pread(self.file.fileno(), min(size, self.length), self.offset)
        if not data:
            raise EOFError("the file is shorter than announced")
        self._advance(len(data))
        return data

    async def region(self, limit: int) -> Region | None:
        """Return where the next bytes lie: all of them, up to the limit."""
        if not self.length or self.file.closed:
            return None
        region = Region(self.file.fileno(), self.offset, min(limit, self.length))
        self._advance(region.length)
        return region

    def _advance(self, count: int) -> None:
        self.offset += count
        self.length -= count

    def close(self) -> None:
        """Close the file."""
        self.file.close()


class PushSource:
    """Turns pushed data into a source and asks the pusher to pause when the reader is slow.

    :param pause: called when more than ``high_water`` bytes wait.
    :param resume: called when the reader has caught up.
    :param stop: called once if the reader gives up before the end.
    :param high_water: bytes that may wait before ``pause`` is called.
    """

    def __init__(
        self,
        *,
        pause: Callable[[], object] = lambda: None,
        resume: Callable[[], object] = lambda: None,
        stop: Callable[[], object] = lambda: None,
        high_water: int = 2 * PIECE,
    ) -> None:
        self._pause = pause
        self._resume = resume
        self._stop = stop
        self._high_water = high_water
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._paused = self._ended = self._closed = False
        self._failure: Exception | None = None
        self._reader: Deferred[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether the reader has given up."""
        return self._closed

    def data(self, data: bytes) -> None:
        """Take data from the pusher."""
        if self._closed or not data:
            return
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > self._high_water and not self._paused:
            self._paused = True
            self._pause()
        self._wake()

    def take_all(self) -> bytes:
        """Return what waits, at once."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._drop_to(0)
        return data

    def finish(self) -> None:
        """The pusher is done."""
        self._ended = True
        self._wake()

    def fail(self, reason: Exception) -> None:
        """The pusher broke off; what has come is still read, then ``reason`` is raised."""
        if not self._ended:
            self._failure = reason
            self.finish()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    async def read(self, size: int) -> bytes:
        """Return the next bytes, waiting for the pusher if none have come."""
        while not self._pieces:
            if self._closed:
                return b""
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                return b""
            self._reader = Deferred()
            await self._reader
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        self._drop_to(self._waiting - len(piece))
        return piece

    def _drop_to(self, waiting: int) -> None:
        self._waiting = waiting
        if self._paused and waiting <= self._high_water // 2:
            self._paused = False
            self._resume()

    def close(self) -> None:
        """Give up: drop what waits and stop the pusher unless it is done."""
        if self._closed:
            return
        self._closed = True
        self._pieces.clear()
        self._waiting = 0
        if not self._ended:
            self._stop()
        self._wake()


class WatchedSource:
    """A source that tells what becomes of it.

    :param moved: is told of each piece.
    :param ended: is told when it is closed, which its owner does in the end whatever has come of it.
    """

    def __init__(self, source: Source, moved: Callable[[], object], ended: Callable[[], object] = lambda: None) -> None:
        self._source = source
        self._moved = moved
        self._ended = ended

    async def read(self, size: int) -> bytes:
        """Return the source's next bytes."""
        piece = await self._source.read(size)
        self._moved()
        return piece

    def close(self) -> None:
        """Close the source, and tell."""
        self._source.close()
        self._ended()


class Closeable(Protocol):
    """What whoever is handed it has to close."""

    def close(self) -> None:
        """Let go of it."""


@contextmanager
def owned(held: Closeable) -> Iterator[None]:
    """Own a source, or anything else that has to be closed, until it is handed on: a failure closes it.

    Whatever is done between its coming and its going to somebody else belongs into such a block, since anything may
    raise there, and every await does when the client leaves.
    """
    try:
        yield
    except BaseException:
        held.close()
        raise


async def read_all(source: Source, limit: int) -> bytes:
    """Read a source to its end and close it.

    :param limit: the most bytes that are accepted.
    :raise TooLarge: when there is more.
    """
    pieces, total = [], 0
    try:
        while piece := await source.read(PIECE):
            total += len(piece)
            if total > limit:
                raise TooLarge(limit)
            pieces.append(piece)
    finally:
        source.close()
    return b"".join(pieces)


async def read_start(source: Source, limit: int) -> bytes:
    """Read at most the first ``limit`` bytes of a source and close it."""
    start = b""
    try:
        while len(start) < limit and (piece := await source.read(limit - len(start))):
            start += piece
    finally:
        source.close()
    return start
