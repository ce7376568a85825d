"""What people see of every repository.

All of it is at hand, whatever it is of: no file is looked at for it and no ref, so that a page costs what it shows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cachew.cache.interface import ObjectInfo
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.usage import MirrorUsage
from cachew.plumbing.background import Background
from cachew.plumbing.errors import NotFound
from cachew.replicas.tally import Tally
from cachew.web.archivestatus import ArchiveStatuses, ArtefactStatus
from cachew.web.upstreamchecks import UpstreamChecks

_MOST_NAMED = 20
"""Refs of a repository that are named one by one."""


@dataclass(frozen=True, kw_only=True)
class RepositoryStatus:
    """One repository, as people want to see it. Times are seconds since the epoch, None for never.

    :param name: ``host/path``.
    :param state: the mirror's state (``empty``, ``cloning``, ``restoring``, ``ready``, ``fetching``), or ``suspect``
        while it is looked at because it may be damaged.
    :param size: bytes that the mirror occupies, None when not measured yet.
    :param refs: how many refs it has.
    :param head: the commit that HEAD names.
    :param checked: when its upstream last said what its refs are.
    :param fetched: when the last fetch into it succeeded.
    :param snapshot: when its cached snapshot was made.
    :param snapshot_size: bytes of that.
    :param used: when a client last asked for it.
    :param requests: how many requests it has answered since the start.
    :param clones_today: how often all replicas together have served clones of it since midnight UTC.
    :param stale: whether its refs are known to differ from the upstream's, or the upstream could not say when last
        asked.
    :param damage: which of the mirror's files were found damaged last, since the start.
    :param damaged: when that was.
    :param error: what last went wrong, empty when nothing has since it last went right.
    :param set_aside: refs that are not followed for now, with the reasons.
    :param findings: how often git disliked an object that came, by what it disliked; they are served all the same.
    """

    name: str
    state: str
    size: int | None = None
    refs: int = 0
    head: str | None = None
    checked: float | None = None
    fetched: float | None = None
    snapshot: float | None = None
    snapshot_size: int | None = None
    used: float | None = None
    requests: int = 0
    clones_today: int = 0
    stale: bool = False
    damage: str = ""
    damaged: float | None = None
    error: str = ""
    set_aside: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, int] = field(default_factory=dict)


class Statuses:
    """Sums repositories up.

    :param mirrors: their mirrors.
    :param freshness: the ref gate.
    :param checks: knows when upstreams were asked.
    :param archives: what has been made of mirrors.
    :param usage: knows when repositories were asked for.
    :param clones: counts clones of all replicas.
    :param background: where the other replicas' counts are read.
    """

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        freshness: Freshness,
        checks: UpstreamChecks,
        archives: ArchiveStatuses,
        usage: MirrorUsage,
        clones: Tally,
        background: Background,
    ) -> None:
        self._mirrors = mirrors
        self._freshness = freshness
        self._checks = checks
        self._archives = archives
        self._usage = usage
        self._clones = clones
        self._background = background

    async def one(self, identity: Identity) -> RepositoryStatus:
        """Return one.

        :raise NotFound: when it is not mirrored, nor about to be.
        """
        return (await self.of([await self._found(identity)]))[0]

    async def artefacts(self, identity: Identity) -> Sequence[ArtefactStatus]:
        """Return what is kept that was made of a repository's mirror.

        :raise NotFound: when it is not mirrored, nor about to be.
        """
        return await self._archives.of(await self._found(identity))

    async def _found(self, identity: Identity) -> Mirror:
        await self._mirrors.first_looks.look(identity)
        mirror = self._mirrors.find(identity)
        if mirror is None:
            raise NotFound(f"{identity.name} is not mirrored")
        return mirror

    async def of(self, mirrors: Sequence[Mirror]) -> list[RepositoryStatus]:
        """Return those of some mirrors."""
        # Nobody waits for the other replicas' counts: the next look shows them.
        counting = self._clones.refresh([mirror.identity.name for mirror in mirrors])
        self._background.start(counting, "reading clone counts of repositories")
        infos = await self._archives.snapshots_of(mirrors)
        return [self._status(mirror, info) for mirror, info in zip(mirrors, infos, strict=True)]

    def _status(self, mirror: Mirror, info: ObjectInfo | None) -> RepositoryStatus:
        identity, summary = mirror.identity, mirror.refs.summary
        known, failure = self._freshness.known.listing(identity), self._freshness.known.failure(identity)
        return RepositoryStatus(
            name=identity.name,
            state=mirror.life.condition,
            damage=mirror.damage.what or "",
            damaged=mirror.damage.at,
            size=mirror.place.repository.ledger.size if mirror.life.ready else None,
            refs=summary.refs,
            head=summary.head,
            checked=self._checks.last(mirror),
            fetched=mirror.life.last_fetch,
            snapshot=info.modified if info else None,
            snapshot_size=info.size if info else None,
            used=self._usage.last_used(identity),
            requests=self._usage.requests(identity),
            clones_today=self._clones.today(identity.name),
            stale=failure is not None or (known is not None and mirror.life.ready and mirror.refs.behind(known)),
            error=mirror.life.last_error or str(failure or ""),
            set_aside=mirror.refs.set_aside.reasons(_MOST_NAMED),
            findings=dict(mirror.place.repository.intake.findings()) if mirror.life.ready else {},
        )
