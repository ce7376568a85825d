"""A few refs by which a repository is recognised when those that were asked for have moved.

Of very many refs only some are listed. Where all of these have moved, nothing shows that they are of the same
repository as before; then it is looked for in others. Once that was necessary these are asked for along with the next
ones, which is a request less for each push, until what was asked for is recognised by itself.
"""

from dataclasses import replace

from cachew.mirrors.gatelisteners import GateListeners
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import Question, is_mirrored
from cachew.mirrors.refknowledge import MirroredListings, RefOutcome
from cachew.plumbing.errors import UpstreamError
from cachew.upstream.listing import Listing
from cachew.upstream.remotes import Remotes

_MOST = 4


class Witnesses:
    """Recognises repositories by some of their refs.

    :param remotes: the ways to the upstreams.
    :param mirrored: what mirrors have.
    :param listeners: who knows of what repository a listing is.
    """

    def __init__(self, *, remotes: Remotes, mirrored: MirroredListings, listeners: GateListeners) -> None:
        self._remotes = remotes
        self._mirrored = mirrored
        self._listeners = listeners
        self._needed: set[Identity] = set()

    def asked_along(self, question: Question) -> tuple[str, ...]:
        """Return the names of those that are asked for together with some refs: all of them, or none."""
        identity, kind = question
        if kind is None or identity not in self._needed or not self._mirrored.is_part(question):
            return ()
        return tuple(name for name in self._names(identity) if name not in kind)

    async def recognise(
        self, identity: Identity, begun: RefOutcome, listing: Listing, together: Listing | None
    ) -> bool:
        """Say whether some refs are certainly of the same repository.

        :param begun: the question that they answer.
        :param listing: these.
        :param together: these with the witnesses, where those were asked for along; else they are asked for if need be.
        """
        instances = self._listeners.instances
        if await instances.listed_in_part(identity, begun.shown, listing, begun.number):
            self._needed.discard(identity)
            return True
        together = together or await self._with_witnesses(identity, begun, listing)
        if together is None or not await instances.listed_in_part(identity, begun.shown, together, begun.number):
            return False
        self._needed.add(identity)
        return True

    async def _with_witnesses(self, identity: Identity, begun: RefOutcome, listing: Listing) -> Listing | None:
        if not (names := self._names(identity)):
            return None
        try:
            others = await self._remotes.of(identity).list(names, begun.shown, None)
        except UpstreamError:
            return None
        return replace(listing, refs=(*listing.refs, *others.refs))

    def _names(self, identity: Identity) -> tuple[str, ...]:
        """Return the names of those that sort last: as prefixes they match nothing else."""
        listing = self._mirrored.listing(identity)
        refs = () if listing is None else listing.refs[-_MOST:]
        return tuple(sorted(ref.name for ref in refs if is_mirrored(ref.name)))
