"""Reads and writes the 512-byte headers of tar (pure).

The client never hands a header of an archive on: it reads the header, judges the entry, and writes a header of its
own. So the scanner and the program that extracts cannot disagree about what an entry is. The form written is GNU's
(long names as ``././@LongLink`` entries), which GNU tar, bsdtar and Python all read. See tar(5) and POSIX pax.
"""

import struct
import zlib
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from cachew.client.clienterrors import ArchiveBroken

BLOCK = 512
_LAYOUT = struct.Struct("100s8s8s8s12s12s8s1s100s6s2s32s32s8s8s155s12s")
_NOBODY = b"0000000\0"
_REST = b"ustar  \0".ljust(255, b"\0")
_OCTAL_LIMIT = 8**11
_LONG_NAME = b"././@LongLink"


class EntryKind(Enum):
    """The kinds of entry that may be extracted, with their type flags."""

    FILE = b"0"
    HARDLINK = b"1"
    SYMLINK = b"2"
    DIRECTORY = b"5"


class TarEntry(NamedTuple):
    """One entry of an archive.

    :param path: relative, its parts joined by single slashes, empty for the root.
    :param mode: permission bits.
    :param size: bytes of content, 0 unless a file.
    :param mtime: seconds since the epoch.
    :param target: of a link: for symbolic links as it stands, for hard links a path like ``path``.
    """

    path: bytes
    kind: EntryKind
    mode: int
    size: int
    mtime: int
    target: bytes = b""


class RawHeader(NamedTuple):
    """The fields of a header block, as they stand in it."""

    name: bytes
    mode: int
    size: int
    mtime: int
    flag: bytes
    target: bytes


def parse(block: bytes) -> RawHeader:
    """Read a header block.

    :raise ArchiveBroken: when its checksum or a number is wrong.
    """
    name, mode, _, _, size, mtime, checksum, flag, target, magic, _, _, _, _, _, prefix, _ = _LAYOUT.unpack(block)
    if _sum(block[:256]) + _sum(block[256:]) - sum(checksum) + 8 * 0x20 != _number(checksum):
        raise ArchiveBroken("the archive is damaged: a tar header has a wrong checksum")
    name = _text(name)
    if magic == b"ustar\0" and (head := _text(prefix)):
        name = head + b"/" + name
    return RawHeader(name, _number(mode), _number(size), _number(mtime), flag, _text(target))


def build(entry: TarEntry) -> bytes:
    """Write the header blocks of an entry."""
    name = b"./" + entry.path + (b"/" if entry.kind is EntryKind.DIRECTORY else b"")
    target = b"./" + entry.target if entry.kind is EntryKind.HARDLINK else entry.target
    blocks = b""
    if len(name) > 100:
        blocks += _long(b"L", name)
    if len(target) > 100:
        blocks += _long(b"K", target)
    return blocks + _block(name[:100], entry.mode, entry.size, entry.mtime, entry.kind.value, target[:100])


def padding(size: int) -> int:
    """Return the bytes that fill content up to a whole block."""
    return -size % BLOCK


def _long(flag: bytes, text: bytes) -> bytes:
    body = text + b"\0"
    return _block(_LONG_NAME, 0, len(body), 0, flag, b"") + body + bytes(padding(len(body)))


def _block(name: bytes, mode: int, size: int, mtime: int, flag: bytes, target: bytes) -> bytes:
    length = b"%011o\0" % size if size < _OCTAL_LIMIT else b"\x80" + size.to_bytes(11, "big")
    time = b"%011o\0" % min(max(mtime, 0), _OCTAL_LIMIT - 1)
    head = name.ljust(100, b"\0") + b"%07o\0" % mode + _NOBODY * 2 + length + time
    rest, rest_sum = _rest(flag, target)
    return head + b"%06o\0 " % (_sum(head) + 8 * 0x20 + rest_sum) + rest


@lru_cache(maxsize=64)
def _rest(flag: bytes, target: bytes) -> tuple[bytes, int]:
    """Return what comes after the checksum, and its sum; nearly all entries have the same."""
    rest = flag + target.ljust(100, b"\0") + _REST
    return rest, _sum(rest[:256]) + _sum(rest[256:])


def _sum(data: bytes) -> int:
    # The low half of Adler-32 is one more than the sum of the bytes, modulo 65521, which 256 bytes do not reach.
    assert len(data) <= 256
    return (zlib.adler32(data) & 0xFFFF) - 1


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        # Base 256, two's complement (GNU): 0x80 marks a positive number, 0xff a negative one.
        return int.from_bytes(bytes([field[0] & 0x7F | (field[0] & 0x40) << 1]) + field[1:], "big", signed=True)
    digits = field.strip(b" \0")
    if not digits:
        return 0
    try:
        if digits.isdigit():
            return int(digits, 8)
    except ValueError:
        pass
    raise ArchiveBroken("the archive is damaged: a tar header holds no number where one must be")
