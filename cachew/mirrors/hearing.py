"""Who is told whatever upstreams say, before anything is done with it."""

from typing import Protocol

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Verdict
from cachew.upstream.listing import Listing


class Hearing(Protocol):
    """Is told whatever upstreams say; see :class:`cachew.mirrors.instances.Instances`."""

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Say what a listing of heads and tags, or of everything, means for what is kept.

        :param credential: what the upstream was shown.
        :param number: of the question; later ones have higher numbers.
        """

    async def listed_in_part(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> bool:
        """Say whether a listing of some refs is certainly of what is kept, so that nobody needs to see the others."""

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Take notice of a refusal."""


class HearsNothing:
    """Takes every listing for one of the same repository, and everybody's."""

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Say that it goes on."""
        return Verdict.GOES_ON

    async def listed_in_part(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> bool:
        """Say that it is."""
        return True

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Do nothing."""
