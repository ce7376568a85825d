"""About a thousand refs as the lines that told them (pure).

A line is a packet of protocol v2 with its length: ``003dOID NAME[ symref-target:NAME][ peeled:OID]`` and a newline. So
a ref takes no more memory than the upstream took to tell it, and two listings share the blocks that are equal.
Only what is quite ordinary is kept so: names in order, all below ``refs/``, that git surely takes.
"""

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Set
from copy import copy
from hashlib import sha256
from itertools import accumulate, compress, count
from operator import lt, ne

from cachew.upstream.refnames import surely_valid
from cachew.upstream.remoteref import RemoteRef, bytes_of, text_of

_NAME = rb"refs/[^\x00-\x20\x7f~^:?*\[\\]+"
_OID = {40: rb"[0-9a-f]{40}", 64: rb"[0-9a-f]{64}"}
_LINES = {
    width: re.compile(
        rb"([0-9a-f]{4})("
        + oid
        + rb") ("
        + _NAME
        + rb")((?: symref-target:"
        + _NAME
        + rb")?(?: peeled:"
        + oid
        + rb")?)\n"
    )
    for width, oid in _OID.items()
}
_KEY = 16
"""Digits of an object id that are looked up first."""
_SIZE = 4
"""Digits of a line's length, with which it begins."""
_NEWLINE = ord("\n")
_TOLD = {
    width: re.compile(rf"(?:^[0-9a-f]{{{_SIZE}}}| peeled:)([0-9a-f]{{{width}}})(?=[ \n])", re.MULTILINE)
    for width in _OID
}
_FEW = 50
"""Lines that are read one by one."""
_FEW_OIDS = 200
"""Object ids that are kept beside the lines when these tell no others: very many refs may be at the same commits."""
_PEELED = b" peeled:"
_SYMREF = b" symref-target:"


class NotOrdinary(Exception):
    """Refs that can't be kept as lines."""


class ToldOids:
    """The object ids in some lines: those of refs, and those that annotated tags lead to.

    :param data: the lines.
    :param width: digits of an object id.
    :param keys: what the ids begin with, in order.
    :param few: the ids, where they are few.
    """

    __slots__ = ("_data", "_few", "_width", "keys")

    def __init__(self, data: bytes, width: int, keys: "array[int]", few: Set[bytes] | None) -> None:
        self._data, self._width = data, width
        self.keys = keys
        self._few = None if few is None or len(few) > _FEW_OIDS else few

    def beginning_with(self, key: int) -> str:
        """Return the object id that begins with a key that is among these."""
        place = self._place_of(b"%016x" % key)
        assert place >= 0
        return self._data[place : place + self._width].decode("ascii")

    def all(self) -> list[str]:
        """Return the object ids, of many those twice that are told twice."""
        if self._few is not None:
            return [oid.decode("ascii") for oid in self._few]
        return _TOLD[self._width].findall(self._data.decode("latin-1"))

    def has(self, key: int, oid: bytes) -> bool:
        """Whether an object id is among these.

        :param key: what the id begins with.
        """
        index = bisect_left(self.keys, key)
        if index == len(self.keys) or self.keys[index] != key:
            return False
        return len(oid) == self._width and self._place_of(oid) >= 0

    def exchanged(self, data: bytes, gone: Set[bytes], new: Set[bytes]) -> "ToldOids":
        """Return those in other lines.

        :param gone: ids that these lines may have no more.
        :param new: ids that they have.
        """
        found = ToldOids(data, self._width, array("Q", self.keys), None)
        if self._few is not None and len(few := self._few | new) <= _FEW_OIDS:
            found._few = few - {oid for oid in gone if found._place_of(oid) < 0}
        for key in _keys_of(gone):
            if found._place_of(b"%016x" % key) < 0:
                del found.keys[bisect_left(found.keys, key)]
        for key in _keys_of(new):
            place = bisect_left(found.keys, key)
            if place == len(found.keys) or found.keys[place] != key:
                found.keys.insert(place, key)
        return found

    def _place_of(self, digits: bytes) -> int:
        """Return where an object id is told that begins with some digits, which names may hold too; -1 for nowhere."""
        data = self._data
        place = data.find(digits)
        while place >= 0:
            if place == _SIZE or data[place - _SIZE - 1] == _NEWLINE or data.endswith(_PEELED, 0, place):
                return place
            place = data.find(digits, place + 1)
        return -1


class RefBlock:
    """Some refs in the order of their names.

    :param data: their lines.
    :param width: digits of an object id.
    :raise NotOrdinary: when they can't be kept so.
    """

    __slots__ = ("_digest", "data", "directories", "first", "last", "oids", "starts", "width")

    def __init__(self, data: bytes, width: int) -> None:
        lines = _LINES[width].findall(data)
        names = [name for _, _, name, _ in lines]
        sizes = [int(size, 16) for size, _, _, _ in lines]
        told = [width + 6 + len(name) + len(more) for _, _, name, more in lines]
        if sizes != told or sum(sizes) != len(data) or not all(map(lt, names, names[1:])) or not surely_valid(names):
            raise NotOrdinary
        self.data, self.width = data, width
        self.starts = array("I", accumulate(sizes, initial=0))
        self.first, self.last = names[0], names[-1]
        peeled = [more[-width:] for _, _, _, more in lines if _PEELED in more]
        oids = {line[1] for line in lines}.union(peeled)
        self.oids = ToldOids(data, width, array("Q", sorted(_keys_of(oids))), oids)
        self.directories = _directories(names)
        self._digest = b""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def moved(self, data: bytes) -> "RefBlock | None":
        """Return the block of lines that tell the same refs, a few of which are elsewhere now; the rest is not read.

        :return: None when they tell something else.
        """
        before, after = self.data.split(b"\n"), data.split(b"\n")
        places = list(compress(count(), map(ne, before, after))) if len(before) == len(after) else []
        if not 0 < len(places) <= _FEW or after[-1]:
            return None
        old = [_LINES[self.width].fullmatch(before[place] + b"\n") for place in places]
        new = [_LINES[self.width].fullmatch(after[place] + b"\n") for place in places]
        if not all(map(_same_ref, old, new)):
            return None
        block = copy(self)
        block.data, block._digest = data, b""
        block.starts = array("I", accumulate((len(line) + 1 for line in after[:-1]), initial=0))
        block.oids = self.oids.exchanged(data, _oids_of(old), _oids_of(new))
        return block

    def __iter__(self) -> Iterator[RemoteRef]:
        for _, oid, name, more in _LINES[self.width].findall(self.data):
            yield _ref(oid, name, more)

    def tips(self) -> Iterator[tuple[str, str]]:
        """Yield each ref's name and object id."""
        return tips_in(self.data, self.width)

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return (
            500 + len(self.data) + 4 * len(self.starts) + 8 * len(self.oids.keys) + 2 * sum(map(len, self.directories))
        )

    @property
    def digest(self) -> bytes:
        """A digest of all that it tells, made at the first time."""
        self._digest = self._digest or sha256(self.data).digest()
        return self._digest

    def name(self, index: int) -> bytes:
        """Return a ref's name."""
        begin, end = self.starts[index] + 5 + self.width, self.starts[index + 1] - 1
        space = self.data.find(b" ", begin, end)
        return self.data[begin : end if space < 0 else space]

    def ref(self, index: int) -> RemoteRef:
        """Return a ref."""
        match = _LINES[self.width].fullmatch(self.data, self.starts[index], self.starts[index + 1])
        assert match is not None
        return _ref(match[2], match[3], match[4])

    def position(self, name: bytes) -> int:
        """Return how many names come before one."""
        return bisect_left(range(len(self)), name, key=self.name)

    def position_after(self, name: bytes) -> int:
        """Return how many names come before one or are the same."""
        return bisect_right(range(len(self)), name, key=self.name)

    def names(self) -> list[bytes]:
        """Return all names."""
        return [name for _, _, name, _ in _LINES[self.width].findall(self.data)]

    def find(self, name: bytes) -> RemoteRef | None:
        """Return the ref of a name, None where there is none."""
        index = self.position(name)
        return self.ref(index) if index < len(self) and self.name(index) == name else None

    def part(self, begin: int, end: int) -> "RefBlock":
        """Return the refs between two positions."""
        return RefBlock(self.data[self.starts[begin] : self.starts[end]], self.width)

    def lines(self) -> list[bytes]:
        """Return the lines."""
        return [self.data[begin:end] for begin, end in zip(self.starts, self.starts[1:], strict=False)]


def tips_in(data: bytes, width: int) -> Iterator[tuple[str, str]]:
    """Yield the name and object id of each ref that some lines tell.

    :param width: digits of an object id.
    """
    for _, oid, name, _ in _LINES[width].findall(data):
        yield text_of(name), oid.decode("ascii")


def key_of(oid: str) -> int:
    """Return what an object id begins with, as a number; -1 for what is none."""
    try:
        return int(oid[:_KEY], 16)
    except ValueError:
        return -1


def line_of(ref: RemoteRef) -> bytes:
    """Return the line that tells a ref."""
    if ref.oid is None:
        raise NotOrdinary
    target = b"" if ref.symref_target is None else _SYMREF + bytes_of(ref.symref_target)
    peeled = b"" if ref.peeled is None else _PEELED + ref.peeled.encode()
    line = b"%b %b%b%b\n" % (ref.oid.encode(), bytes_of(ref.name), target, peeled)
    return b"%04x%b" % (len(line) + 4, line)


def _same_ref(old: re.Match[bytes] | None, new: re.Match[bytes] | None) -> bool:
    """Whether both lines are whole and tell the same ref."""
    return old is not None and new is not None and old[3] == new[3] and int(new[1], 16) == len(new[0])


def _oids_of(lines: Iterable[re.Match[bytes] | None]) -> frozenset[bytes]:
    """Return the object ids in lines."""
    return frozenset(oid for line in lines if line is not None for oid in (line[2], *line[4].split(_PEELED)[1:]))


def _keys_of(oids: Iterable[bytes]) -> set[int]:
    """Return what object ids begin with."""
    return {int(oid[:_KEY], 16) for oid in oids}


def _ref(oid: bytes, name: bytes, more: bytes) -> RemoteRef:
    if not more:
        return RemoteRef(text_of(name), oid.decode("ascii"))
    targeted, _, peeled = more.partition(_PEELED)
    target = text_of(targeted.removeprefix(_SYMREF)) or None
    return RemoteRef(text_of(name), oid.decode("ascii"), target, peeled.decode("ascii") or None)


def _directories(names: Iterable[bytes]) -> frozenset[bytes]:
    """Return all that names lie below."""
    found = {name.rpartition(b"/")[0] for name in names}
    todo = list(found)
    while todo:
        above = todo.pop().rpartition(b"/")[0]
        if above and above not in found:
            found.add(above)
            todo.append(above)
    return frozenset(found)
