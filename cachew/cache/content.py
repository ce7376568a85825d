"""Content in memory, in pieces, and how much of it there is: counted for as long as anybody refers to it."""

import weakref
from collections import deque
from collections.abc import Sequence

from cachew.plumbing.regions import MemoryRegion
from cachew.plumbing.streams import PIECE


class Usage:
    """Counts the bytes that are there."""

    def __init__(self) -> None:
        self._present = 0
        self._gone: deque[int] = deque()

    @property
    def present(self) -> int:
        """Bytes that somebody refers to."""
        while self._gone:
            self._present -= self._gone.popleft()
        return self._present

    def add(self, size: int) -> None:
        """Count bytes more."""
        self._present += size

    def remove(self, size: int) -> None:
        """Count bytes less; may be called in any thread, while anything is under way here."""
        self._gone.append(size)


class Content:
    """The bytes of one object, which are counted for as long as anybody refers to them."""

    def __init__(self, usage: Usage) -> None:
        self.pieces: list[bytes] = []
        self.size = 0
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._usage = usage
        self._counted = [0]
        weakref.finalize(self, _uncount, usage, self._counted)

    def append(self, data: bytes) -> None:
        """Take the next bytes."""
        self._usage.add(len(data))
        self._counted[0] += len(data)
        self.size += len(data)
        self._tail.append(data)
        self._tail_size += len(data)
        if self._tail_size >= PIECE:
            self.settle()

    def settle(self) -> None:
        """Make one piece of what has come in small ones."""
        if self._tail:
            self.pieces.append(b"".join(self._tail))
        self._tail, self._tail_size = [], 0

    def drop(self) -> None:
        """Forget everything at once."""
        self._usage.remove(self._counted[0])
        self._counted[0] = 0
        self.pieces, self._tail = [], []


def _uncount(usage: Usage, counted: Sequence[int]) -> None:
    usage.remove(counted[0])


class ContentSource:
    """A stream over a part of an object's content."""

    def __init__(self, content: Content, offset: int, length: int) -> None:
        self._content: Content | None = content
        self._left = length
        self._number, self._offset = 0, offset
        while self._number < len(content.pieces) and self._offset >= len(content.pieces[self._number]):
            self._offset -= len(content.pieces[self._number])
            self._number += 1

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        return bytes(self._next(size))

    async def region(self, limit: int) -> MemoryRegion | None:
        """Return where the next bytes lie."""
        data = self._next(limit)
        return MemoryRegion(data) if data else None

    def _next(self, limit: int) -> memoryview:
        if self._content is None or not self._left:
            return memoryview(b"")
        piece = memoryview(self._content.pieces[self._number])
        data = piece[self._offset : self._offset + min(limit, self._left)]
        self._left -= len(data)
        self._offset += len(data)
        if self._offset == len(piece):
            self._number, self._offset = self._number + 1, 0
        return data

    def close(self) -> None:
        """Forget the rest."""
        self._content = None
