"""Which objects a pack's index names, and where they lie (gitformat-pack(5), version 2 of ``.idx``); pure."""

import struct
from collections.abc import Callable
from mmap import mmap

from cachew.client.clienterrors import ArchiveBroken

_MAGIC = b"\377tOc\0\0\0\2"
_FANOUT = struct.Struct(">256I")
_NAMES = len(_MAGIC) + _FANOUT.size
_WORD, _LONG = struct.Struct(">L"), struct.Struct(">Q")
_FAR = 0x80000000
_NOWHERE = 1 << 63
"""A place in a file that the system does not know."""
_BY_OFFSET, _BY_NAME = 6, 7
_HEADER = 64


class PackContents:
    """An index.

    :param content: of the file.
    :param size: the bytes of an object's name.
    :raise ArchiveBroken: when it is none.
    """

    def __init__(self, content: "bytes | mmap", *, size: int) -> None:
        if content[: len(_MAGIC)] != _MAGIC or len(content) < _NAMES:
            raise ArchiveBroken("a pack's index in the snapshot is none of version 2")
        self._content, self._size = content, size
        self._fanout = _FANOUT.unpack_from(content, len(_MAGIC))
        if list(self._fanout) != sorted(self._fanout) or len(content) < _NAMES + self._fanout[255] * (size + 8):
            raise ArchiveBroken("a pack's index in the snapshot is too short")

    def __contains__(self, name: bytes) -> bool:
        """Tell whether an object is in the pack.

        :param name: the object's name, not in hex.
        """
        return self._place(name) is not None

    def offset(self, name: bytes) -> int | None:
        """Return where an object lies in the pack, None when it is not in it.

        :raise ArchiveBroken: when the index tells of no place in any file.
        """
        place = self._place(name)
        if place is None:
            return None
        offsets = _NAMES + self._fanout[255] * (self._size + 4)
        (offset,) = _WORD.unpack_from(self._content, offsets + 4 * place)
        if offset & _FAR:
            far = offsets + 4 * self._fanout[255] + 8 * (offset & ~_FAR)
            if far + _LONG.size > len(self._content):
                raise ArchiveBroken("a pack's index in the snapshot is too short")
            (offset,) = _LONG.unpack_from(self._content, far)
            if offset >= _NOWHERE:
                raise ArchiveBroken("a pack's index in the snapshot is wrong")
        return int(offset)

    def depth(self, name: bytes, read: Callable[[int, int], bytes], *, most: int) -> int:
        """Return how many deltas have to be applied for an object's content.

        :param read: returns bytes of the pack, from a place on.
        :param most: what is returned at most.
        """
        offset, depth = self.offset(name), 0
        while offset is not None and depth < most:
            header = read(offset, _HEADER)
            kind = header[0] >> 4 & 7
            start = next(number for number, byte in enumerate(header, 1) if byte < 0x80)
            if kind == _BY_OFFSET:
                offset -= _distance(header, start)
            elif kind == _BY_NAME:
                offset = self.offset(header[start : start + self._size])
            else:
                break
            depth += 1
        return depth

    def _place(self, name: bytes) -> int | None:
        low, high = self._fanout[name[0] - 1] if name[0] else 0, self._fanout[name[0]]
        while low < high:
            middle = (low + high) // 2
            at = _NAMES + middle * self._size
            found = self._content[at : at + self._size]
            if found == name:
                return int(middle)
            low, high = (middle + 1, high) if found < name else (low, middle)
        return None


def _distance(header: bytes, position: int) -> int:
    """Return how far before an object its base lies."""
    distance = header[position] & 0x7F
    while header[position] & 0x80:
        position += 1
        distance = (distance + 1) << 7 | header[position] & 0x7F
    return distance
