"""Who hears what upstreams say where nobody asks whether repositories are the same."""

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Verdict
from cachew.upstream.listing import Listing


class HearsNothing:
    """Takes every listing for one of the same repository, and everybody's."""

    def knows(self, identity: Identity) -> bool:
        """Say that it is known."""
        return True

    async def listed(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> Verdict:
        """Say that it goes on."""
        return Verdict.GOES_ON

    async def listed_in_part(self, identity: Identity, credential: str | None, listing: Listing, number: int) -> bool:
        """Say that it is."""
        return True

    async def refused(self, identity: Identity, credential: str | None, status: int, number: int) -> None:
        """Do nothing."""
