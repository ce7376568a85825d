"""What must change in a mirror for its refs to be the upstream's (pure).

A mirror keeps the upstream's ``refs/heads/*`` and ``refs/tags/*`` under the same names. Tips that the upstream gave up,
and objects fetched by id, stay reachable for some days through refs below :data:`HIDDEN`, which no client sees; the day
is part of the name, so that age needs no record.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.manyrefs import ManyRefs
from cachew.upstream.refnames import DEEPEST, LONGEST, LONGEST_NAME, SUSPICIOUS, all_fit
from cachew.upstream.refviews import OidsOfRefs, TipsByName

HIDDEN = "refs/cachew/"
MIRRORED = ("refs/heads/", "refs/tags/")
Tip = tuple[str, str]
"""A ref's full name and the object id that it has."""
_DAY = 86400
_FORBIDDEN_BYTES = bytes({*range(0x0A), *range(0x0B, 0x21), *b"\x7f~^:?*[\\"})
_FORBIDDEN = re.compile(r"\.\.|@\{|[\x00-\x20\x7f~^:?*\[\\]")


_LISTING = 1000
_PER_REF = 520
"""Bytes that a listing and a ref in it are taken for."""


@dataclass(frozen=True)
class RefState:
    """The refs of a repository.

    :param refs: full name to hex object id, without HEAD.
    :param head: the ref that HEAD names, an object id where HEAD is detached, or None.
    :param peeled: what HEAD leads to in the end, where it names an annotated tag.
    """

    refs: Mapping[str, str] = field(default_factory=dict)
    head: str | None = None
    peeled: str | None = field(default=None, compare=False)

    @cached_property
    def oids(self) -> Set[str]:
        """All object ids that refs have; of very many refs, those too that their annotated tags lead to."""
        if isinstance(self.refs, TipsByName):
            return OidsOfRefs(self.refs.many)
        return frozenset(self.refs.values())

    def differs_from(self, wanted: "RefState") -> bool:
        """Whether anything must change for these to be others, which costs little to say."""
        return self.refs != wanted.refs or bool(wanted.head and wanted.head != self.head)

    def lacking(self, oids: Iterable[str]) -> set[str]:
        """Return those of some object ids that no ref has."""
        here = self.oids
        return here.lacking(oids) if isinstance(here, OidsOfRefs) else set(oids).difference(here)

    @property
    def head_commit(self) -> str | None:
        """The commit that HEAD leads to, None where that is unborn."""
        if self.head is None or not self.head.startswith("refs/"):
            return self.head
        return self.peeled or self.refs.get(self.head)


def of_listing(listing: Listing) -> RefState:
    """Return the mirrored part of what an upstream listed."""
    return listing.once(mirrored_part)


def weight_of(listing: Listing) -> int:
    """Return about how many bytes a listing takes with all that is made of it to answer from."""
    if isinstance(listing.refs, ManyRefs):
        return _LISTING + listing.refs.weight
    return _LISTING + sum(_PER_REF + 2 * len(ref.name) + 2 * len(ref.peeled or "") for ref in listing.refs)


def mirrored_part(listing: Listing) -> RefState:
    """Find it; see :func:`of_listing`, which does so once."""
    head = listing.by_name.get("HEAD")
    target = None if head is None else head.symref_target
    if isinstance(listing.refs, ManyRefs) and not (target is not None and is_outside(target)):
        return _state(TipsByName(listing.refs.within(MIRRORED)), head, listing.by_name)
    refs = {ref.name: ref.oid for ref in listing.refs if ref.oid and ref.name.startswith(MIRRORED)}
    for name in invalid_names(refs):
        del refs[name]
    if head is not None and target is not None and head.oid and is_outside(target):
        refs[target] = head.oid
    _drop_impossible(refs)
    return _state(refs, head, listing.by_name)


def with_moved(
    state: RefState, moved: Mapping[str, RemoteRef | None], head: RemoteRef | None, listed: Mapping[str, RemoteRef]
) -> RefState:
    """Return the refs after some have moved, as git has taken them.

    :param moved: these, None for what is no more; HEAD may be among them.
    :param head: what HEAD is now.
    :param listed: all refs as they are now.
    """
    refs = dict(state.refs)
    for name, ref in moved.items():
        if ref is None or not ref.oid:
            refs.pop(name, None)
        elif name != "HEAD":
            refs[name] = ref.oid
    return _state(refs, head, listed)


def _state(refs: Mapping[str, str], head: RemoteRef | None, listed: Mapping[str, RemoteRef]) -> RefState:
    if head is None:
        return RefState(refs, None)
    target = head.symref_target
    named = listed.get(target or "")
    peeled = head.peeled or (named.peeled if named is not None else None)
    return RefState(refs, target or head.oid, peeled if target in refs else None)


def is_outside(target: str) -> bool:
    """Say whether HEAD names a ref that is mirrored for its sake alone: Gerrit's ``All-Projects`` has none but such."""
    return target.startswith("refs/") and not target.startswith((*MIRRORED, HIDDEN)) and valid_name(target)


def _drop_impossible(refs: dict[str, str]) -> None:
    """Drop each ref that lies below another: git keeps no ``a/b`` beside an ``a``, whatever an upstream says."""
    directories = {name.rpartition("/")[0] for name in refs}
    for directory in list(directories):
        while directory:
            directory = directory.rpartition("/")[0]
            directories.add(directory)
    above = directories.intersection(refs)
    if above:
        for name in [name for name in refs if _lies_below(name, above)]:
            del refs[name]


def _lies_below(name: str, above: Set[str]) -> bool:
    while name := name.rpartition("/")[0]:
        if name in above:
            return True
    return False


@dataclass(frozen=True)
class Change:
    """A step from one :class:`RefState` to another.

    :param updates: refs to create or move, with their new object ids.
    :param deletions: refs to delete.
    :param abandoned: object ids that the step leaves without their ref.
    :param passed: those of them that branches moved on from, which the new tips mostly still reach.
    :param head: the new HEAD, None where it stays.
    """

    updates: Mapping[str, str]
    deletions: tuple[str, ...]
    abandoned: tuple[str, ...]
    passed: tuple[str, ...]
    head: str | None

    def __bool__(self) -> bool:
        return bool(self.updates or self.deletions or self.head)

    def halves(self) -> "tuple[Change, ...]":
        """Return two smaller steps that make up this one, deletions in the first; none where it can't be divided."""
        if self.updates and (self.deletions or self.head):
            without_updates = replace(self, updates={})
            return without_updates, Change(self.updates, (), (), (), None)
        if self.deletions and self.head:
            return replace(self, head=None), Change({}, (), (), (), self.head)
        names = list(self.updates or self.deletions)
        middle = len(names) // 2
        if not middle:
            return ()
        parts = names[:middle], names[middle:]
        if self.updates:
            return tuple(replace(self, updates={name: self.updates[name] for name in part}) for part in parts)
        return tuple(replace(self, deletions=tuple(part)) for part in parts)


def change(present: RefState, wanted: RefState) -> Change:
    """Compare what a mirror has with what it should have.

    Deletions come first when applied, so that ``refs/heads/a`` can give way to ``refs/heads/a/b``.
    """
    before, after = _differing(present.refs, wanted.refs)
    updates = {name: oid for name, oid in after.items() if before.get(name) != oid}
    deletions = tuple(name for name in before if name not in after)
    left = {name: before[name] for name in (*updates, *deletions) if name in before}
    abandoned = wanted.lacking(left.values())
    passed = abandoned & {oid for name, oid in left.items() if name.startswith("refs/heads/") and name in updates}
    head = wanted.head if wanted.head and wanted.head != present.head else None
    return Change(updates, deletions, tuple(sorted(abandoned)), tuple(sorted(passed)), head)


def _differing(present: Mapping[str, str], wanted: Mapping[str, str]) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return both without what is certainly the same in both, where they are very many."""
    if isinstance(present, TipsByName) and isinstance(wanted, TipsByName):
        return present.many.differences(wanted.many)
    return present, wanted


def hidden_name(oid: str, now: float) -> str:
    """Return the hidden ref that keeps ``oid`` alive from ``now`` (epoch seconds) on."""
    return f"{HIDDEN}{int(now // _DAY)}/{oid}"


def expired(names: Iterable[str], now: float, *, days: int) -> list[str]:
    """Return the hidden refs that are older than ``days`` days, and those whose name says no day."""
    oldest = int(now // _DAY) - days
    result = []
    for name in names:
        day = name.removeprefix(HIDDEN).partition("/")[0]
        if not day.isdecimal() or int(day) < oldest:
            result.append(name)
    return result


def update_script(updates: Mapping[str, str], deletions: Iterable[str]) -> bytes:
    """Return the standard input for ``git update-ref -z --stdin``, one transaction (git-update-ref(1))."""
    parts = [f"delete {name}\0\0" for name in deletions]
    parts += [f"update {name}\0{oid}\0\0" for name, oid in updates.items()]
    return "".join(parts).encode(errors="surrogateescape")


def packed_refs(listing: Listing) -> bytes:
    """Return a ``packed-refs`` file of the mirrored part of a listing (gitrepository-layout(5)).

    It makes the refs of a new mirror in one write, however many they are.
    """
    state = of_listing(listing)
    lines = [b"# pack-refs with: peeled fully-peeled sorted \n"]
    if isinstance(state.refs, TipsByName):
        return b"".join([*lines, *(_packed_line(ref) for ref in state.refs.many)])
    for name in sorted(state.refs, key=lambda name: name.encode(errors="surrogateescape")):
        lines.append(f"{state.refs[name]} {name}\n".encode(errors="surrogateescape"))
        listed = listing.by_name.get(name)
        peeled = None if listed is None else listed.peeled
        if peeled:
            lines.append(f"^{peeled}\n".encode())
    return b"".join(lines)


def _packed_line(ref: RemoteRef) -> bytes:
    peeled = f"^{ref.peeled}\n" if ref.peeled else ""
    return f"{ref.oid} {ref.name}\n{peeled}".encode(errors="surrogateescape")


def valid_name(name: str) -> bool:
    """Say whether git would accept a full ref name (git-check-ref-format(1)) and could keep it as a file.

    An upstream is not trusted to send only such.
    """
    if _length(name) > LONGEST_NAME or name.count("/") > DEEPEST:
        return False
    if _FORBIDDEN.search(name) or name.endswith(("/", ".")):
        return False
    return all(
        part and not part.startswith(".") and not part.endswith(".lock") and _length(part) <= LONGEST
        for part in name.split("/")
    )


def invalid_names(names: Collection[str]) -> list[str]:
    """Return those of many full ref names that :func:`valid_name` refuses.

    All are looked at as one text first. Where it holds nothing that makes a name suspicious, which is nearly always so,
    a hundred thousand take as long as a few thousand one by one.
    """
    text = "\n".join(("", *names, "")).encode(errors="surrogateescape")
    ordinary = (
        text.isascii()
        and text.count(b"\n") == len(names) + 1
        and len(text.translate(None, _FORBIDDEN_BYTES)) == len(text)
        and not any(part in text for part in SUSPICIOUS)
        and all_fit(text.split(b"\n"))
    )
    if ordinary:
        return []
    return [name for name in names if not valid_name(name)]


def printable(name: str) -> str:
    """Return a ref's name in a form that any log and page can show."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogateescape"))
