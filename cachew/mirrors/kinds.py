"""Which upstream listing answers which client's question (pure).

Heads and tags are listed together, because nearly everyone asks for some of them. A client that asks for other prefixes
or for everything gets a listing of its own kind. ``git fetch origin main`` names six prefixes for ``main``, one for
each place where git would look (gitrevisions(7)); while a head or tag of that name exists, heads and tags answer it.

Of a repository with very many refs a client gets what it asks for and no more: a listing of a part.
"""

from collections.abc import Iterable, Sequence

from cachew.mirrors.identity import Identity
from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.manyrefs import ManyRefs

Kind = tuple[str, ...] | None
"""The ref prefixes that bound a listing; None lists all refs."""
Question = tuple[Identity, Kind]
"""What is asked of the upstream of a repository."""

MIRRORED_KIND: Kind = ("HEAD", "refs/heads/", "refs/tags/")
LEAST: Kind = ("HEAD",)
"""What costs an upstream least to list, and shows that it lets somebody read."""
NOTHING: Kind = ()
"""What lists no refs, and shows as well that an upstream lets somebody read."""
MANY_REFS = 2000
"""Refs of a repository beyond which nobody is made to wait for all of them who asked for some."""
EVERYTHING: Kind = None
MOST_PREFIXES = 1000
MOST_PREFIX_BYTES = 64 * 1024
_PLACES = ("{}", "refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")


def bounded(prefixes: Iterable[str]) -> tuple[str, ...]:
    """Return the prefixes, or none, which stands for all refs, when they are too many to ask an upstream for each.

    A server may answer with more refs than were asked for (gitprotocol-v2(5), ``ref-prefix``).
    """
    found = tuple(prefixes)
    return () if len(found) > MOST_PREFIXES or sum(map(len, found)) > MOST_PREFIX_BYTES else found


def exact_kind(prefixes: Sequence[str]) -> Kind:
    """Return a kind that certainly holds all that ``prefixes`` match."""
    if not prefixes:
        return EVERYTHING
    if all(map(is_mirrored, prefixes)):
        return MIRRORED_KIND
    return tuple(sorted(set(bounded(prefixes)))) or EVERYTHING


def looked_for(prefixes: tuple[str, ...]) -> tuple[Kind, Sequence[str] | None]:
    """Return a kind that certainly holds all that ``prefixes`` match, and the names that heads and tags may answer.

    :return: None for the names where heads and tags are what is asked for, or there is more than names to look for.
    """
    kind = exact_kind(prefixes)
    return kind, short_names(prefixes) if prefixes and kind != MIRRORED_KIND else None


def narrowed(prefixes: Sequence[str]) -> Kind:
    """Return the kind that holds all that ``prefixes`` match and as little else as can be asked for."""
    if not bounded(prefixes):
        return exact_kind(prefixes)
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    heads_and_tags = {"refs/heads/", "refs/tags/"}.issubset(kept) and all(map(is_mirrored, kept))
    return MIRRORED_KIND if heads_and_tags else tuple(kept)


def is_part(kind: Kind) -> bool:
    """Say whether a kind is bounded to some of the heads and tags, whatever else it holds."""
    return kind is not None and kind != MIRRORED_KIND and any(map(is_mirrored, kind))


def holds(kind: Kind, name: str) -> bool:
    """Say whether a listing of a kind tells of a ref, be it that there is none of that name."""
    return kind is None or name.startswith(kind)


def contradict(newer: Listing, of_kind: Kind, older: Listing, of_its_kind: Kind) -> bool:
    """Say whether two listings can't be of one moment: a ref that both tell of is different in them.

    Only the shorter one is gone through, and names that were asked for and have gone.
    """
    few, few_kind, many, many_kind = (
        (newer, of_kind, older, of_its_kind)
        if len(newer.refs) <= len(older.refs)
        else (older, of_its_kind, newer, of_kind)
    )
    told = many.by_name
    for ref in _unlike(few, many):
        if holds(many_kind, ref.name):
            other = told.get(ref.name)
            if other is None or (other.oid, other.symref_target) != (ref.oid, ref.symref_target):
                return True
    known = few.by_name
    return any(name in told and name not in known and holds(many_kind, name) for name in few_kind or ())


def _unlike(few: Listing, many: Listing) -> Iterable[RemoteRef]:
    """Return the refs of the one listing, but for those that are certainly the same in the other."""
    if not isinstance(few.refs, ManyRefs) or not isinstance(many.refs, ManyRefs):
        return few.refs
    names, _ = few.refs.differences(many.refs)
    head = [] if few.refs.head is None else [few.refs.head]
    return [*head, *(few.by_name[name] for name in names)]


def short_names(prefixes: Sequence[str]) -> list[str] | None:
    """Return the names that a client looks for in all of git's places.

    :return: None when a prefix is neither a head's or tag's nor one of a name's places, or there are very many.
    """
    if not bounded(prefixes):
        return None
    given = set(prefixes)
    names = [prefix for prefix in prefixes if given.issuperset(place.format(prefix) for place in _PLACES)]
    explained = {place.format(name) for name in names for place in _PLACES}
    if not all(prefix in explained or is_mirrored(prefix) for prefix in prefixes):
        return None
    return names


def resolves(listing: Listing, names: Iterable[str]) -> bool:
    """Say whether each name is HEAD, a head, a tag, or the full name of one in a listing of heads and tags."""
    known = listing.by_name
    return all(any(place.format(name) in known for place in _PLACES) for name in names)


def is_mirrored(prefix: str) -> bool:
    """Say whether whatever begins with ``prefix`` is among heads and tags, or is HEAD."""
    return prefix == "HEAD" or prefix.startswith(("refs/heads/", "refs/tags/"))
