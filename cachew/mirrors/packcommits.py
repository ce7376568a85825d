"""The parents of commits, read out of packs (gitformat-pack(5)) without a process.

This answers what nearly every push asks: is the old tip among the last commits before the new one? What is stored as a
delta, or is no commit, is left to git.
"""

import hashlib
import os
import re
import zlib
from pathlib import Path

_READ = 4096
_LONGEST = 64 * 1024
"""Bytes of a commit above which it isn't read."""
_COMMIT = 1
_PARENT = re.compile(rb"parent ([0-9a-f]+)\n")
_PARENTS = re.compile(rb"tree [0-9a-f]+\n((?:parent [0-9a-f]+\n)*)")


def parents_at(pack: Path, offset: int, oid: str) -> tuple[str, ...] | None:
    """Return the parents of the commit that is stored somewhere in a pack.

    :param oid: which commit that should be, in hex.
    :return: None when it can't be told.
    """
    try:
        content = _commit_at(pack, offset)
    except (OSError, zlib.error, IndexError):
        return None
    if content is None or _oid_of(content, len(oid)) != oid:
        return None
    found = _PARENTS.match(content)
    return None if found is None else tuple(parent.decode() for parent in _PARENT.findall(found[1]))


def _commit_at(pack: Path, offset: int) -> bytes | None:
    file = os.open(pack, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(file, _READ, offset)
        kind, size, start = _header(data)
        if kind != _COMMIT or size > _LONGEST:
            return None
        inflater = zlib.decompressobj()
        content = inflater.decompress(data[start:], size + 1)
        while not inflater.eof and len(content) < size:
            offset += len(data)
            data = os.pread(file, _READ, offset)
            if not data:
                return None
            content += inflater.decompress(inflater.unconsumed_tail + data, size + 1 - len(content))
        return content if len(content) == size else None
    finally:
        os.close(file)


def _header(data: bytes) -> tuple[int, int, int]:
    """Read an entry's header.

    :return: the kind, the bytes of its content, and where that begins.
    """
    byte = data[0]
    kind, size, shift, position = byte >> 4 & 7, byte & 15, 4, 1
    while byte & 0x80:
        byte = data[position]
        size |= (byte & 0x7F) << shift
        shift, position = shift + 7, position + 1
    return kind, size, position


def _oid_of(content: bytes, digits: int) -> str:
    digest = hashlib.sha256 if digits == 64 else hashlib.sha1
    return digest(b"commit %d\0" % len(content) + content).hexdigest()
