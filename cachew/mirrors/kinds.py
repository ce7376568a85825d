"""Which upstream listing answers which client's question (pure).

Heads and tags are listed together, because nearly everyone asks for some of them. A client that asks for other prefixes
or for everything gets a listing of its own kind. ``git fetch origin main`` names six prefixes for ``main``, one for
each place where git would look (gitrevisions(7)); while a head or tag of that name exists, heads and tags answer it.
"""

from collections.abc import Iterable, Sequence

from cachew.upstream.listing import Listing

Kind = tuple[str, ...] | None
"""The ref prefixes that bound a listing; None lists all refs."""

MIRRORED_KIND: Kind = ("HEAD", "refs/heads/", "refs/tags/")
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
