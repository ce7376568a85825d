"""One repository's mirror: its state, and the one fetch in flight that everyone joins.

Clients never wait for a mirror to learn the refs; they wait for it only when they want objects that it does not have.
Then they join the fetch under way, or start the one that all later ones join: first towards the refs that the upstream
has listed, then for the exact object ids.
"""

import json
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MIRRORED_KIND
from cachew.mirrors.machine import Event, State, step
from cachew.mirrors.refs import RefState, change, of_listing
from cachew.mirrors.repository import GitRunner, Repository, remove_leftovers, remove_tree
from cachew.plumbing.errors import CachewError, NotFound, ProcessFailed
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.shared import Shared
from cachew.upstream.listing import Listing

RECORD = "cachew.json"
"""The file in a mirror that says which repository it is."""
_MANY_PACKS = 24
_MANY_IDS = 8


class Remote(Protocol):
    """How a mirror reaches its upstream, with the server's own credentials."""

    url: str

    async def list_refs(self) -> Listing:
        """List HEAD, heads and tags."""

    async def fetch_url(self) -> str:
        """Return the URL to fetch from, after whatever redirect was allowed."""

    async def git_environment(self) -> Mapping[str, str]:
        """Return what a git child needs in its environment to be let in."""


@asynccontextmanager
async def _holding(lock: DeferredLock) -> AsyncIterator[None]:
    await lock.acquire()
    try:
        yield
    finally:
        lock.release()


class Mirror:
    """The mirror of one repository.

    :param identity: which.
    :param directory: where it is once it is ready.
    :param aside: where new ones are made, on the same file system.
    :param remote: its upstream.
    :param git: how to run git.
    :param clock: where intervals come from.
    :param now: the time of day in epoch seconds.
    :param metrics: where fetches are counted.
    :param keep_days: how long objects that lost their ref are kept.
    """

    log = Logger()

    def __init__(
        self,
        *,
        identity: Identity,
        directory: Path,
        aside: Path,
        remote: Remote,
        git: GitRunner,
        clock: IReactorTime,
        now: Callable[[], float],
        metrics: Metrics,
        keep_days: int = 7,
    ) -> None:
        self.identity = identity
        self.directory = directory
        self.remote = remote
        self.state = State.EMPTY
        self._listing, self._refs = Listing(refs=()), RefState()
        self.last_fetch: float | None = None
        self.last_error: str | None = None
        self._aside, self._git, self._clock, self._now = aside, git, clock, now
        self._metrics, self._keep_days = metrics, keep_days
        self._repository: Repository | None = None
        self._lock, self._upkeep_lock = DeferredLock(), DeferredLock()
        self._rounds: Shared[str, None] = Shared(keep=True)
        self._tickets = self._served = 0
        self._target: Listing | None = None
        self._listed_at = float("-inf")
        self._ids: dict[str, None] = {}

    # --- what others may know -----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests may be answered from it."""
        return self.state.serves

    @property
    def upstream_url(self) -> str:
        """The upstream's URL: what clients know as ``origin``."""
        return self.remote.url

    @property
    def listing(self) -> Listing:
        """Its refs as the upstream listed them."""
        return self._listing

    def _has(self, listing: Listing) -> None:
        self._listing = listing.filtered(MIRRORED_KIND)
        self._refs = of_listing(listing)

    @property
    def refs(self) -> Mapping[str, str]:
        """Its heads and tags, full name to object id."""
        return self._refs.refs

    @property
    def head_commit(self) -> str | None:
        """The commit that HEAD names, None where it names none."""
        return self._refs.head_commit

    @property
    def object_format(self) -> str:
        """``sha1`` or ``sha256``."""
        return self.listing.object_format

    @property
    def repository(self) -> Repository:
        """The repository on disk.

        :raise NotFound: while there is none.
        """
        if self._repository is None:
            raise NotFound(f"{self.identity.name} is not mirrored")
        return self._repository

    def missing(self, oids: Iterable[str]) -> list[str]:
        """Return those of the object ids that the mirror does not have."""
        return self.repository.objects.missing(oids)

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the mirror's lock: one fetch, repack or archive at a time. Serving never takes it."""
        async with _holding(self._lock):
            yield

    def _upkeep(self) -> AbstractAsyncContextManager[None]:
        return _holding(self._upkeep_lock)

    def _step(self, event: Event) -> None:
        self.state = step(self.state, event)

    # --- coming into being --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up the mirror found at its place, after removing what a killed git left.

        :raise CachewError: when it is not usable; the caller discards it.
        """
        try:
            record = json.loads((self.directory / RECORD).read_text())
            object_format = record["object-format"]
            if record["repository"] != self.identity.name or object_format not in ("sha1", "sha256"):
                raise ValueError("another repository's record")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NotFound(f"no mirror of {self.identity.name}: {error}") from error
        await self._git.threads(remove_leftovers, self.directory)
        repository = Repository(directory=self.directory, object_format=object_format, git=self._git)
        repository.configure(self.upstream_url)
        self._has(await repository.read_listing())
        self.last_fetch = (self.directory / RECORD).stat().st_mtime
        self._repository = repository
        self._step(Event.FOUND)

    async def clone(self, seed: Callable[[Path], Coroutine[Any, Any, bool]] | None = None) -> None:
        """Make the mirror aside and rename it into place.

        :param seed: fills a directory from a mirror snapshot and says whether it could; the rest is then fetched.
        :raise CachewError: when the upstream has no refs yet, refuses, or fails; nothing is left behind.
        """
        aside = self._aside / f"{uuid.uuid4().hex}.git"
        self._step(Event.RESTORE if seed else Event.CLONE)
        started = self._clock.seconds()
        try:
            async with self.exclusive():
                await self._make(aside, seed)
                self._settle_in(aside)
        except BaseException as error:
            self._step(Event.FAILED)
            self.last_error = str(error)
            self._metrics.fetches.labels("clone-failed").inc()
            await self._git.threads(remove_tree, aside)
            raise
        self._metrics.fetches.labels("cloned").inc()
        self.log.info(
            "mirrored {repository} in {seconds:.1f}s",
            repository=self.identity.name,
            seconds=self._clock.seconds() - started,
        )

    async def _make(self, aside: Path, seed: Callable[[Path], Coroutine[Any, Any, bool]] | None) -> None:
        aside.parent.mkdir(parents=True, exist_ok=True)
        restored = seed is not None and await seed(aside)
        if not restored and self.state is State.RESTORING:
            await self._git.threads(remove_tree, aside)
            self._step(Event.CLONE)
        listing = await self.remote.list_refs()
        wanted = of_listing(listing)
        if not wanted.refs:
            raise NotFound(f"{self.identity.name} has no branches yet")
        repository = Repository(directory=aside, object_format=listing.object_format, git=self._git.for_clone())
        if restored:
            repository.configure(self.upstream_url)
        else:
            await repository.create(self.upstream_url)
        oids = {*wanted.refs.values(), *filter(None, [wanted.head_commit])}
        await self._bring(repository, listing, repository.objects.missing(oids))
        await repository.write_new_refs(listing)
        repository.objects.close()
        self._has(listing)

    def _settle_in(self, aside: Path) -> None:
        record = {"repository": self.identity.name, "object-format": self.listing.object_format}
        (aside / RECORD).write_text(json.dumps(record))
        remove_tree(self.directory)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        aside.rename(self.directory)
        self._repository = Repository(
            directory=self.directory, object_format=self.listing.object_format, git=self._git
        )
        self._step(Event.DONE)
        self._fetched()

    def _fetched(self) -> None:
        self.last_fetch = self._now()
        self.last_error = None
        (self.directory / RECORD).touch()

    async def _bring(self, repository: Repository, listing: Listing, oids: list[str]) -> None:
        if not oids:
            return
        url, extra = await self.remote.fetch_url(), await self.remote.git_environment()
        try:
            await repository.fetch_objects(url, oids, extra)
        except ProcessFailed:
            # An upstream that gives nothing by id alone, or tips that moved meanwhile: by name, then what is listed.
            await repository.fetch_refs(url, extra)
            if absent := repository.objects.missing(oids):
                await repository.fetch_objects(url, absent, extra)

    # --- staying up to date -------------------------------------------------------------------------------------------

    def behind(self, listing: Listing) -> bool:
        """Say whether the mirror differs from what the upstream listed."""
        return bool(change(self._refs, of_listing(listing)))

    async def sync(self, listing: Listing, listed_at: float) -> None:
        """Bring the mirror to what the upstream listed.

        :param listed_at: when the listing was asked for, by the mirror's clock; an older one never undoes a newer.
        :raise CachewError: when the fetch fails.
        """
        if listed_at < self._listed_at:
            return
        self._listed_at, self._target = listed_at, listing
        await self._settle()

    async def ensure(self, oids: Iterable[str]) -> list[str]:
        """Try to get objects that the mirror does not have: by the fetch under way, or by their exact ids.

        :return: those that are still missing.
        """
        missing = self.missing(oids)
        if missing:
            self._ids.update(dict.fromkeys(missing))
            try:
                await self._settle()
            except CachewError as error:
                self.log.info(
                    "fetch for wanted objects of {repository} failed: {error}",
                    repository=self.identity.name,
                    error=str(error),
                )
        return self.missing(missing)

    @property
    def fetching(self) -> bool:
        """Whether a fetch is under way."""
        return "round" in self._rounds

    async def _settle(self) -> None:
        self._tickets += 1
        ticket = self._tickets
        while self._served < ticket:
            await self._rounds.run("round", self._round)

    async def _round(self) -> None:
        async with self.exclusive():
            served = self._tickets
            target, self._target = self._target, None
            ids, self._ids = self._ids, {}
            try:
                if target is not None and self.ready and self.behind(target):
                    await self._timed(self._follow(target))
                if ids and self.ready and (absent := self.missing(ids)):
                    await self._timed(self._fetch_ids(absent))
            finally:
                self._served = served

    async def _timed(self, work: Coroutine[Any, Any, None]) -> None:
        started = self._clock.seconds()
        self._step(Event.FETCH)
        try:
            await work
        except BaseException as error:
            self._step(Event.FAILED)
            self.last_error = str(error)
            self._metrics.fetches.labels("failed").inc()
            raise
        self._step(Event.DONE)
        self._fetched()
        seconds = self._clock.seconds() - started
        self._metrics.fetches.labels("ok").inc()
        self._metrics.fetch_seconds.observe(seconds)
        self.log.info("fetched {repository} in {seconds:.2f}s", repository=self.identity.name, seconds=seconds)

    async def _follow(self, listing: Listing) -> None:
        repository, wanted = self.repository, of_listing(listing)
        oids = {*wanted.refs.values(), *filter(None, [wanted.head_commit])}
        await self._bring(repository, listing, repository.objects.missing(oids))
        present = await repository.read_listing()
        await repository.apply(change(of_listing(present), wanted), self._now())
        self._has(listing)

    async def _fetch_ids(self, oids: list[str]) -> None:
        repository = self.repository
        url, extra = await self.remote.fetch_url(), await self.remote.git_environment()
        try:
            await repository.fetch_objects(url, oids, extra)
        except ProcessFailed:
            if len(oids) == 1:
                raise
            await self._fetch_singly(repository, url, oids[:_MANY_IDS], extra)
        await repository.keep([oid for oid in oids if not self.missing([oid])], self._now())

    async def _fetch_singly(
        self, repository: Repository, url: str, oids: Iterable[str], extra: Mapping[str, str]
    ) -> None:
        """One id that does not exist must not keep the others from coming."""
        for oid in oids:
            try:
                await repository.fetch_objects(url, [oid], extra)
            except ProcessFailed as error:
                self.log.debug("{repository}: {error}", repository=self.identity.name, error=str(error))

    # --- staying in shape ---------------------------------------------------------------------------------------------

    async def index_packs(self) -> None:
        """Write bitmaps and the commit-graph; joins small packs first when there are many."""
        # Neither step drops an object, so fetches may go on meanwhile.
        async with self._upkeep():
            if not self.ready:
                return
            repository = self.repository
            if repository.pack_count() > _MANY_PACKS:
                await repository.repack(full=False)
            else:
                await repository.index_packs()

    async def repack(self) -> None:
        """Join all packs into one and drop what was given up long ago."""
        async with self._upkeep(), self.exclusive():
            if self.ready:
                await self.repository.expire(self._now(), days=self._keep_days)
                await self.repository.repack(full=True)

    async def suspect(self) -> None:
        """Check a mirror that failed to serve; it is discarded when the check fails.

        :raise ProcessFailed: when it was discarded.
        """
        async with self.exclusive():
            if self.state is not State.READY:
                return
            self._step(Event.SUSPECT)
            try:
                await self.repository.check()
            except ProcessFailed as error:
                self.log.error(
                    "the mirror of {repository} is damaged and is discarded: {error}",
                    repository=self.identity.name,
                    error=str(error),
                )
                await self._discard()
                self._step(Event.FAILED)
                raise
            self._step(Event.DONE)

    async def forget(self) -> None:
        """Remove the mirror from disk."""
        async with self.exclusive():
            await self._discard()
            self._step(Event.FORGOTTEN)

    async def _discard(self) -> None:
        repository, self._repository = self._repository, None
        if repository is None:
            return
        repository.objects.close()
        doomed = self._aside / f"{uuid.uuid4().hex}.git"
        doomed.parent.mkdir(parents=True, exist_ok=True)
        self.directory.rename(doomed)
        self._has(Listing(refs=()))
        await self._git.threads(remove_tree, doomed)
