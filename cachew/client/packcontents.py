"""Which objects a pack's index names (gitformat-pack(5), version 2 of ``.idx``); pure."""

import struct
from mmap import mmap

from cachew.client.clienterrors import ArchiveBroken

_MAGIC = b"\377tOc\0\0\0\2"
_FANOUT = struct.Struct(">256I")
_NAMES = len(_MAGIC) + _FANOUT.size


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
        low, high = self._fanout[name[0] - 1] if name[0] else 0, self._fanout[name[0]]
        while low < high:
            middle = (low + high) // 2
            at = _NAMES + middle * self._size
            found = self._content[at : at + self._size]
            if found == name:
                return True
            low, high = (middle + 1, high) if found < name else (low, middle)
        return False
