"""What dictionaries and sets of very many refs would answer, without there being any (pure)."""

from collections.abc import Iterable, Iterator, Mapping, Set

from cachew.upstream.manyrefs import HEAD, ManyRefs
from cachew.upstream.refblocks import key_of
from cachew.upstream.remoteref import RemoteRef

_FEW = 20
"""Object ids that are looked for one by one; for more all are gone through that there are."""


class RefsByName(Mapping[str, RemoteRef]):
    """Refs by their full names.

    :param refs: these.
    """

    def __init__(self, refs: ManyRefs) -> None:
        self._refs = refs

    def __getitem__(self, name: str) -> RemoteRef:
        if (found := self._refs.find(name)) is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._refs.find(name) is not None

    def __iter__(self) -> Iterator[str]:
        return (ref.name for ref in self._refs)

    def __len__(self) -> int:
        return len(self._refs)


class TipsByName(Mapping[str, str]):
    """Object ids by the full names of the refs that have them, HEAD left out.

    :param refs: these.
    """

    def __init__(self, refs: ManyRefs) -> None:
        self.many = ManyRefs(None, refs.blocks)

    def __getitem__(self, name: str) -> str:
        found = None if name == HEAD else self.many.find(name)
        if found is None or found.oid is None:
            raise KeyError(name)
        return found.oid

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TipsByName):
            return self.many == other.many
        # Before all are gone through: most mappings that are no such tips have few.
        return isinstance(other, Mapping) and len(self) == len(other) and super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.many.tips())

    def __len__(self) -> int:
        return len(self.many)

    def values(self) -> "list[str]":  # type: ignore[override]
        """Return the object ids."""
        return [oid for _, oid in self.many.tips()]

    def items(self) -> "list[tuple[str, str]]":  # type: ignore[override]
        """Return names and object ids."""
        return list(self.many.tips())


class OidsOfRefs(Set[str]):
    """The object ids that refs have, and those that tags among them lead to.

    :param refs: these.
    """

    def __init__(self, refs: ManyRefs) -> None:
        self.many = refs
        head = refs.head
        self._heads = frozenset() if head is None else frozenset(filter(None, (head.oid, head.peeled)))

    @classmethod
    def _from_iterable(cls, oids: Iterable[str]) -> frozenset[str]:  # type: ignore[override]
        return frozenset(oids)

    def __contains__(self, oid: object) -> bool:
        if not isinstance(oid, str):
            return False
        key, sought = key_of(oid), oid.encode("ascii", "replace")
        return oid in self._heads or (key >= 0 and any(block.oids.has(key, sought) for block in self.many.blocks))

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def _all(self) -> set[str]:
        return set(self._heads).union(*(block.oids.all() for block in self.many.blocks))

    def __len__(self) -> int:
        return len(self._all())

    def __bool__(self) -> bool:
        return bool(self._heads or self.many.blocks)

    def lacking(self, oids: Iterable[str]) -> set[str]:
        """Return those of some object ids that are not among these."""
        left = set(oids)
        if len(left) <= _FEW:
            return {oid for oid in left if oid not in self}
        left -= self._heads
        keys = set(map(key_of, left))
        for block in self.many.blocks:
            if not keys.isdisjoint(block.oids.keys):
                left.difference_update(block.oids.all())
        return left

    def isdisjoint(self, other: Iterable[object]) -> bool:
        """Whether none of other object ids is among these."""
        if not isinstance(other, OidsOfRefs):
            return not any(oid in self for oid in other)
        if not set(map(id, self.many.blocks)).isdisjoint(map(id, other.many.blocks)):
            return False
        if any(oid in self for oid in other._heads):
            return False
        keys = set(map(key_of, self._heads)).union(*(block.oids.keys for block in self.many.blocks))
        # What begins alike is nearly always the same.
        alike = (block for block in other.many.blocks if not keys.isdisjoint(block.oids.keys))
        return not any(oid in self for block in alike for oid in block.oids.all())

    def first(self, count: int) -> list[str]:
        """Return so many of those that sort first."""
        found = {*self._heads, *self.many.first_oids(count)}
        # Ids that begin alike, which nobody has but who made them so, are told apart the long way.
        return sorted(found if len(found) >= count else self._all())[:count]
