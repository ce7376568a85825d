"""Reads a git index, and renews what it says about files on disk (pure); see gitformat-index(5).

The server has written the index for its own disk. Times, inode, device and owner of every entry are rewritten for
this one where the file has the recorded size and type, so that the first ``git status`` rehashes nothing; the rest is
left for git to look at.
"""

import hashlib
import os
import stat
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

_HEADER = struct.Struct(">4sLL")
_STAT = struct.Struct(">10L")
_WORD = struct.Struct(">L")
_FLAGS = struct.Struct(">H")
_MASK = 0xFFFFFFFF
_EXTENDED = 0x4000
_NAME_MASK = 0x0FFF


class IndexedFile(NamedTuple):
    """A regular file that an index tells of.

    :param path: within the working tree.
    :param oid: its content's name, not in hex.
    :param size: the bytes that it had on disk.
    """

    path: bytes
    oid: bytes
    size: int


def regular_files(index: bytes, *, oid_size: int) -> Iterator[IndexedFile]:
    """Yield the regular files of an index, in its order.

    :param oid_size: bytes of an object name, 20 or 32.
    :raise ValueError: when it is not an index of version 2, 3 or 4.
    """
    try:
        for start, path in _entries(index, oid_size):
            (mode,), (size,) = _WORD.unpack_from(index, start + 24), _WORD.unpack_from(index, start + 36)
            if stat.S_ISREG(mode):
                yield IndexedFile(path, bytes(index[start + 40 : start + 40 + oid_size]), size)
    except (struct.error, IndexError) as error:
        raise ValueError("the index is cut off") from error


def refreshed(index: bytes, *, lstat: Callable[[bytes], os.stat_result | None], oid_size: int) -> bytes:
    """Return an index with renewed file data and a new checksum.

    :param lstat: gives what is on disk for a path, None when there is nothing.
    :param oid_size: bytes of an object name, 20 or 32.
    :raise ValueError: when it is not an index of version 2, 3 or 4.
    """
    content = bytearray(index[:-oid_size])
    try:
        _renew(content, lstat, oid_size)
    except (struct.error, IndexError) as error:
        raise ValueError("the index is cut off") from error
    digest = hashlib.sha1(content) if oid_size == 20 else hashlib.sha256(content)
    return bytes(content) + digest.digest()


def _renew(content: bytearray, lstat: Callable[[bytes], os.stat_result | None], oid_size: int) -> None:
    for start, path in _entries(content, oid_size):
        found = lstat(path)
        if found is not None:
            _renew_entry(content, start, found)


def _entries(content: bytes | bytearray, oid_size: int) -> Iterator[tuple[int, bytes]]:
    """Yield where each entry begins, and its path."""
    signature, version, count = _HEADER.unpack_from(content)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("not an index of a known version")
    position, path = _HEADER.size, b""
    for _ in range(count):
        start = position
        (flags,) = _FLAGS.unpack_from(content, start + 40 + oid_size)
        position = start + 42 + oid_size + (2 if flags & _EXTENDED else 0)
        if version == 4:
            path, position = _compressed_name(content, position, path)
        else:
            path, position = _name(content, start, position, flags & _NAME_MASK)
        yield start, path


def _name(content: bytes | bytearray, start: int, position: int, length: int) -> tuple[bytes, int]:
    end = position + length if length < _NAME_MASK else content.index(b"\0", position)
    # An entry is padded with one to eight NULs to a multiple of eight bytes.
    return bytes(content[position:end]), start + (end - start + 8) // 8 * 8


def _compressed_name(content: bytes | bytearray, position: int, previous: bytes) -> tuple[bytes, int]:
    byte = content[position]
    position += 1
    dropped = byte & 0x7F
    while byte & 0x80:
        byte = content[position]
        position += 1
        dropped = (dropped + 1) << 7 | byte & 0x7F
    end = content.index(b"\0", position)
    return previous[: len(previous) - dropped] + bytes(content[position:end]), end + 1


def _renew_entry(content: bytearray, start: int, found: os.stat_result) -> None:
    (mode,), (size,) = _WORD.unpack_from(content, start + 24), _WORD.unpack_from(content, start + 36)
    if found.st_size & _MASK != size or not _same_type(mode, found.st_mode):
        return
    changed, changed_ns = divmod(found.st_ctime_ns, 1_000_000_000)
    modified, modified_ns = divmod(found.st_mtime_ns, 1_000_000_000)
    _STAT.pack_into(
        content,
        start,
        changed & _MASK,
        changed_ns,
        modified & _MASK,
        modified_ns,
        found.st_dev & _MASK,
        found.st_ino & _MASK,
        mode,
        found.st_uid & _MASK,
        found.st_gid & _MASK,
        size,
    )


def _same_type(mode: int, found: int) -> bool:
    if stat.S_ISREG(mode):
        return stat.S_ISREG(found) and bool(mode & 0o100) == bool(found & 0o100)
    return stat.S_ISLNK(mode) and stat.S_ISLNK(found)
