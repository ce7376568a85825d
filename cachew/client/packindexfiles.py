"""The indexes of one pack: its own, and a multi-pack-index that knows no other pack (pure); see gitformat-pack(5).

Git looks into a multi-pack-index first. So what lies in that pack is taken from there, wherever else it lies too.
"""

import hashlib
import struct
from collections.abc import Sequence
from itertools import accumulate

_IDX = b"\377tOc\0\0\0\2"
_FANOUT = struct.Struct(">256I")
_CHUNK = struct.Struct(">4sQ")
_SHA1, _SHA256 = 1, 2

PackedObject = tuple[bytes, int, int]
"""An object's name, not in hex, the CRC-32 of what is in the pack for it, and where that begins."""


def digest_of(oid_size: int, content: bytes = b"") -> "hashlib._Hash":
    """Return git's digest for object names of some bytes."""
    return hashlib.sha1(content) if oid_size == 20 else hashlib.sha256(content)


def pack_index(objects: Sequence[PackedObject], *, checksum: bytes) -> bytes:
    """Return the ``.idx`` of a pack of less than 2 GiB.

    :param objects: what is in it, sorted.
    :param checksum: the pack's own.
    """
    content = b"".join(
        (
            _IDX,
            _fanout(objects),
            b"".join(name for name, _, _ in objects),
            _words([crc for _, crc, _ in objects]),
            _words([offset for _, _, offset in objects]),
            checksum,
        )
    )
    return content + digest_of(len(checksum), content).digest()


def multi_pack_index(objects: Sequence[PackedObject], *, index: bytes, oid_size: int) -> bytes:
    """Return a multi-pack-index of one pack.

    :param objects: what is in the pack, sorted.
    :param index: the name of the pack's own index.
    """
    chunks = (
        (b"PNAM", index + b"\0" * (4 - len(index) % 4)),
        (b"OIDF", _fanout(objects)),
        (b"OIDL", b"".join(name for name, _, _ in objects)),
        (b"OOFF", _words([word for _, _, offset in objects for word in (0, offset)])),
    )
    start = 12 + _CHUNK.size * (len(chunks) + 1)
    ends = list(accumulate((len(chunk) for _, chunk in chunks), initial=start))
    table = b"".join(_CHUNK.pack(name, at) for (name, _), at in zip(chunks, ends))  # noqa: B905 (Python 3.9)
    header = struct.pack(">4sBBBBL", b"MIDX", 1, _SHA1 if oid_size == 20 else _SHA256, len(chunks), 0, 1)
    content = b"".join((header, table, _CHUNK.pack(bytes(4), ends[-1]), *(chunk for _, chunk in chunks)))
    return content + digest_of(oid_size, content).digest()


def _fanout(objects: Sequence[PackedObject]) -> bytes:
    counts = [0] * 256
    for name, _, _ in objects:
        counts[name[0]] += 1
    return _FANOUT.pack(*accumulate(counts))


def _words(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}L", *numbers)
