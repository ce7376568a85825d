"""Where bytes lie that are sent from there: a part of a file, which the kernel sends, or of memory."""

import os
import socket
from dataclasses import dataclass, replace


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
