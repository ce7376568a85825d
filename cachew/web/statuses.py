"""What people see of every repository.

All of it is at hand, whatever it is of: no file is looked at for it and no ref, so that a page costs what it shows.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.cache.interface import ObjectInfo
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.tidying import Tidying
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.replicas.tally import Tally
from cachew.snapshots.store import Snapshots
from cachew.snapshots.variants import LFS, MIRROR, SNAPSHOT, Variant
from cachew.web.repositorylist import STATES, Choice, RepositoryList, Sums

_MOST_NAMED = 20
"""Refs of a repository that are named one by one."""
_PATIENCE = 1.0
_AT_ONCE = 50
PAGE = 25
"""Repositories on a page."""


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


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some repositories, and what is known of all.

    :param rows: these.
    :param choice: what was asked for, with as many left out as were.
    :param matching: how many there are of the kind that was asked for.
    :param known: how many there are.
    :param ready: how many of these serve.
    :param mirrored: bytes that their mirrors occupy.
    :param states: how many are in which state; one may be in several.
    :param hosts: their upstreams.
    """

    rows: Sequence[RepositoryStatus] = ()
    choice: Choice = field(default_factory=Choice)
    matching: int = 0
    known: int = 0
    ready: int = 0
    mirrored: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    hosts: Sequence[str] = ()


class Statuses:
    """Sums repositories up.

    :param mirrors: their mirrors.
    :param freshness: the ref gate.
    :param snapshots: what has been made of mirrors.
    :param usage: knows when repositories were asked for.
    :param clones: counts clones of all replicas.
    :param background: where the other replicas' counts are read.
    :param reactor: bounds how long a store is waited for.
    :param clock: what time it is.
    """

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        freshness: Freshness,
        snapshots: Snapshots,
        usage: Tidying,
        clones: Tally,
        background: Background,
        reactor: IReactorTime,
        clock: Clock,
    ) -> None:
        self._mirrors = mirrors
        self._freshness = freshness
        self._snapshots = snapshots
        self._usage, self._clones = usage, clones
        self._background = background
        self._reactor, self._clock = reactor, clock
        self._list = RepositoryList(mirrors=mirrors, freshness=freshness, usage=usage, reactor=reactor)

    async def all(self) -> Sequence[RepositoryStatus]:
        """Return all in the order of their names; others have their turn meanwhile."""
        statuses: list[RepositoryStatus] = []
        mirrors = _in_order(self._mirrors)
        for start in range(0, len(mirrors), _AT_ONCE):
            if start:
                await deferLater(self._reactor, 0)
            statuses += await self._of(mirrors[start : start + _AT_ONCE])
        return statuses

    async def one(self, mirror: Mirror) -> RepositoryStatus:
        """Return one."""
        return (await self._of([mirror]))[0]

    async def page(self, choice: Choice, count: int) -> Page:
        """Return some; see :meth:`cachew.web.status.Operations.page`."""
        await self._list.refresh()
        meant, sums = self._list.chosen(choice), self._list.sums
        first = max(0, min(choice.first, len(meant) - 1) // count * count)
        return Page(
            rows=await self._of(meant[first : first + count]),
            choice=replace(choice, first=first),
            matching=len(meant),
            known=sums.known,
            ready=sums.ready,
            mirrored=sums.mirrored,
            states={state: sums.states[state] for state in STATES},
            hosts=sorted(host for host, number in sums.hosts.items() if number > 0),
        )

    async def sums(self) -> Sums:
        """Return what is known of all."""
        await self._list.refresh()
        return self._list.sums

    def changed(self, identity: Identity) -> None:
        """Take notice that people would see something else of a repository than before."""
        self._list.changed(identity)

    async def _of(self, mirrors: Sequence[Mirror]) -> list[RepositoryStatus]:
        # Nobody waits for the other replicas' counts: the next look shows them.
        counting = self._clones.refresh([mirror.identity.name for mirror in mirrors])
        self._background.start(counting, "reading clone counts of repositories")
        infos: list[ObjectInfo | None] = await gatherResults(
            [Deferred.fromCoroutine(self._stat(mirror, Variant())) for mirror in mirrors], consumeErrors=True
        )
        return [self._status(mirror, info) for mirror, info in zip(mirrors, infos, strict=True)]

    async def artefacts(self, mirror: Mirror) -> Sequence[ArtefactStatus]:
        """Return what is kept that was made of a mirror."""
        kinds = (SNAPSHOT, LFS, MIRROR)
        infos: list[ObjectInfo | None] = await gatherResults(
            [Deferred.fromCoroutine(self._stat(mirror, Variant(kind))) for kind in kinds], consumeErrors=True
        )
        found = zip(kinds, infos, strict=True)
        return [ArtefactStatus(kind=kind, size=info.size, made=info.modified) for kind, info in found if info]

    async def _stat(self, mirror: Mirror, variant: Variant) -> ObjectInfo | None:
        """Return what is known of an archive, None when that takes long: a page is shown though a store hangs."""
        with suppress(CachewError, DeferredTimeout):
            asking = Deferred.fromCoroutine(self._snapshots.stat(mirror.instance, variant))
            return await asking.addTimeout(_PATIENCE, self._reactor)
        return None

    def _last_checked(self, mirror: Mirror) -> float | None:
        """Return when the upstream last said what its refs are: of what is known, the latest."""
        identity = mirror.identity
        known = (
            self._freshness.checked(identity, self._clock.now()),
            self._usage.last_checked(identity),
            mirror.last_fetch,
        )
        return max((at for at in known if at is not None), default=None)

    def oldest_check(self) -> float:
        """Return how many seconds ago that upstream was asked last which was asked longest ago; 0 when none was."""
        asked = [self._last_checked(mirror) for mirror in self._mirrors.known() if mirror.ready]
        known = [at for at in asked if at is not None]
        return max(0.0, self._clock.now() - min(known)) if known else 0.0

    def _status(self, mirror: Mirror, info: ObjectInfo | None) -> RepositoryStatus:
        identity, summary = mirror.identity, mirror.summary
        known, failure = self._freshness.known(identity), self._freshness.failure(identity)
        return RepositoryStatus(
            name=identity.name,
            state=mirror.condition,
            damage=mirror.damage or "",
            damaged=mirror.damaged_at,
            size=_size(mirror),
            refs=summary.refs,
            head=summary.head,
            checked=self._last_checked(mirror),
            fetched=mirror.last_fetch,
            snapshot=info.modified if info else None,
            snapshot_size=info.size if info else None,
            used=self._usage.last_used(identity),
            requests=self._usage.requests(identity),
            clones_today=self._clones.today(identity.name),
            stale=failure is not None or (known is not None and mirror.ready and mirror.behind(known)),
            error=mirror.last_error or str(failure or ""),
            set_aside=dict(islice(mirror.set_aside.reasons.items(), _MOST_NAMED)),
            findings=dict(mirror.repository.intake.findings()) if mirror.ready else {},
        )


def _in_order(mirrors: Mirrors) -> list[Mirror]:
    return sorted(mirrors.known(), key=lambda mirror: mirror.identity.name)


def _size(mirror: Mirror) -> int | None:
    return mirror.repository.ledger.size if mirror.ready else None
