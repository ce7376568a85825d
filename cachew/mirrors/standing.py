"""What mirrors need to know of instances, and nothing else of them."""

from collections.abc import Sequence
from typing import Protocol

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.upstream.listing import Listing


class Standing(Protocol):
    """Knows which instance each repository is of now; see :class:`cachew.mirrors.instances.Instances`."""

    def current(self, identity: Identity) -> Instance | None:
        """Return the present instance, None while there is none."""

    def is_current(self, instance: Instance) -> bool:
        """Whether an instance is the present one of its repository."""

    def doubted_tips(self, instance: Instance, listing: Listing) -> Sequence[str] | None:
        """Return by which object ids an instance is recognised, None when it is certain that a listing is of it."""

    def undecided(self, instance: Instance) -> None:
        """Take notice that it could not be found out whether a listing shares history with an instance."""

    async def compared(self, instance: Instance, listing: Listing, *, related: bool) -> None:
        """Take notice of whether a listing shares history with an instance."""
