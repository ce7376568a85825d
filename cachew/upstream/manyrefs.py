"""Very many refs: blocks of lines, which listings share as far as they are the same (pure).

To find a ref, to say what differs in another listing, to move some and to keep those below some prefixes costs what
comes of it, not what there is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, compress, count, pairwise
from operator import is_, ne
from typing import overload

from cachew.upstream.refblocks import NotOrdinary, RefBlock, line_of, tips_in
from cachew.upstream.remoteref import RemoteRef, bytes_of

MANY = 1000
"""From how many refs on it pays to keep them as lines."""
SIZE = 64 * 1024
"""About how many bytes of lines a block has."""
HEAD = "HEAD"


class ManyRefs(Sequence[RemoteRef]):
    """Refs in the order of their names, after HEAD if there is one.

    :param head: HEAD.
    :param blocks: the others; none of them is empty.
    """

    def __init__(self, head: RemoteRef | None, blocks: Iterable[RefBlock]) -> None:
        self.head = head
        self.blocks = tuple(blocks)
        self._firsts = [block.first for block in self.blocks]
        self._ends = list(accumulate(map(len, self.blocks)))

    def __len__(self) -> int:
        return (self.head is not None) + (self._ends[-1] if self._ends else 0)

    def __iter__(self) -> Iterator[RemoteRef]:
        if self.head is not None:
            yield self.head
        for block in self.blocks:
            yield from block

    @overload
    def __getitem__(self, index: int) -> RemoteRef: ...

    @overload
    def __getitem__(self, index: slice) -> list[RemoteRef]: ...

    def __getitem__(self, index: int | slice) -> RemoteRef | list[RemoteRef]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        place = range(len(self))[index] - (self.head is not None)
        if place < 0:
            assert self.head is not None
            return self.head
        number = bisect_right(self._ends, place)
        return self.blocks[number].ref(place - (self._ends[number] - len(self.blocks[number])))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ManyRefs):
            return NotImplemented
        if self.head != other.head or len(self) != len(other):
            return False
        ours, theirs = [block.data for block in self.blocks], [block.data for block in other.blocks]
        same_ends = self._ends == other._ends
        return ours == theirs or (not same_ends and b"".join(ours) == b"".join(theirs))

    def __hash__(self) -> int:
        return hash((self.head, len(self)))

    @property
    def weight(self) -> int:
        """About how many bytes they take, those included that other listings share."""
        return sum(block.weight for block in self.blocks)

    def find(self, name: str) -> RemoteRef | None:
        """Return a ref by its full name, None where there is none."""
        if name == HEAD:
            return self.head
        sought = bytes_of(name)
        number = bisect_right(self._firsts, sought) - 1
        return None if number < 0 else self.blocks[number].find(sought)

    def tips(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the object id of each but HEAD."""
        for block in self.blocks:
            yield from block.tips()

    def within(self, prefixes: Iterable[str]) -> "ManyRefs":
        """Return those whose names begin with one of some prefixes, of which none begins with another one."""
        ordered = sorted(bytes_of(prefix) for prefix in prefixes)
        head = self.head if any(HEAD.startswith(prefix.decode(errors="replace")) for prefix in ordered) else None
        blocks: list[RefBlock] = []
        for prefix in ordered:
            blocks += _below(prefix, self.blocks[max(0, bisect_right(self._firsts, prefix) - 1) :])
        whole = len(blocks) == len(self.blocks) and all(map(is_, blocks, self.blocks))
        return self if whole and head is self.head else ManyRefs(head, blocks)

    def differences(self, other: "ManyRefs") -> tuple[dict[str, str], dict[str, str]]:
        """Return name and object id of those of these and of the other refs that are not certainly in both."""
        here, there = {block.data for block in self.blocks}, {block.data for block in other.blocks}
        left = [block for block in self.blocks if block.data not in there]
        right = [block for block in other.blocks if block.data not in here]
        ours, theirs = _lines_unlike(left, right)
        return _tips(ours, left), _tips(theirs, right)

    def changed(self, changes: Mapping[str, RemoteRef | None]) -> "ManyRefs":
        """Return them with some as they are now, None for what is no more.

        :raise NotOrdinary: when they can't be kept so any more.
        """
        head = changes.get(HEAD, self.head) if HEAD in changes else self.head
        by_block: dict[int, dict[bytes, RemoteRef | None]] = {}
        for name, ref in changes.items():
            if name != HEAD:
                sought = bytes_of(name)
                by_block.setdefault(max(0, bisect_right(self._firsts, sought) - 1), {})[sought] = ref
        blocks: list[RefBlock] = []
        for number, block in enumerate(self.blocks):
            blocks += _with_lines(block, by_block[number]) if number in by_block else [block]
        after = ManyRefs(head, blocks)
        for name, ref in changes.items():
            if ref is not None and name != HEAD and self.find(name) is None:
                _require_place(after, name)
        return after

    def first_oids(self, count: int) -> list[str]:
        """Return so many of the object ids that sort first, those that tags lead to among them."""
        found: dict[int, int] = {}
        for number, block in enumerate(self.blocks):
            keys = block.oids.keys
            least = bisect_left(keys, max(found)) if len(found) == count else count
            found |= {key: number for key in keys[: min(least, count)] if key not in found}
            if len(found) > count:
                found = {key: found[key] for key in sorted(found)[:count]}
        return [self.blocks[number].oids.beginning_with(key) for key, number in sorted(found.items())]


def many_refs(refs: Sequence[RemoteRef], width: int) -> Sequence[RemoteRef]:
    """Return refs as lines where they are very many and quite ordinary, else as they are.

    :param width: digits of an object id.
    """
    if len(refs) < MANY:
        return refs
    head = refs[0] if refs[0].name == HEAD else None
    try:
        lines = [line_of(ref) for ref in refs[head is not None :]]
        found = ManyRefs(head, _blocks_of(lines, width))
    except NotOrdinary:
        return refs
    return found if in_order(found.blocks) and not collide(found.blocks) else refs


def in_order(blocks: Sequence[RefBlock]) -> bool:
    """Whether the names of blocks are in order."""
    return all(one.last < next_one.first for one, next_one in pairwise(blocks))


def collide(blocks: Sequence[RefBlock]) -> bool:
    """Whether a ref lies below another one, so that git could not keep both."""
    refs = ManyRefs(None, blocks)
    directories = frozenset[bytes]().union(*(block.directories for block in blocks))
    return any(refs.find(directory.decode("utf-8", "surrogateescape")) is not None for directory in directories)


def _blocks_of(lines: Sequence[bytes], width: int) -> Iterator[RefBlock]:
    step = max(1, SIZE * len(lines) // max(1, sum(map(len, lines))))
    for start in range(0, len(lines), step):
        yield RefBlock(b"".join(lines[start : start + step]), width)


def _with_lines(block: RefBlock, changes: Mapping[bytes, RemoteRef | None]) -> list[RefBlock]:
    lines = {block.name(index): line for index, line in enumerate(block.lines())}
    for name, ref in changes.items():
        if ref is None:
            lines.pop(name, None)
        else:
            lines[name] = line_of(ref)
    ordered = [lines[name] for name in sorted(lines)]
    if (moved := block.moved(b"".join(ordered))) is not None:
        return [moved]
    if sum(map(len, ordered)) <= 2 * SIZE:
        return [RefBlock(b"".join(ordered), block.width)] if ordered else []
    return list(_blocks_of(ordered, block.width))


def _require_place(refs: ManyRefs, name: str) -> None:
    """See that no ref lies below one, nor that below another one: git can't keep both.

    :raise NotOrdinary: otherwise.
    """
    sought, above = bytes_of(name), name.rpartition("/")[0]
    if any(sought in block.directories for block in refs.blocks):
        raise NotOrdinary
    while above:
        if refs.find(above) is not None:
            raise NotOrdinary
        above = above.rpartition("/")[0]


def _lines(blocks: Iterable[RefBlock]) -> bytes:
    return b"".join(block.data for block in blocks)


def _below(prefix: bytes, blocks: Iterable[RefBlock]) -> Iterator[RefBlock]:
    """Yield what of blocks begins with a prefix.

    :param blocks: from the first on that may hold such a name.
    """
    for block in blocks:
        if block.first > prefix and not block.first.startswith(prefix):
            break
        if block.first.startswith(prefix) and block.last.startswith(prefix):
            yield block
            continue
        begin = block.position(prefix)
        end = begin + _count_beginning(block, begin, prefix)
        if end > begin:
            yield block.part(begin, end)


def _lines_unlike(one: Sequence[RefBlock], other: Sequence[RefBlock]) -> tuple[list[bytes], list[bytes]]:
    """Return the lines of each that are not among the other's."""
    ours: list[bytes] = []
    theirs: list[bytes] = []
    # Mostly a few refs have moved, and none has come or gone.
    alike = list(map(len, one)) == list(map(len, other))
    for here, there in zip(one, other, strict=True) if alike else [(one, other)]:
        left, right = (_lines([part] if isinstance(part, RefBlock) else part).split(b"\n") for part in (here, there))
        if len(left) == len(right):
            places = list(compress(count(), map(ne, left, right)))
            left, right = [left[place] for place in places], [right[place] for place in places]
        ours += left
        theirs += right
    known, listed = frozenset(ours), frozenset(theirs)
    return [line for line in ours if line not in listed], [line for line in theirs if line not in known]


def _tips(lines: Sequence[bytes], blocks: Sequence[RefBlock]) -> dict[str, str]:
    """Return the name and object id of the refs that lines of blocks tell."""
    return dict(tips_in(b"".join(line + b"\n" for line in lines if line), blocks[0].width)) if blocks else {}


def _count_beginning(block: RefBlock, begin: int, prefix: bytes) -> int:
    """Return how many names from a position on begin with a prefix: none of them comes after one that does not."""
    return bisect_left(
        range(len(block) - begin), True, key=lambda step: not block.name(begin + step).startswith(prefix)
    )
