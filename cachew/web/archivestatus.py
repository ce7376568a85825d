"""What is kept that was made of a repository, by kinds, as the stores tell it without being waited for."""

from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.cache.interface import ObjectInfo
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import CachewError
from cachew.plumbing.together import all_of
from cachew.smarthttp.keptpacks import KeptPacks
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.store import Snapshots
from cachew.snapshots.variants import LFS, MIRROR, SNAPSHOT, Variant

T = TypeVar("T")

_PATIENCE = 1.0
_KINDS = (SNAPSHOT, LFS, MIRROR)


@dataclass(frozen=True, kw_only=True)
class ArtefactStatus:
    """What is kept that was made of a mirror.

    :param kind: ``snapshot``, ``lfs-snapshot`` or ``mirror`` for an archive, ``bundles`` or ``packs`` for all of these.
    :param size: its bytes.
    :param made: when, in seconds since the epoch; None for what was made by and by.
    """

    kind: str
    size: int
    made: float | None = None


class ArchiveStatuses:
    """Asks for what is kept.

    :param snapshots: what has been made of mirrors.
    :param bundles: the bundle lists.
    :param packs: kept answers.
    :param reactor: bounds how long a store is waited for.
    """

    log = Logger()

    def __init__(self, *, snapshots: Snapshots, bundles: BundleStore, packs: KeptPacks, reactor: IReactorTime) -> None:
        self._snapshots = snapshots
        self._bundles = bundles
        self._packs = packs
        self._reactor = reactor

    async def of(self, mirror: Mirror) -> Sequence[ArtefactStatus]:
        """Return what is kept that was made of a mirror."""
        infos = await all_of(self._stat(mirror, Variant(kind)) for kind in _KINDS)
        found = zip(_KINDS, infos, strict=True)
        archives = [ArtefactStatus(kind=kind, size=info.size, made=info.modified) for kind, info in found if info]
        bundles = await self._soon(self._bundles.size(mirror.life.instance)) or 0
        sizes = {"bundles": bundles, "packs": await self._soon(self._packs.size_of(mirror.identity.name)) or 0}
        return [*archives, *(ArtefactStatus(kind=kind, size=size) for kind, size in sizes.items() if size)]

    async def snapshots_of(self, mirrors: Sequence[Mirror]) -> list[ObjectInfo | None]:
        """Return what is known of each mirror's snapshot."""
        return await all_of(self._stat(mirror, Variant()) for mirror in mirrors)

    async def _stat(self, mirror: Mirror, variant: Variant) -> ObjectInfo | None:
        """Return what is known of an archive."""
        return await self._soon(self._snapshots.stat(mirror.life.instance, variant))

    async def _soon(self, asking: Coroutine[Any, Any, T]) -> T | None:
        """Return what a store tells, None when that fails or takes long: a page is shown though a store hangs."""
        try:
            return await Deferred.fromCoroutine(asking).addTimeout(_PATIENCE, self._reactor)
        except CancelledError:
            raise
        except (CachewError, DeferredTimeout):
            return None
        except Exception:  # one store that is broken in whatever way is no reason to show nothing of the rest
            self.log.failure("it can't be told what a store keeps")
            return None
