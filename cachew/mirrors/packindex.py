"""Pack indexes, version 2 (gitformat-pack(5)), searched without a process.

A large one stays open, which costs a descriptor; a small one is read, which costs memory. None is mapped: a file that
somebody cuts short under a map ends the process (mmap(2), SIGBUS). All mirrors of a server share what may be open at
once: the least recently used are closed, and opened again when asked.
"""

import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from cachew.plumbing.descriptors import EXHAUSTED

_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_FANOUT_END = 8 + 256 * 4
_SMALL = 256 * 1024
_LARGE = 1 << 31
"""Marks an offset that is no offset but the place of one of eight bytes."""


class LargeIndex:
    """The content of an open file, of which parts are read when they are wanted.

    :param file: the file; it is closed with this.
    :param size: its bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        """Return some bytes; fewer where the file has been cut short or can't be read."""
        start, stop, _ = part.indices(self._size)
        try:
            return os.pread(self._file.fileno(), max(stop - start, 0), start)
        except OSError:
            return b""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


Content = LargeIndex | bytes


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
    """What is open of the pack indexes of all mirrors; for the reactor's thread alone.

    :param most_files: how many may stay open, each of which holds a descriptor.
    :param most_bytes: bytes that those that were read may take.
    :param small: bytes up to which an index is read.
    """

    def __init__(self, *, most_files: int = 256, most_bytes: int = 64 * 1024 * 1024, small: int = _SMALL) -> None:
        self.most_files = most_files
        self._most_bytes = most_bytes
        self._small = small
        self._files: OrderedDict[PackIndex, LargeIndex] = OrderedDict()
        self._read: OrderedDict[PackIndex, bytes] = OrderedDict()
        self._bytes = 0

    @property
    def files(self) -> int:
        """How many stay open now."""
        return len(self._files)

    @property
    def size(self) -> int:
        """The bytes that those take that were read."""
        return self._bytes

    def __iter__(self) -> Iterator[PackIndex]:
        """Go through those that stay open, the least recently used first."""
        return iter(list(self._files))

    def content_of(self, index: PackIndex) -> Content:
        """Return an index's content, which is good until the next call.

        :raise FileNotFoundError: when its file is gone.
        :raise ValueError: when it is no version 2 index.
        """
        if index in self._files:
            self._files.move_to_end(index)
            return self._files[index]
        if index in self._read:
            self._read.move_to_end(index)
            return self._read[index]
        content = self._open(index)
        if isinstance(content, bytes):
            self._read[index] = content
            self._bytes += len(content)
        else:
            self._files[index] = content
        self._trim(index)
        return content

    def _open(self, index: PackIndex) -> Content:
        # Others may have taken all descriptors. One that is read gives its own back.
        small: int | None = self._small
        while True:
            try:
                return _open(index.path, index.hash_size, small)
            except OSError as error:
                if error.errno not in EXHAUSTED or small is None:
                    raise
            if self._files:
                self.close(next(iter(self._files)))
            else:
                small = None

    def _trim(self, newest: PackIndex) -> None:
        while len(self._files) > self.most_files:
            self.close(next(iter(self._files)))
        while self._bytes > self._most_bytes and (oldest := next(iter(self._read))) is not newest:
            self.close(oldest)

    def close(self, index: PackIndex) -> None:
        """Close one, if it is open."""
        open_file = self._files.pop(index, None)
        if open_file is not None:
            open_file.close()
        self._bytes -= len(self._read.pop(index, b""))


def _open(path: Path, hash_size: int, small: int | None) -> Content:
    file = path.open("rb")
    content: Content = b""
    try:
        size = os.fstat(file.fileno()).st_size
        if size < _FANOUT_END:
            raise ValueError(f"{path.name} is too short for a pack index")
        content = file.read(size) if small is None or size <= small else LargeIndex(file, size)
        if content[:8] != _MAGIC or len(content) < _FANOUT_END + _count(content) * hash_size:
            content = b""
            raise ValueError(f"{path.name} is no version 2 pack index")
        return content
    except struct.error as error:
        content = b""
        raise ValueError(f"{path.name} can't be read") from error
    finally:
        if not isinstance(content, LargeIndex):
            file.close()


def _count(content: Content) -> int:
    return _number(content, _FANOUT_END - 4)


def _number(content: Content, offset: int) -> int:
    """Return four bytes as a number.

    :raise struct.error: when they aren't there.
    """
    number: int = struct.unpack(">I", content[offset : offset + 4])[0]
    return number


def _offset(content: Content, position: int, size: int) -> int | None:
    """Return an entry of the table of offsets, or of that of large ones, to which the former then refers."""
    try:
        count = _count(content)
        offsets = _FANOUT_END + count * (size + 4)
        offset = _number(content, offsets + 4 * position)
        if offset & _LARGE:
            place = offsets + 4 * count + 8 * (offset ^ _LARGE)
            (offset,) = struct.unpack(">Q", content[place : place + 8])
    except struct.error:
        return None
    return int(offset)


def _position(content: Content, oid: bytes, size: int) -> int | None:
    first = oid[0]
    try:
        low = _number(content, 8 + 4 * (first - 1)) if first else 0
        high = min(_number(content, 8 + 4 * first), _count(content))
    except struct.error:
        return None
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
