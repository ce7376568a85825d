"""What is kept of a repository's archives, as the cache tells it without being waited for."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.cache.interface import ObjectInfo
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import CachewError
from cachew.snapshots.store import Snapshots
from cachew.snapshots.variants import LFS, MIRROR, SNAPSHOT, Variant

_PATIENCE = 1.0
_KINDS = (SNAPSHOT, LFS, MIRROR)


@dataclass(frozen=True, kw_only=True)
class ArtefactStatus:
    """An archive that was made of a mirror.

    :param kind: ``snapshot``, ``lfs-snapshot`` or ``mirror``.
    :param size: its bytes.
    :param made: when, in seconds since the epoch.
    """

    kind: str
    size: int
    made: float


class ArchiveStatuses:
    """Asks for what is kept.

    :param snapshots: what has been made of mirrors.
    :param reactor: bounds how long a store is waited for.
    """

    def __init__(self, *, snapshots: Snapshots, reactor: IReactorTime) -> None:
        self._snapshots = snapshots
        self._reactor = reactor

    async def of(self, mirror: Mirror) -> Sequence[ArtefactStatus]:
        """Return what is kept that was made of a mirror."""
        infos = await gatherResults(
            [Deferred.fromCoroutine(self._stat(mirror, Variant(kind))) for kind in _KINDS], consumeErrors=True
        )
        found = zip(_KINDS, infos, strict=True)
        return [ArtefactStatus(kind=kind, size=info.size, made=info.modified) for kind, info in found if info]

    async def snapshots_of(self, mirrors: Sequence[Mirror]) -> list[ObjectInfo | None]:
        """Return what is known of each mirror's snapshot."""
        return await gatherResults(
            [Deferred.fromCoroutine(self._stat(mirror, Variant())) for mirror in mirrors], consumeErrors=True
        )

    async def _stat(self, mirror: Mirror, variant: Variant) -> ObjectInfo | None:
        """Return what is known of an archive, None when that takes long: a page is shown though a store hangs."""
        with suppress(CachewError, DeferredTimeout):
            asking = Deferred.fromCoroutine(self._snapshots.stat(mirror.instance, variant))
            return await asking.addTimeout(_PATIENCE, self._reactor)
        return None
