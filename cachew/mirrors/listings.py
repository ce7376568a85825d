"""The ref listings of all repositories that are at hand, within one budget of bytes.

A listing of a hundred thousand refs takes ten megabytes in the form in which questions are answered from it. What was
used least lately goes first, whoever it is of; a mirror's own refs are then kept packed, a part of the size. What
clients make up by asking for ever other prefixes takes half of the budget at most.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from cachew.mirrors.gonerefs import GoneRefs
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MIRRORED_KIND, Kind
from cachew.mirrors.moved import Moved, moved_in_part, with_refs
from cachew.mirrors.packedlistings import pack, unpack
from cachew.mirrors.refs import RefState, of_listing, weight_of
from cachew.mirrors.setaside import SetAside
from cachew.plumbing.clock import Clock
from cachew.upstream.listing import Listing

_LEAST = 1000
"""Bytes that anything kept is taken for, whatever it is."""
_OWN = "own"
_FIRST = 100


@dataclass
class _Entry:
    value: Any
    weight: int
    used: int
    let_go: Callable[[], object]


class Listings:
    """Remembers values by repository and key, the least recently used one goes first.

    :param limit: bytes that all may take, unless it is one alone.
    """

    def __init__(self, *, limit: int) -> None:
        self.limit = limit
        self._uses = count(1)
        self._keys: dict[Identity, set[Hashable]] = {}
        self._ordinary, self._made_up = _Kept(), _Kept()

    @property
    def size(self) -> int:
        """About how many bytes all take."""
        return self._ordinary.size + self._made_up.size

    def __len__(self) -> int:
        return len(self._ordinary.entries) + len(self._made_up.entries)

    def get(self, identity: Identity, key: Hashable) -> Any:
        """Return what is kept, None for nothing, and count it as used."""
        for kept in (self._ordinary, self._made_up):
            if (entry := kept.entries.get((identity, key))) is not None:
                entry.used = next(self._uses)
                kept.entries.move_to_end((identity, key))
                return entry.value
        return None

    def put(
        self,
        identity: Identity,
        key: Hashable,
        value: Any,
        weight: int = _LEAST,
        *,
        made_up: bool = False,
        let_go: Callable[[], object] = lambda: None,
    ) -> None:
        """Keep a value in the place of the one before.

        :param weight: bytes that it takes.
        :param made_up: whether clients can make up its key.
        :param let_go: called when it goes for want of room.
        """
        self.drop(identity, key)
        kept = self._made_up if made_up else self._ordinary
        kept.entries[identity, key] = _Entry(value, weight, next(self._uses), let_go)
        kept.size += weight
        self._keys.setdefault(identity, set()).add(key)
        while self._made_up.size > self.limit // 2 and len(self._made_up.entries) > 1:
            self._let_go(self._made_up)
        while self.size > self.limit and len(self) > 1:
            self._let_go(min(self._ordinary, self._made_up, key=_Kept.last_use_of_the_oldest))

    def _let_go(self, kept: "_Kept") -> None:
        (identity, key), entry = next(iter(kept.entries.items()))
        self.drop(identity, key)
        entry.let_go()

    def drop(self, identity: Identity, key: Hashable) -> None:
        """Drop one value."""
        keys = self._keys.get(identity, set())
        if key not in keys:
            return
        for kept in (self._ordinary, self._made_up):
            if (entry := kept.entries.pop((identity, key), None)) is not None:
                kept.size -= entry.weight
        keys.discard(key)
        if not keys:
            del self._keys[identity]

    def keys(self, identity: Identity) -> list[Any]:
        """Return under which keys something is kept of a repository."""
        return list(self._keys.get(identity, ()))


class _Kept:
    def __init__(self) -> None:
        self.entries: OrderedDict[tuple[Identity, Hashable], _Entry] = OrderedDict()
        self.size = 0

    def last_use_of_the_oldest(self) -> float:
        return next((entry.used for entry in self.entries.values()), float("inf"))


class OwnListing:
    """A mirror's refs: at hand as long as they are used, else packed.

    :param identity: the mirror's repository.
    :param listings: what is at hand of all.
    """

    def __init__(self, *, identity: Identity, listings: Listings) -> None:
        self._identity, self._listings = identity, listings
        self._packed: bytes | None = None
        self._summary: Summary | None = None

    def set(self, listing: Listing) -> None:
        """Take other refs."""
        self._packed = self._summary = None
        self._keep(listing)

    @property
    def summary(self) -> "Summary":
        """What people are told of the refs, for which they need not be at hand."""
        if self._summary is None:
            self._summary = summary_of(self.get())
        return self._summary

    def get(self) -> Listing:
        """Return the refs, none while there are none."""
        listing: Listing | None = self._listings.get(self._identity, _OWN)
        if listing is None and self._packed is not None:
            listing = unpack(self._packed)
            self._keep(listing)
        return listing or Listing(refs=())

    def _keep(self, listing: Listing) -> None:
        weight = listing.once(weight_of)
        self._listings.put(self._identity, _OWN, listing, weight, let_go=lambda: self._pack(listing))

    def _pack(self, listing: Listing) -> None:
        self._summary = self._summary or summary_of(listing)
        self._packed = self._packed or pack(listing)

    def clear(self) -> None:
        """Have none any more."""
        self._listings.drop(self._identity, _OWN)
        self._packed = self._summary = None


class MirroredRefs:
    """The refs of one mirror.

    :param own: keeps them at hand or packed.
    :param set_aside: the tips that are not followed for now.
    :param clock: tells how long ago some of them have gone.
    """

    def __init__(self, *, own: OwnListing, set_aside: SetAside, clock: Clock) -> None:
        self._own = own
        self.set_aside = set_aside
        self.gone = GoneRefs(clock=clock)
        self._level: Listing | None = None
        """The listing that was found not to differ last: the next one is the same object until something changes."""

    @property
    def listing(self) -> Listing:
        """The refs as the upstream listed them."""
        return self._own.get()

    @property
    def state(self) -> RefState:
        """Heads and tags and HEAD; the same object as long as nothing has changed and it is at hand."""
        return of_listing(self._own.get())

    @property
    def by_name(self) -> Mapping[str, str]:
        """Heads and tags, full name to object id."""
        return self.state.refs

    @property
    def summary(self) -> "Summary":
        """What people are told of them; this costs nothing, however many they are."""
        return self._own.summary

    @property
    def head_commit(self) -> str | None:
        """The commit that HEAD names, None where it names none."""
        return self._own.summary.head

    @property
    def head_ref(self) -> str | None:
        """The ref that HEAD names, born or unborn; None where it is detached."""
        return self._own.summary.head_ref

    @property
    def object_format(self) -> str:
        """``sha1`` or ``sha256``."""
        return self.listing.object_format

    def become(self, listing: Listing) -> None:
        """Take note of what they are after a listing was followed."""
        self.set_aside.keep_only(listing)
        followed = self.set_aside.allowed(listing, self.listing, also_due=False).filtered(MIRRORED_KIND)
        self._level = None
        self.gone.note(self.listing, followed)
        self._own.set(followed)

    def move(self, moved: Moved) -> None:
        """Take note of where some of them are now, None for what is no more."""
        self._level = None
        followed = with_refs(self.listing, moved)
        self.gone.note(self.listing, followed)
        self._own.set(followed)

    def clear(self) -> None:
        """Have none any more, and know of none that there were."""
        self._own.clear()
        self.gone.clear()

    def behind(self, listing: Listing) -> bool:
        """Say whether they differ from what the upstream listed."""
        if listing is self._level and not self.set_aside:
            return False
        differs = self.state.differs_from(of_listing(self.wanted(listing)))
        self._level = None if differs else listing
        return differs

    def wanted(self, listing: Listing) -> Listing:
        """Return what of a listing is to be followed now."""
        return self.set_aside.allowed(listing, self.listing, also_due=True)

    def moved(self, kind: Kind, listing: Listing) -> Moved:
        """Return what they differ in from what the upstream listed of some refs.

        :param kind: what the listing is bounded to.
        """
        return self.set_aside.due(moved_in_part(self.listing, kind, listing))

    def recognises(self, listing: Listing) -> bool:
        """Whether any of them has an object that is listed, so that it is of the same repository."""
        refs = self.by_name
        first = (listing.refs[place] for place in range(min(_FIRST, len(listing.refs))))
        if any(refs.get(ref.name, "") == ref.oid for ref in first):
            return True
        return not self.state.oids.isdisjoint(listing.oids())


@dataclass(frozen=True, slots=True)
class Summary:
    """What people are told of the refs of a repository.

    :param refs: how many heads and tags there are.
    :param head: the commit that HEAD names, None where it names none.
    :param head_ref: the ref that HEAD names, born or unborn; None where it is detached.
    """

    refs: int
    head: str | None
    head_ref: str | None


def summary_of(listing: Listing) -> Summary:
    """Sum a listing up."""
    state = of_listing(listing)
    named = state.head if state.head is not None and state.head.startswith("refs/") else None
    return Summary(len(state.refs), state.head_commit, named)
