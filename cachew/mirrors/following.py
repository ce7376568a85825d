"""How mirrors follow their upstreams: what a listing shows to be new is fetched, and nobody waits for that."""

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import Kind
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.moved import Moved
from cachew.plumbing.background import Background
from cachew.upstream.listing import Listing


class Following:
    """Starts one fetch when a listing and a mirror differ.

    :param mirrors: the mirrors.
    :param background: where fetches run.
    """

    def __init__(self, *, mirrors: Mirrors, background: Background) -> None:
        self._mirrors = mirrors
        self._background = background

    def listed(self, identity: Identity, listing: Listing, started: float) -> None:
        """Take notice of what an upstream has listed.

        :param started: when it was asked, by the reactor's clock.
        """
        mirror = self._mirrors.ready(identity)
        if mirror is not None and mirror.refs.behind(listing):
            self._background.start(self._follow(mirror, listing, started), f"fetch of {identity.name}")

    def listed_in_part(self, identity: Identity, kind: Kind, listing: Listing, started: float) -> None:
        """Take notice of what an upstream has listed of some refs.

        :param kind: what the listing is bounded to.
        :param started: when it was asked, by the reactor's clock.
        """
        mirror = self._mirrors.ready(identity)
        if mirror is not None and (moved := mirror.refs.moved(kind, listing)):
            self._background.start(self._follow_part(mirror, moved, started), f"fetch of {identity.name}")

    async def _follow_part(self, mirror: Mirror, moved: Moved, started: float) -> None:
        await mirror.updates.sync_part(moved, started)
        await mirror.maintenance.index_after_fetch(mirror.updates.fetches)

    async def _follow(self, mirror: Mirror, listing: Listing, started: float) -> None:
        await mirror.updates.sync(listing, started)
        await mirror.maintenance.index_after_fetch(mirror.updates.fetches)
