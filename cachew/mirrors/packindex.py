"""Pack indexes, version 2 (gitformat-pack(5)), searched without a process.

A large one is mapped, which costs a descriptor for as long as it stays so; a small one is read, which costs memory. All
mirrors of a server share what may be open at once: the least recently used are closed, and opened again when asked.
"""

import mmap
import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from cachew.plumbing.descriptors import EXHAUSTED

_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_FANOUT_END = 8 + 256 * 4
_SMALL = 256 * 1024
_LARGE = 1 << 31
"""Marks an offset that is no offset but the place of one of eight bytes."""

Content = mmap.mmap | bytes


class PackIndex:
    """One ``.idx`` file.

    :param path: the file.
    :param hash_size: 20 for SHA-1, 32 for SHA-256 repositories.
    :param opened: what is open of all indexes.
    :raise FileNotFoundError: when there is no such file.
    :raise ValueError: when it is no version 2 index.
    """

    def __init__(self, path: Path, hash_size: int, opened: "OpenIndexes") -> None:
        self.path = path
        self.hash_size = hash_size
        self._opened = opened
        opened.content_of(self)

    def __contains__(self, oid: bytes) -> bool:
        try:
            content = self._opened.content_of(self)
        except (FileNotFoundError, ValueError):
            # It went, or was damaged, while it was closed.
            return False
        return _position(content, oid, self.hash_size) is not None

    def offset(self, oid: bytes) -> int | None:
        """Return where in the pack an object is, None when it is not there."""
        try:
            content = self._opened.content_of(self)
        except (FileNotFoundError, ValueError):
            return None
        position = _position(content, oid, self.hash_size)
        return None if position is None else _offset(content, position, self.hash_size)

    def close(self) -> None:
        """Give back what it holds open."""
        self._opened.close(self)


class OpenIndexes:
    """What is open of the pack indexes of all mirrors.

    :param most_maps: how many may be mapped, each of which holds a descriptor.
    :param most_bytes: bytes that those that were read may take.
    :param small: bytes up to which an index is read.
    """

    def __init__(self, *, most_maps: int = 256, most_bytes: int = 64 * 1024 * 1024, small: int = _SMALL) -> None:
        self.most_maps = most_maps
        self._most_bytes = most_bytes
        self._small = small
        self._maps: OrderedDict[PackIndex, mmap.mmap] = OrderedDict()
        self._read: OrderedDict[PackIndex, bytes] = OrderedDict()
        self._bytes = 0

    @property
    def maps(self) -> int:
        """How many are mapped now."""
        return len(self._maps)

    @property
    def size(self) -> int:
        """The bytes that those take that were read."""
        return self._bytes

    def __iter__(self) -> Iterator[PackIndex]:
        """Go through those that are mapped, the least recently used first."""
        return iter(list(self._maps))

    def content_of(self, index: PackIndex) -> Content:
        """Return an index's content, which is good until the next call.

        :raise FileNotFoundError: when its file is gone.
        :raise ValueError: when it is no version 2 index.
        """
        if index in self._maps:
            self._maps.move_to_end(index)
            return self._maps[index]
        if index in self._read:
            self._read.move_to_end(index)
            return self._read[index]
        content = self._open(index)
        if isinstance(content, bytes):
            self._read[index] = content
            self._bytes += len(content)
        else:
            self._maps[index] = content
        self._trim(index)
        return content

    def _open(self, index: PackIndex) -> Content:
        # Others may have taken all descriptors. A map takes two for a moment, a reader one.
        small: int | None = self._small
        while True:
            try:
                return _open(index.path, index.hash_size, small)
            except OSError as error:
                if error.errno not in EXHAUSTED or small is None:
                    raise
            if self._maps:
                self.close(next(iter(self._maps)))
            else:
                small = None

    def _trim(self, newest: PackIndex) -> None:
        while len(self._maps) > self.most_maps:
            self.close(next(iter(self._maps)))
        while self._bytes > self._most_bytes and (oldest := next(iter(self._read))) is not newest:
            self.close(oldest)

    def close(self, index: PackIndex) -> None:
        """Close one, if it is open."""
        mapped = self._maps.pop(index, None)
        if mapped is not None:
            mapped.close()
        self._bytes -= len(self._read.pop(index, b""))


def _open(path: Path, hash_size: int, small: int | None) -> Content:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < _FANOUT_END:
            raise ValueError(f"{path.name} is too short for a pack index")
        read = small is None or size <= small
        content: Content = file.read(size) if read else mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
    if content[:8] == _MAGIC and len(content) >= _FANOUT_END + _count(content) * hash_size:
        return content
    if isinstance(content, mmap.mmap):
        content.close()
    raise ValueError(f"{path.name} is no version 2 pack index")


def _count(content: Content) -> int:
    count: int = struct.unpack_from(">I", content, _FANOUT_END - 4)[0]
    return count


def _offset(content: Content, position: int, size: int) -> int | None:
    """Return an entry of the table of offsets, or of that of large ones, to which the former then refers."""
    count = _count(content)
    offsets = _FANOUT_END + count * (size + 4)
    try:
        (offset,) = struct.unpack_from(">I", content, offsets + 4 * position)
        if offset & _LARGE:
            (offset,) = struct.unpack_from(">Q", content, offsets + 4 * count + 8 * (offset ^ _LARGE))
    except struct.error:
        return None
    return int(offset)


def _position(content: Content, oid: bytes, size: int) -> int | None:
    first = oid[0]
    low: int = struct.unpack_from(">I", content, 8 + 4 * (first - 1))[0] if first else 0
    high: int = struct.unpack_from(">I", content, 8 + 4 * first)[0]
    high = min(high, _count(content))
    while low < high:
        middle = (low + high) // 2
        start = _FANOUT_END + middle * size
        found = content[start : start + size]
        if found == oid:
            return middle
        if found < oid:
            low = middle + 1
        else:
            high = middle
    return None
