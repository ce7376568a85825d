"""Which refs a client was told of a moment ago.

Git asks for refs by their names (``ref-in-want``) when it has been told of them, but goes by what it was told: a clone
puts its branch where the listing had it, and a fetch checks that this has come. When a ref has moved in between, the
object that it was told of is sent as well, as a host would that is asked by ids.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from weakref import ref

from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MANY_REFS
from cachew.plumbing.clock import Clock
from cachew.plumbing.remembered import Expiring
from cachew.upstream.listing import Listing

_MOMENT = 10.0
_CLIENTS = 1000
_LISTINGS = 3
"""Of a client's, which many may share an address."""
_MOST_REFS = 200_000
"""In all of the listings that nobody else has any more: some 60 MB."""
_OF_A_LISTING = 10
"""Refs that take as much room as what a listing takes besides."""


class ToldListings:
    """Remembers for some seconds what clients were told.

    :param clock: tells how long ago that was.
    :param client_of: tells a request's client.
    """

    def __init__(self, *, clock: Clock, client_of: Callable[[Any], str]) -> None:
        self._clock = clock
        self.client_of = client_of
        self._told: Expiring[tuple[str, str], tuple[tuple[float, ref[Listing]], ...]] = Expiring(
            clock=clock, capacity=_CLIENTS
        )
        self._kept: OrderedDict[int, Listing] = OrderedDict()
        self._weight = 0

    def note(self, request: Any, identity: Identity, listing: Listing) -> None:
        """Take note of a listing that is told, unless it is very long."""
        if len(listing.refs) > MANY_REFS:
            return
        self._keep(listing)
        key, until = (identity.name, self.client_of(request)), self._clock.seconds() + _MOMENT
        others = [entry for entry in self._told.get(key) or () if entry[1]() is not listing]
        self._told.put(key, ((until, ref(listing)), *others[: _LISTINGS - 1]), _MOMENT)

    def _keep(self, listing: Listing) -> None:
        if self._kept.pop(id(listing), None) is None:
            self._weight += len(listing.refs) + _OF_A_LISTING
        self._kept[id(listing)] = listing
        while self._weight > _MOST_REFS:
            _, gone = self._kept.popitem(last=False)
            self._weight -= len(gone.refs) + _OF_A_LISTING

    def forget(self, request: Any, identity: Identity) -> None:
        """Know of nothing that the request's client was told."""
        self._told.forget((identity.name, self.client_of(request)))

    def otherwise(self, request: Any, identity: Identity, names: Sequence[str], listing: Listing) -> list[str]:
        """Return the objects that the request's client was told that refs are, where it is no longer so.

        :param names: the refs.
        :param listing: what they are now.
        """
        now = self._clock.seconds()
        told = self._told.get((identity.name, self.client_of(request))) or ()
        older = (kept() for until, kept in told if until > now)
        others = (one for one in older if one is not None and one is not listing)
        return list(dict.fromkeys(oid for one in others for oid in _moved(one, names, listing)))


def _moved(told: Listing, names: Sequence[str], listing: Listing) -> Iterator[str]:
    for name in names:
        was, now = told.by_name.get(name), listing.by_name.get(name)
        if was is not None and was.oid and (now is None or now.oid != was.oid):
            yield was.oid
