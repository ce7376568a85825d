"""What the schedule does to repositories besides making archives of them."""

from collections.abc import Callable

from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.upkeep import Refresh


class Chores:
    """Repacks mirrors and keeps bundle lists up to date.

    :param find_mirror: gives the mirror that is ready, or None.
    :param refresh: brings mirrors up to date.
    :param bundles: the bundle lists.
    """

    def __init__(
        self, *, find_mirror: Callable[[Identity], Mirror | None], refresh: Refresh, bundles: BundleStore
    ) -> None:
        self._find_mirror = find_mirror
        self._refresh = refresh
        self._bundles = bundles

    async def repack(self, identity: Identity) -> bool:
        """Join the packs of a mirror.

        :return: whether there were any to be joined.
        """
        mirror = self._find_mirror(identity)
        # A single pack has nothing to be joined with, and what it holds has been fetched or repacked as a whole.
        if mirror is None or mirror.place.repository.packs.count() <= 1:
            return False
        await mirror.maintenance.repack()
        return True

    async def update_bundles(self, identity: Identity) -> bool:
        """Bring a repository's bundle list up to date.

        :return: whether anything was made.
        """
        await self._refresh(identity)
        return await self._bundles.update(identity)
