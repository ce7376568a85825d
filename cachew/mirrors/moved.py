"""Refs that have moved, where only some of very many were listed (pure): what that costs depends on how many they are.

A listing of a hundred thousand refs differs from the one before in one or two. Here the next one is made of the last
one and the difference, and so is what was derived of it.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice

from cachew.mirrors.kinds import MANY_REFS, Kind, is_mirrored
from cachew.mirrors.packanswer import MOST_HAVES
from cachew.mirrors.refs import MIRRORED, Change, RefState, mirrored_part, of_listing, valid_name, weight_of, with_moved
from cachew.upstream.listing import Listing, Prefixes, RemoteRef
from cachew.upstream.manyrefs import ManyRefs
from cachew.upstream.refblocks import NotOrdinary
from cachew.upstream.refviews import TipsByName

HEAD = "HEAD"
_FEW_MOVED = 100
"""Refs beyond which it is not worth while to tell git of a few alone when they move."""
Moved = Mapping[str, RemoteRef | None]
"""Refs by their names as they are now; None for one that is no more."""


def moved_in_part(present: Listing, kind: Kind, listing: Listing) -> dict[str, RemoteRef | None]:
    """Return which of the mirrored refs that are listed are not as they are in the mirror.

    Of what is no more, only what was asked for by its full name is noticed.

    :param present: what the mirror has.
    :param kind: what the listing is bounded to.
    """
    refs = of_listing(present).refs
    found: dict[str, RemoteRef | None] = {
        name: None for name in kind or () if name in refs and is_mirrored(name) and name not in listing.by_name
    }
    for ref in _unlike(refs, kind, listing):
        mirrored = ref.name.startswith(MIRRORED) and ref.oid
        if mirrored and refs.get(ref.name) != ref.oid and valid_name(ref.name):
            found[ref.name] = ref
    head = listing.by_name.get(HEAD)
    if head is not None and head.oid is not None:
        found |= _with_head(present, head, found)
    return found


def _unlike(refs: Mapping[str, str], kind: Kind, listing: Listing) -> Iterable[RemoteRef]:
    """Return what is listed, but for what is certainly the same where there is very much."""
    if not isinstance(listing.refs, ManyRefs) or not isinstance(refs, TipsByName):
        return listing.refs
    _, listed = refs.many.within(Prefixes(kind or ("",))).differences(listing.refs)
    return [listing.by_name[name] for name in listed]


def _with_head(present: Listing, head: RemoteRef, found: Moved) -> dict[str, RemoteRef | None]:
    target = head.symref_target
    named = {} if target is None or not target.startswith(MIRRORED) or target in found else {target: head.oid}
    refs = of_listing(present).refs
    moved: dict[str, RemoteRef | None] = {
        name: RemoteRef(name, oid, None, head.peeled) for name, oid in named.items() if refs.get(name) != oid
    }
    before = present.by_name.get(HEAD)
    elsewhere = before is None or before.symref_target != target or (target is None and before.oid != head.oid)
    return moved | ({HEAD: head} if elsewhere else {})


def change_of(present: RefState, moved: Moved) -> Change:
    """Return the step that moves some refs of a repository to where they should be."""
    updates = {name: ref.oid for name, ref in moved.items() if name != HEAD and ref is not None and ref.oid}
    deletions = tuple(name for name, ref in moved.items() if ref is None and name in present.refs)
    left = {name: present.refs[name] for name in (*updates, *deletions) if name in present.refs}
    passed = {oid for name, oid in left.items() if name.startswith("refs/heads/") and name in updates}
    head = moved.get(HEAD)
    named = None if head is None else head.symref_target or head.oid
    return Change(
        updates,
        deletions,
        tuple(sorted(set(left.values()).difference(updates.values()))),
        tuple(sorted(passed.difference(updates.values()))),
        named if named != present.head else None,
    )


def near_of(step: Change, present: RefState, lacking: Collection[str]) -> frozenset[str]:
    """Return tips that have nearly all that is behind the new ones, of very many that there are.

    Git sees no others then.

    :param step: what moves.
    :param present: the refs as they are.
    :param lacking: the object ids that are to come.
    :return: none where that is not certain, or where there are so few refs that it does not matter.
    """
    return frozenset() if len(present.refs) <= MANY_REFS else _left_by(step, present, lacking)


def haves_of(step: Change, present: RefState, lacking: Collection[str]) -> frozenset[str]:
    """Return tips that have nearly all that is behind the new ones; none where that is not certain.

    All tips, where these are a few: something may have been merged.
    """
    near = _left_by(step, present, lacking)
    if not near or len(present.refs) > MOST_HAVES:
        return near
    return near.union(present.oids)


def _left_by(step: Change, present: RefState, lacking: Collection[str]) -> frozenset[str]:
    """Return what refs had that have moved, and HEAD's; none where some of the new ones are not those of such refs."""
    moved = dict(islice(((name, oid) for name, oid in step.updates.items() if oid in lacking), _FEW_MOVED + 1))
    known = len(moved) <= _FEW_MOVED and all(name in present.refs for name in moved)
    if not known or not set(lacking).issubset(moved.values()):
        return frozenset()
    left = {present.refs[name] for name in moved}
    head = present.head_commit
    return frozenset(left if head is None else {*left, head})


def with_refs(listing: Listing, moved: Moved) -> Listing:
    """Return a listing with some refs as they are now, and what had been derived of it before."""
    changes = {**moved, **_head_after(listing.by_name, moved)}
    if isinstance(listing.refs, ManyRefs):
        with suppress(NotOrdinary):
            return replace(listing, refs=listing.refs.changed(changes))
    by_name = dict(listing.by_name)
    refs = list(listing.refs)
    for name, ref in changes.items():
        _place(refs, name, ref, there=name in by_name)
        if ref is None:
            by_name.pop(name, None)
        else:
            by_name[name] = ref
    after = replace(listing, refs=tuple(refs))
    state = with_moved(of_listing(listing), moved, by_name.get(HEAD), by_name)
    after.derived(by_name, {mirrored_part: state, weight_of: listing.once(weight_of)})
    return after


def _head_after(by_name: Mapping[str, RemoteRef], moved: Moved) -> dict[str, RemoteRef | None]:
    """Let a symbolic HEAD have what its branch has now."""
    head = moved.get(HEAD) or by_name.get(HEAD)
    if head is None or head.symref_target is None:
        return {}
    target = moved[head.symref_target] if head.symref_target in moved else by_name.get(head.symref_target)
    oid, peeled = (None, None) if target is None else (target.oid, target.peeled)
    return {HEAD: replace(head, oid=oid, peeled=peeled)}


def _place(refs: list[RemoteRef], name: str, ref: RemoteRef | None, *, there: bool) -> None:
    first = 1 if refs and refs[0].name == HEAD else 0
    at = 0 if name == HEAD else bisect_left(refs, name, lo=first, key=lambda one: one.name)
    if there and (at >= len(refs) or refs[at].name != name):
        # Not every upstream lists in the order of names.
        at = next(place for place, one in enumerate(refs) if one.name == name)
    refs[at : at + there] = [] if ref is None else [ref]


def overlaid(listing: Listing, moved: Moved) -> Listing:
    """Return a listing with those refs as they are now that were listed later than it."""
    return with_refs(listing, moved) if moved else listing
