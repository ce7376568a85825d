"""What the dashboard, the webhooks and the shell see of the running server, and what they can have it do."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IReactorTime

from cachew.cache.tiered import TieredCache
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.tidying import Tidying
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError, NotFound
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.shared import Shared
from cachew.plumbing.threads import Threads
from cachew.replicas.tally import Tally
from cachew.smarthttp.packcache import PackCache
from cachew.snapshots.store import Snapshots
from cachew.snapshots.variants import Variant
from cachew.web.forgeevents import address_of
from cachew.web.repositorylist import Choice, Sums
from cachew.web.statuses import PAGE, ArtefactStatus, Page, RepositoryStatus, Statuses

T = TypeVar("T")

_PATIENCE = 1.0
_SERVE = "serve"
"""What serving clients is called among the kinds of work."""

ACTIONS = ("fetch", "snapshot", "repack", "scrub", "forget")
"""What can be asked for a repository."""


@dataclass(frozen=True, kw_only=True)
class CacheStatus:
    """A store and how full it is.

    :param capacity: its limit in bytes, 0 for none.
    :param error: what is wrong with it, empty when it works.
    """

    name: str
    objects: int
    size: int
    capacity: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkStatus:
    """A piece of work under way.

    :param kind: ``fetch``, ``snapshot``, ``serve``, …
    :param began: when it began, or began to wait, in seconds since the epoch; of several, the first.
    :param count: how many pieces of it there are.
    :param waits: whether it waits for its turn.
    """

    kind: str
    repository: str
    began: float
    count: int = 1
    waits: bool = False


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The whole server at one moment.

    :param now: seconds since the epoch.
    :param started: when it started.
    :param served: git requests so far by where the answer came from.
    :param waiting: requests that wait for a git process.
    :param troubles: what does not work though the server serves, in words.
    """

    now: float
    started: float
    served: Mapping[str, int] = field(default_factory=dict)
    caches: Sequence[CacheStatus] = ()
    work: Sequence[WorkStatus] = ()
    waiting: int = 0
    troubles: Sequence[str] = ()


_UNCOUNTED = CacheStatus(name="objects", objects=0, size=0, capacity=0)
"""What is known of a store before it was counted."""


class Operations:
    """The running server, to those who look after it: the admin pages, the webhooks and the shell.

    :param unready: why no traffic should be sent here.
    :param mirrors: the mirrors.
    :param freshness: the ref gate.
    :param snapshots: what has been made of mirrors.
    :param cache: where that is.
    :param pack_cache: kept packs.
    :param places: where work waits for its turn, by its kind.
    :param background: work that nobody waits for.
    :param threads: for looking at files.
    :param metrics: what has been counted.
    :param reactor: bounds how long a store is waited for.
    :param clock: what time it is.
    :param fetch: brings a repository's mirror to where its upstream is now.
    :param make: makes an archive of a repository now.
    :param forget: gives up all that is kept of a repository.
    :param keeps: whether anything may be kept of one.
    :param usage: knows when repositories were asked for.
    :param clones: counts clones of all replicas.
    :param url_of: tells where a repository's upstream is, or has moved to.
    """

    def __init__(
        self,
        *,
        unready: Callable[[], str],
        mirrors: Mirrors,
        freshness: Freshness,
        snapshots: Snapshots,
        cache: TieredCache,
        pack_cache: PackCache,
        places: Mapping[str, Slots],
        background: Background,
        threads: Threads,
        metrics: Metrics,
        reactor: IReactorTime,
        clock: Clock,
        fetch: Callable[[Identity], Coroutine[Any, Any, object]],
        make: Callable[[Identity, Variant], Coroutine[Any, Any, object]],
        forget: Callable[[Identity], Coroutine[Any, Any, object]],
        keeps: Callable[[Identity], Awaitable[bool]],
        usage: Tidying,
        clones: Tally,
        url_of: Callable[[Identity], str],
    ) -> None:
        self._unready = unready
        self._mirrors = mirrors
        self._freshness = freshness
        self._cache = cache
        self._pack_cache = pack_cache
        self._places = places
        self._background = background
        self._threads = threads
        self._metrics = metrics
        self._clock = clock
        self._forget, self._keeps = forget, keeps
        self._fetch = fetch
        self._make = make
        self._reactor = reactor
        self._started = clock.now()
        self._url_of = url_of
        self._statuses = Statuses(
            mirrors=mirrors,
            freshness=freshness,
            snapshots=snapshots,
            usage=usage,
            clones=clones,
            background=background,
            reactor=reactor,
            clock=clock,
        )
        self._counting: Shared[str, None] = Shared(keep=True)
        self._counted: CacheStatus | None = None

    @property
    def started(self) -> float:
        """When the server was started, in seconds since the epoch."""
        return self._started

    async def sums(self) -> Sums:
        """Return what is known of all repositories together."""
        return await self._statuses.sums()

    def unready(self) -> str:
        """Return why the server does not want traffic, empty when it does."""
        return self._unready()

    async def overview(self) -> Overview:
        """Return the state of the server as a whole."""
        now = self._clock.now()
        return Overview(
            now=now,
            started=self._started,
            served=self.served(),
            caches=[await self._store(), self._packs()],
            work=self.work(),
            waiting=self._places[_SERVE].waiting,
            troubles=self.troubles(),
        )

    def now(self) -> float:
        """Return the time of day in epoch seconds."""
        return self._clock.now()

    def troubles(self) -> Sequence[str]:
        """Return what does not work though the server serves."""
        return self._cache.troubles

    def served(self) -> dict[str, int]:
        """Return the git requests answered so far, by where the answer came from."""
        counted: Counter[str] = Counter()
        for family in self._metrics.served.collect():
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.value:
                    counted[sample.labels["source"]] += int(sample.value)
        return dict(counted)

    def caches(self) -> list[CacheStatus]:
        """Return what the stores hold; of the cache's tiers, what the last count found, while a new one begins."""
        self._background.start(self._counting.run("store", self._count), "counting of the store")
        counted = [] if self._counted is None else [self._counted]
        return [*counted, self._packs()]

    async def count(self) -> None:
        """Count what the stores hold, so that the first who asks is told; one that takes long is counted behind."""
        await self._soon(self._counting.run("store", self._count))

    async def _store(self) -> CacheStatus:
        """Return the last count of the store; one that takes long is shown the next time."""
        await self.count()
        return self._counted or _UNCOUNTED

    async def _count(self) -> None:
        try:
            stats = await self._cache.stats()
        except CachewError as error:
            self._counted = replace(self._counted or _UNCOUNTED, error=str(error))
            return
        self._counted = CacheStatus(name="objects", objects=stats.objects, size=stats.size, capacity=stats.capacity)

    async def _soon(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return what work gives, None when it fails or takes long: a page is shown though a store hangs."""
        with suppress(CachewError, DeferredTimeout):
            return await Deferred.fromCoroutine(work).addTimeout(_PATIENCE, self._reactor)
        return None

    def _packs(self) -> CacheStatus:
        cache = self._pack_cache
        return CacheStatus(name="packs", objects=len(cache), size=cache.size, capacity=cache.limit)

    def work(self) -> Sequence[WorkStatus]:
        """Return what is done for repositories, and what waits to be; the oldest first."""
        now = self._clock.now()
        waiting = [
            WorkStatus(kind=kind, repository=name, began=now - seconds, count=count, waits=True)
            for kind, slots in self._places.items()
            for name, count, seconds in slots.queue
        ]
        waits = {(work.kind, work.repository) for work in waiting}
        running = [
            WorkStatus(kind=_SERVE, repository=name, began=now - seconds, count=count)
            for name, count, seconds in self._places[_SERVE].under_way
        ]
        for what, seconds in self._background.under_way:
            kind, _, name = what.partition(" of ")
            if "/" in name and (kind, name) not in waits:
                running.append(WorkStatus(kind=kind, repository=name, began=now - seconds))
        return sorted([*running, *waiting], key=lambda work: work.began)

    async def repositories(self) -> Sequence[RepositoryStatus]:
        """Return every repository that is mirrored or about to be, in the order of their names."""
        return await self._statuses.all()

    async def repository(self, identity: Identity) -> RepositoryStatus:
        """Return one repository.

        :raise NotFound: when it is not mirrored, nor about to be.
        """
        return await self._statuses.one(self._found(identity))

    def _found(self, identity: Identity) -> Mirror:
        mirror = self._mirrors.find(identity)
        if mirror is None:
            raise NotFound(f"{identity.name} is not mirrored")
        return mirror

    async def artefacts(self, identity: Identity) -> Sequence[ArtefactStatus]:
        """Return what is kept that was made of a repository's mirror.

        :raise NotFound: when it is not mirrored, nor about to be.
        """
        return await self._statuses.artefacts(self._found(identity))

    async def page(self, choice: Choice, count: int = PAGE) -> Page:
        """Return some of them, and what is known of all."""
        return await self._statuses.page(choice, count)

    def changed(self, identity: Identity) -> None:
        """Take notice that people would see something else of a repository than before."""
        self._statuses.changed(identity)

    def oldest_check(self) -> float:
        """Return how many seconds ago that upstream was asked last which was asked longest ago; 0 when none was."""
        return self._statuses.oldest_check()

    async def act(self, identity: Identity, action: str) -> None:
        """Begin an action on a repository; its end is not waited for.

        A fetch of one that is not mirrored mirrors it, so that it is there before anybody asks.

        :raise NotFound: when no such repository is mirrored, or nothing is there to be forgotten.
        :raise UnknownPath: when its host isn't admitted.
        """
        mirror = self._mirrors.find(identity)
        if action == "fetch" and (mirror is None or not mirror.ready):
            self._mirrors.try_again(identity)
            self._mirrors.want(identity)
            return
        if action == "forget":
            # LFS objects, snapshots and leave for them may be kept of what has no mirror.
            if mirror is None and not await self._keeps(identity):
                raise NotFound(f"nothing is kept of {identity.name}")
            self._background.start(self._forget(identity), f"forget of {identity.name}")
            return
        if mirror is None or not mirror.ready:
            raise NotFound(f"{identity.name} is not mirrored")
        actions: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "fetch": lambda: self._fetch(identity),
            "snapshot": lambda: self._make(identity, Variant()),
            "repack": mirror.maintenance.repack,
            "scrub": lambda: self._mirrors.examine(identity),
        }
        self._background.start(actions[action](), f"{action} of {identity.name}")

    async def bring(self, identity: Identity) -> None:
        """Have a repository mirrored, or its mirror fetched into, and wait for that.

        :raise CachewError: when it can't be done.
        """
        mirror = self._mirrors.find(identity)
        if mirror is not None and mirror.ready:
            await self._fetch(identity)
        else:
            self._mirrors.try_again(identity)
            await self._mirrors.made(identity)

    def mirrored_as(self, urls: Collection[str], paths: Collection[str]) -> Sequence[Identity]:
        """Return the mirrored repositories that have moved to one of the URLs, or have one of the paths."""
        addresses = {address_of(url).casefold() for url in urls} - {""}
        known = {path.casefold() for path in paths}

        def meant(identity: Identity) -> bool:
            return identity.path.casefold() in known or address_of(self._url_of(identity)).casefold() in addresses

        return [mirror.identity for mirror in self._mirrors if meant(mirror.identity)]

    async def pushed(self, identity: Identity) -> bool:
        """Take notice that something was pushed to a repository's upstream.

        :return: whether its mirror fetches now; False when there is none.
        """
        self._freshness.changed(identity)
        mirror = self._mirrors.find(identity)
        if mirror is None or not mirror.ready:
            return False
        self._background.start(self._fetch(identity), f"fetch of {identity.name}")
        return True
