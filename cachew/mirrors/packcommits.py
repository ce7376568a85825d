"""The parents of commits, read out of packs (gitformat-pack(5)) without a process.

This answers what nearly every push asks: is the old tip among the last commits before the new one? What is very long,
or is no commit, is left to git.
"""

import hashlib
import os
import re
import zlib
from collections.abc import Callable
from pathlib import Path

_READ = 4096
_LONGEST = 64 * 1024
"""Bytes of a commit above which it isn't read."""
_COMMIT, _BEFORE, _NAMED = 1, 6, 7
"""Kinds of entries: a commit, and what is a delta of an entry before it, or of one that it names."""
_DEEPEST = 50
"""Deltas of deltas that are followed; git itself makes no more by default (pack.depth)."""
_PARENT = re.compile(rb"parent ([0-9a-f]+)\n")
_PARENTS = re.compile(rb"tree [0-9a-f]+\n((?:parent [0-9a-f]+\n)*)")

Find = Callable[[bytes], int | None]
"""Says where in the same pack an object is."""


def parents_at(pack: Path, offset: int, oid: str, find: Find = lambda oid: None) -> tuple[str, ...] | None:
    """Return the parents of the commit that is stored somewhere in a pack.

    :param oid: which commit that should be, in hex.
    :param find: finds what it is a delta of.
    :return: None when it can't be told.
    """
    try:
        content = _commit_at(pack, offset, len(oid) // 2, find)
    except (OSError, zlib.error, IndexError):
        return None
    if content is None or _oid_of(content, len(oid)) != oid:
        return None
    found = _PARENTS.match(content)
    return None if found is None else tuple(parent.decode() for parent in _PARENT.findall(found[1]))


def _commit_at(pack: Path, offset: int, hash_size: int, find: Find) -> bytes | None:
    """Return a commit; its hash is for the caller to compare."""
    file, deltas = os.open(pack, os.O_RDONLY | os.O_CLOEXEC), list[bytes]()
    try:
        while len(deltas) <= _DEEPEST:
            data = os.pread(file, _READ, offset)
            kind, size, start = _header(data)
            place: int | None = offset
            if kind == _BEFORE:
                distance, start = _distance(data, start)
                place = offset - distance
            elif kind == _NAMED:
                place, start = find(data[start : start + hash_size]), start + hash_size
            elif kind != _COMMIT:
                return None
            content = _inflated(file, offset, data, start, size)
            if content is None or place is None or place < 0:
                return None
            if kind == _COMMIT:
                return _patched(content, deltas)
            deltas.append(content)
            offset = place
        return None
    finally:
        os.close(file)


def _inflated(file: int, offset: int, data: bytes, start: int, size: int) -> bytes | None:
    """Return the content of an entry.

    :param data: the beginning of the entry.
    :param start: where its content begins there.
    """
    if size > _LONGEST:
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


def _distance(data: bytes, position: int) -> tuple[int, int]:
    """Read how far before an entry that is what it is a delta of; return that, and where it ends."""
    byte = data[position]
    distance = byte & 0x7F
    while byte & 0x80:
        position += 1
        byte = data[position]
        distance = (distance + 1) << 7 | byte & 0x7F
    return distance, position + 1


def _patched(content: bytes, deltas: list[bytes]) -> bytes:
    """Apply deltas, the last one first.

    :raise IndexError: when one of them is none of such a content, or makes a very long one.
    """
    for delta in reversed(deltas):
        content = _applied(content, delta)
    return content


def _applied(content: bytes, delta: bytes) -> bytes:
    _, position = _number(delta, 0)
    size, position = _number(delta, position)
    pieces, made = [], 0
    while position < len(delta) and made <= _LONGEST:
        order, position = delta[position], position + 1
        if order & 0x80:
            offset, position = _fields(delta, position, order & 0x0F)
            length, position = _fields(delta, position, order >> 4 & 0x07)
            piece = content[offset : offset + (length or 0x10000)]
        else:
            piece, position = delta[position : position + order], position + order
        pieces.append(piece)
        made += len(piece)
    if made != size:
        raise IndexError("a delta that makes something else than it says")
    return b"".join(pieces)


def _number(delta: bytes, position: int) -> tuple[int, int]:
    """Read a size; return it, and where it ends."""
    number, shift, byte = 0, 0, 0x80
    while byte & 0x80:
        byte = delta[position]
        number |= (byte & 0x7F) << shift
        shift, position = shift + 7, position + 1
    return number, position


def _fields(delta: bytes, position: int, which: int) -> tuple[int, int]:
    """Read a number of which only those bytes are there that some bits tell; return it, and where it ends."""
    number = 0
    for place in range(which.bit_length()):
        if which >> place & 1:
            number |= delta[position] << 8 * place
            position += 1
    return number, position


def _oid_of(content: bytes, digits: int) -> str:
    digest = hashlib.sha256 if digits == 64 else hashlib.sha1
    return digest(b"commit %d\0" % len(content) + content).hexdigest()
