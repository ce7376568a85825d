"""The refs that a mirror's upstream had a moment ago.

A client that is told of a branch and asks for it by its name (``ref-in-want``) does so in two requests, between which
the branch may be deleted. Hosts that are asked by ids have the object nevertheless; so does the mirror.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from cachew.mirrors.kinds import MANY_REFS
from cachew.plumbing.clock import Clock
from cachew.plumbing.remembered import Expiring
from cachew.upstream.listing import Listing, RemoteRef

_MOMENT = 10.0
_REMEMBERED = 1000


class GoneRefs:
    """Remembers for ten seconds what deleted refs were.

    :param clock: tells how long ago that was.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._were: Expiring[str, str] = Expiring(clock=clock, capacity=_REMEMBERED)

    def clear(self) -> None:
        """Know of none."""
        self._were.clear()

    def note(self, before: Listing, now: Listing) -> None:
        """Take note of what is listed no longer; of very many refs nobody goes through all."""
        if max(len(before.refs), len(now.refs)) > MANY_REFS:
            return
        for name in before.by_name.keys() - now.by_name.keys():
            if oid := before.by_name[name].oid:
                self._were.put(name, oid, _MOMENT)

    def completed(self, listing: Listing, wanted: Sequence[str], present: Mapping[str, str]) -> Listing:
        """Return a listing with those of the wanted refs that have just gone from it.

        :param present: the refs that the mirror has, which may be about to follow the listing.
        """
        if len(wanted) > MANY_REFS:
            return listing
        listed = listing.by_name
        were = {name: present.get(name) or self._were.get(name) for name in wanted if name not in listed}
        gone = tuple(RemoteRef(name, oid) for name, oid in were.items() if oid)
        return replace(listing, refs=(*listing.refs, *gone)) if gone else listing
