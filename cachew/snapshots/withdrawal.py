"""Removes what was made of an instance of a repository that has ended.

Nobody can reach it any more: its keys hold the instance's id. This only gives the space back, here and in storage that
replicas share; what can't be removed now goes when it expires.
"""

from cachew.cache.interface import Cache
from cachew.mirrors.instance import Instance
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.productions import Productions, delete_each
from cachew.snapshots.variants import FILTERS, LFS, MIRROR, SNAPSHOT, Variant

_KNOWN = (Variant(SNAPSHOT), Variant(LFS), Variant(MIRROR), *(Variant(SNAPSHOT, filter=one) for one in FILTERS))


class Withdrawal:
    """Removes what was made of an ended instance, from the cache and from what is remembered.

    :param cache: where it is kept.
    :param bundles: knows the bundles of lists.
    :param productions: knows what was made here.
    """

    def __init__(self, *, cache: Cache, bundles: BundleStore, productions: Productions) -> None:
        self._cache = cache
        self._bundles = bundles
        self._productions = productions

    async def withdraw(self, instance: Instance) -> None:
        """Remove what is known to have been made of an instance.

        :raise StorageUnavailable: when the cache fails.
        """
        await self._productions.withdraw_of(instance, also=[variant.key(instance) for variant in _KNOWN])
        await delete_each(self._cache, await self._bundles.keys(instance))
