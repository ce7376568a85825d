"""Byte streams that are read, with back-pressure from end to end.

Everything that flows through the house (request bodies, upstream responses, output of processes, spools, cached
objects) is a :class:`Source`, so that anything can be sent to anyone by the same few lines.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO, Protocol, runtime_checkable

from cachew.plumbing.errors import TooLarge

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


@dataclass(frozen=True, slots=True)
class Region:
    """A part of an open file.

    :param descriptor: the file's.
    :param offset: where it starts, in bytes.
    :param length: how many bytes it has, at least 1.
    """

    descriptor: int
    offset: int
    length: int

    def read(self) -> bytes:
        """Return its bytes; meant for short ones.

        :raise EOFError: when the file is shorter.
        """
        data = os.pread(self.descriptor, self.length, self.offset)
        if len(data) < self.length:
            raise EOFError("a file is shorter than announced")
        return data

    def held(self) -> "Region":
        """Return the same region through a descriptor of its own, to be closed with :meth:`close`."""
        return replace(self, descriptor=os.dup(self.descriptor))

    def send(self, connection: socket.socket, start: int, limit: int) -> int:
        """Send up to ``limit`` bytes that begin at ``start`` and return how many were taken, 0 at the file's end."""
        return os.sendfile(connection.fileno(), self.descriptor, self.offset + start, min(limit, self.length - start))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class MemoryRegion:
    """A part of memory that nobody writes to any more; good for what a :class:`Region` is good for.

    :param data: the bytes, at least 1.
    """

    data: memoryview

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return len(self.data)

    def read(self) -> bytes:
        """Return its bytes; meant for short ones."""
        return bytes(self.data)

    def held(self) -> "MemoryRegion":
        """Return the same; memory goes when nobody needs it."""
        return self

    def send(self, connection: socket.socket, start: int, limit: int) -> int:
        """Send up to ``limit`` bytes that begin at ``start`` and return how many were taken."""
        return connection.send(self.data[start : start + limit])

    def close(self) -> None:
        """Nothing is to be closed."""


AnyRegion = Region | MemoryRegion


@runtime_checkable
class FiledSource(Source, Protocol):
    """A source whose bytes lie in a file, or in memory that stays, from where another thread can send them."""

    async def region(self, limit: int) -> AnyRegion | None:
        """Return where the next 1..limit bytes lie and go past them, or None at the end.

        The region is good until the source is closed.

        :raise Exception: whatever ended the stream early.
        """


@runtime_checkable
class PipedSource(Source, Protocol):
    """A source whose bytes come out of a pipe, where somebody else can take them."""

    def divert(self, into: Callable[[int], int]) -> bytes:
        """From now on, have what comes taken out of the pipe; reading then gives the end and nothing before it.

        :param into: is given the descriptor of the pipe's reading end and returns how many bytes it took, 0 at the
            pipe's end, or raises :class:`BlockingIOError` when nothing waits; it is asked until it does, with short
            pauses when much comes. What else it raises ends the source.
        :return: what has come before.
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


class WatchedSource:
    """A source that tells what becomes of it.

    :param moved: is told of each piece.
    :param ended: is told when it is closed, which its owner does in the end whatever has come of it.
    """

    def __init__(self, source: Source, moved: Callable[[], object], ended: Callable[[], object]) -> None:
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


class BegunSource:
    """A source of which the beginning has been read.

    :param start: that beginning.
    :param rest: what follows; closed with this.
    """

    def __init__(self, start: bytes, rest: Source) -> None:
        self._start = start
        self._rest = rest

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        if not self._start:
            return await self._rest.read(size)
        piece, self._start = self._start[:size], self._start[size:]
        return piece

    def close(self) -> None:
        """Close what follows."""
        self._start = b""
        self._rest.close()


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
