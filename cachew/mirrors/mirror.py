"""One repository's mirror: its state, and the one fetch in flight that everyone joins.

Clients never wait for a mirror to learn the refs; they wait for it only when they want objects that it does not have.
Then they join the fetch under way, or start the one that all later ones join: first towards the refs that the upstream
has listed, then for the exact object ids.
"""

import contextlib
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cachew.mirrors.byid import ById
from cachew.mirrors.coalescing import Rounds, holding
from cachew.mirrors.examination import DamagedFiles
from cachew.mirrors.firstclones import FirstClones
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.kinds import MIRRORED_KIND, Kind
from cachew.mirrors.leftovers import remove_tree
from cachew.mirrors.listings import Listings, OwnListing, Summary
from cachew.mirrors.machine import SERVING, MirrorEvent, MirrorState, step
from cachew.mirrors.maintenance import Maintenance
from cachew.mirrors.making import Made, Making, Seed
from cachew.mirrors.mirrorrecord import RECORD, MirrorRecord, read
from cachew.mirrors.moved import Moved, moved_in_part, with_refs
from cachew.mirrors.packanswer import MOST_HAVES
from cachew.mirrors.refs import RefState, Tip, change, of_listing, printable
from cachew.mirrors.repository import Repository, Stock
from cachew.mirrors.setaside import SetAside
from cachew.mirrors.standing import Standing
from cachew.mirrors.target import Target
from cachew.mirrors.transfer import MirrorRemote, Transfer
from cachew.mirrors.verification import Verification
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError, CorruptObject, MirrorGone, NotFound, ProcessFailed, Superseded
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.sharedlock import SharedLock
from cachew.upstream.listing import Listing

Told = Callable[[CachewError], object]
"""Is told why a fetch failed."""

_FEW = 100
"""Ids that are looked up without looking first whether refs have them."""
_AT_ONCE = 2000
"""Ids that are looked up in one turn, which takes some milliseconds."""


class Mirror:
    """The mirror of one repository.

    :param identity: which.
    :param directory: where it is once it is ready.
    :param aside: where new ones are made, on the same file system.
    :param remote: its upstream.
    :param git: how to run git.
    :param reactor: bounds waits.
    :param clock: what time it is.
    :param metrics: where fetches are counted.
    :param listings: the listings of all repositories that are at hand.
    :param on_grown: told when something has been fetched.
    :param on_changed: told when what people see of it has changed.
    :param background: where it is looked at when it is in doubt.
    :param on_damage: called when it was damaged, with the time from which on what was made of it may be damaged too.
    :param standing: knows the repository's present instance.
    :param list_refs: asks the upstream for heads and tags; the remote by default.
    :param predecessor: the mirror of an instance that has ended, whose directory this one's will be.
    :param keep_days: how long objects that lost their ref are kept.
    :param first: knows what clients have received before there is a mirror.
    """

    log = Logger()

    def __init__(
        self,
        *,
        identity: Identity,
        directory: Path,
        aside: Path,
        remote: MirrorRemote,
        git: GitRunner,
        reactor: IReactorTime,
        clock: Clock,
        metrics: Metrics,
        listings: Listings,
        on_grown: Callable[[Identity], object],
        background: Background,
        standing: Standing,
        list_refs: Callable[[], Awaitable[Listing]] | None = None,
        predecessor: "Mirror | None" = None,
        on_damage: "Callable[[Mirror, float], object]" = lambda mirror, since: None,
        keep_days: int = 7,
        first: FirstClones | None = None,
        on_changed: Callable[[Identity], object] = lambda identity: None,
    ) -> None:
        self.identity = identity
        self.directory = directory
        self.remote = remote
        self.state = MirrorState.EMPTY
        self._own = OwnListing(identity=identity, listings=listings)
        self.last_fetch: float | None = None
        self.last_error: str | None = None
        self.instance = Instance(identity, "")
        """Whose mirror it is; nobody's while it is empty."""
        self.generation = uuid.uuid4().hex
        """Its name among all mirrors that the instance has had: what a damaged one gave is not served again."""
        self._standing, self._predecessor = standing, predecessor
        self._ended = self._comparing = False
        self._aside = aside
        self._git = git
        self._reactor = reactor
        self._clock = clock
        self._metrics, self._background = metrics, background
        self._on_grown, self._on_damage = on_grown, on_damage
        self._on_changed = on_changed
        self.damage: str | None = None
        self.damaged_at: float | None = None
        self._sound_at = 0.0
        self._transfer = Transfer(remote=remote, clock=clock)
        self._making = Making(
            identity=identity,
            remote=remote,
            list_refs=list_refs or remote.list_refs,
            standing=standing,
            transfer=self._transfer,
            git=git,
            clock=clock,
            first=FirstClones(reactor=reactor) if first is None else first,
        )
        self._repository: Repository | None = None
        self._lock = DeferredLock()
        self._rounds = Rounds(lock=self._lock, work=self._round)
        self.maintenance = Maintenance(
            name=identity.name,
            alone=self.exclusive,
            find=self._served_from,
            clock=clock,
            threads=git.threads,
            keep_days=keep_days,
        )
        self.verification = Verification(
            name=identity.name,
            mirror=self,
            alone=self.maintenance.alone,
            undisturbed=self.maintenance.undisturbed,
            reactor=reactor,
            background=background,
            places=git.checks,
            metrics=metrics,
            on_changed=self._changed,
        )
        self.set_aside = SetAside(clock=clock)
        self._level: Listing | None = None
        """The listing that was found not to differ last: the next one is the same object until something changes."""
        self._target = Target()
        self._packs_lock = SharedLock()
        self._by_id = ById(lock=self._packs_lock, fetch=self._fetch_ids)

    # --- what others may know -----------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests may be answered from it."""
        sound = self.state in SERVING and not self.verification.in_doubt
        return sound and not self._ended and self._standing.is_current(self.instance)

    @property
    def condition(self) -> str:
        """What people are told of its state."""
        return "suspect" if self.verification.in_doubt else self.state.value

    @property
    def pack_source(self) -> str:
        """What its packs are kept under; what comes while it is in doubt is never mixed with what came before."""
        return f"{self.generation} in doubt" if self.verification.in_doubt else self.generation

    @property
    def upstream_url(self) -> str:
        """The upstream's URL: what clients know as ``origin``."""
        return self.remote.url

    @property
    def listing(self) -> Listing:
        """Its refs as the upstream listed them."""
        return self._own.get()

    @property
    def ref_state(self) -> RefState:
        """Its heads and tags and its HEAD; the same object as long as nothing has changed and it is at hand."""
        return of_listing(self._own.get())

    def _has(self, listing: Listing) -> None:
        """Take note of what the refs are after a listing was followed."""
        self.set_aside.keep_only(listing)
        self._level = None
        self._own.set(self.set_aside.allowed(listing, self.listing, also_due=False).filtered(MIRRORED_KIND))

    @property
    def refs(self) -> Mapping[str, str]:
        """Its heads and tags, full name to object id."""
        return self.ref_state.refs

    @property
    def summary(self) -> Summary:
        """What people are told of its refs; this costs nothing, however many they are."""
        return self._own.summary

    @property
    def head_commit(self) -> str | None:
        """The commit that HEAD names, None where it names none."""
        return self.ref_state.head_commit

    @property
    def head_ref(self) -> str | None:
        """The ref that HEAD names, born or unborn; None where it is detached."""
        head = self.ref_state.head
        return head if head is not None and head.startswith("refs/") else None

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
        """Return those of the object ids that the mirror does not have; all of them while there is no mirror.

        A tip that is set aside is one of them: it may be here without what it reaches.
        """
        if self._repository is None or self._comparing:
            return list(oids)
        wanted = list(oids)
        if len(wanted) > _FEW:
            tips = self.ref_state.oids
            wanted = [oid for oid in wanted if oid not in tips]
        absent = self._repository.objects.missing(wanted)
        if not self.set_aside:
            return absent
        lacking = self.set_aside.oids.union(absent)
        return [oid for oid in wanted if oid in lacking]

    async def lacking(self, oids: Sequence[str]) -> list[str]:
        """Return the same as :meth:`missing`, and let others have their turn while very many are looked up."""
        found = self.missing(oids[:_AT_ONCE])
        for start in range(_AT_ONCE, len(oids), _AT_ONCE):
            await deferLater(self._reactor, 0)
            found += self.missing(oids[start : start + _AT_ONCE])
        return found

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Hold the mirror's locks: one fetch, repack or archive at a time. Serving never takes them.

        What comes by its id is waited for first, while the upstream's refs go on being followed.
        """
        async with self._packs_lock.alone(), holding(self._lock):
            yield

    def _served_from(self) -> Repository | None:
        return self._repository if self.ready else None

    def _step(self, event: MirrorEvent) -> None:
        self.state = step(self.state, event)
        self._changed()

    def _changed(self) -> None:
        self._on_changed(self.identity)

    # --- coming into being --------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take up the mirror found at its place, after removing what a killed git left.

        :raise CachewError: when it is not usable; the caller discards it.
        """
        await self.take_up(await self._git.threads(self.look))

    def look(self) -> tuple[MirrorRecord, Repository, Stock] | None:
        """See what is at its place (blocking): all of it at once, because of thousands of mirrors each turn counts.

        :return: None when it is of another instance: of use only when the mirror of the present one is made.
        :raise CachewError: when it is not usable.
        """
        try:
            record = read(self.directory)
        except OSError as error:
            raise NotFound(f"the mirror of {self.identity.name} can't be read: {error}") from error
        if record is None or record.identity != self.identity:
            raise NotFound(f"there is no mirror of {self.identity.name}")
        if not self._standing.is_current(Instance(self.identity, record.instance)):
            return None
        repository = self._repository_in_place(record.object_format)
        return record, repository, repository.take_stock(self.upstream_url)

    async def take_up(self, found: tuple[MirrorRecord, Repository, Stock] | None) -> None:
        """Serve what was found at its place.

        :raise CachewError: when it is not usable; the caller discards it.
        """
        if found is None:
            return
        record, repository, stock = found
        self.instance, self.generation = Instance(self.identity, record.instance), record.generation
        self._has(stock.listing or await repository.refs.read())
        self.last_fetch = stock.fetched
        self._repository = repository
        self._step(MirrorEvent.FOUND)
        if stock.changed or not stock.known:
            # What an earlier version has left was never verified, but goes on serving until that is done.
            self.verification.doubt(serving=not stock.changed, failed=False)

    def __repr__(self) -> str:
        return f"<Mirror {self.identity.name} {self.state.value}>"

    async def clone(self, seed: Seed | None = None) -> None:
        """Make the mirror aside and rename it into place, unless there is one.

        :param seed: fills a directory from a mirror snapshot and says whether it could; the rest is then fetched.
        :raise CachewError: when the upstream has no refs yet, refuses, or fails; nothing is left behind.
        """
        aside = self._place_aside()
        started = self._clock.seconds()
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is not None:
            await predecessor.stop()
        async with self.exclusive(), _after(predecessor):
            if self.state is not MirrorState.EMPTY or self._ended:
                return
            if predecessor is not None:
                predecessor.hand_over()
            self._step(MirrorEvent.RESTORE if seed else MirrorEvent.CLONE)
            try:
                self._settle_in(aside, await self._fill(aside, seed))
            except BaseException as error:
                self._step(MirrorEvent.FAILED)
                # What has no refs yet is empty, which is nothing to be mended.
                self.last_error = None if isinstance(error, NotFound) else str(error)
                self._metrics.fetches.labels("clone-failed").inc()
                raise
            finally:
                # What is there now was in the way, or has failed.
                await self._git.threads(remove_tree, aside)
        seconds = self._clock.seconds() - started
        self._metrics.fetches.labels("cloned").inc()
        self._metrics.clone_seconds.observe(seconds)
        self.log.info("mirrored {repository} in {seconds:.1f}s", repository=self.identity.name, seconds=seconds)

    async def _fill(self, aside: Path, seed: Seed | None) -> Made:
        made = await self._making.fill(
            aside, seed=seed, donor=self.directory, cloning=lambda: self._step(MirrorEvent.CLONE)
        )
        if self._ended or not self._standing.is_current(made.instance):
            raise Superseded(f"{self.identity.name} has become another repository while it was mirrored")
        return made

    def _repository_in_place(self, object_format: str) -> Repository:
        return Repository(directory=self.directory, object_format=object_format, git=self._git, failed=self._git_failed)

    def _place_aside(self) -> Path:
        return self._aside / f"{uuid.uuid4().hex}.git"

    def _settle_in(self, aside: Path, made: Made) -> None:
        """Put what was made into its place; what was there takes its own.

        :raise NotFound: when another repository's mirror is there, as where a file system ignores case.
        """
        there = read(self.directory)
        if there is not None and there.identity != self.identity:
            raise NotFound(f"{self.identity.name} can't be mirrored: its directory is that of {there.identity.name}")
        self.instance = made.instance
        MirrorRecord(self.identity, made.listing.object_format, self.instance.id, self.generation).write(aside)
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        in_the_way = self._place_aside()
        with contextlib.suppress(FileNotFoundError):
            self.directory.rename(in_the_way)
        aside.rename(self.directory)
        with contextlib.suppress(FileNotFoundError):
            in_the_way.rename(aside)
        self._fetched()
        self._repository = self._repository_in_place(made.listing.object_format)
        self._repository.ledger.load()
        self._sound_at = self._clock.now()
        self.set_aside.clear()
        self._put_aside(made.unfetched)
        self._has(made.listing)
        self._target.reached(made.listed_at)
        self._step(MirrorEvent.DONE)

    def _fetched(self) -> None:
        self.last_fetch = self._clock.now()
        self.last_error = None
        (self.directory / RECORD).touch()

    # --- staying up to date -------------------------------------------------------------------------------------------

    def behind(self, listing: Listing) -> bool:
        """Say whether the mirror differs from what the upstream listed."""
        if listing is self._level and not self.set_aside:
            return False
        allowed = self.set_aside.allowed(listing, self.listing, also_due=True)
        differs = bool(change(self.ref_state, of_listing(allowed)))
        self._level = None if differs else listing
        return differs

    async def sync(self, listing: Listing, listed_at: float) -> None:
        """Bring the mirror to what the upstream listed.

        :param listed_at: when the listing was asked for, by the mirror's clock; an older one never undoes a newer.
        :raise CachewError: when the fetch fails.
        """
        if self._target.all(listing, listed_at):
            await self._rounds.run()

    def moved(self, kind: Kind, listing: Listing) -> Moved:
        """Return what the mirror differs in from what the upstream listed of some refs.

        :param kind: what the listing is bounded to.
        """
        return self._not_set_aside(moved_in_part(self.listing, kind, listing))

    def _not_set_aside(self, moved: Moved) -> Moved:
        waits = self.set_aside.waits
        return {name: ref for name, ref in moved.items() if ref is None or not (ref.oid and waits((name, ref.oid)))}

    async def sync_part(self, moved: Moved, listed_at: float) -> None:
        """Bring some refs to where the upstream has them.

        :param moved: these, None for what is no more.
        :param listed_at: when they were asked for, by the mirror's clock; an older listing never undoes a newer.
        :raise CachewError: when the fetch fails.
        """
        if self._target.some(moved, listed_at):
            await self._rounds.run()

    def _pending(self) -> Moved:
        """Return which refs that were listed alone the mirror does not have yet."""
        if not self._target.has_parts or not self.ready:
            return {}
        return self._not_set_aside(self._target.pending(self.listing, self.refs))

    async def followed(self) -> None:
        """Wait for the fetch under way towards the upstream's refs, if there is one; its failure is that of others."""
        if self._rounds.under_way:
            try:
                await self._rounds.run()
            except CachewError as error:
                message = "fetch for wanted objects of {repository} failed: {error}"
                self.log.info(message, repository=self.identity.name, error=str(error))

    async def ensure(self, oids: Iterable[str], client: str, told: Told = lambda failure: None) -> list[str]:
        """Try to get objects that the mirror does not have: by the fetch under way, else by their exact ids.

        :param client: who asks; what others ask for is not delayed by it.
        :param told: told of a fetch that failed, other than by the upstream's not having what was asked for.
        :return: those that are still missing.
        """
        missing = self.missing(oids)
        if missing:
            await self.followed()
            missing = self.missing(missing)
        hopeless = self.set_aside.oids
        if self.ready and (wanted := [oid for oid in missing if oid not in hopeless]):
            try:
                await self._by_id.get(wanted, client)
            except CachewError as error:
                message = "fetch for wanted objects of {repository} failed: {error}"
                self.log.info(message, repository=self.identity.name, error=str(error))
                told(error)
        return self.missing(missing)

    def asked_for(self, oid: str) -> bool:
        """Say whether an object is being fetched by its id already."""
        return oid in self._by_id

    @property
    def fetching(self) -> bool:
        """Whether a fetch towards the upstream's refs is under way."""
        return self._rounds.under_way

    async def _round(self) -> None:
        target = self._target.take()
        if target is not None and self.ready and self.behind(target):
            await self._fetch(self._take_up(target))
        if moved := self._pending():
            await self._fetch(self._take_up_part(moved))

    async def _fetch(self, work: Coroutine[Any, Any, None]) -> None:
        self._step(MirrorEvent.FETCH)
        done = False
        try:
            await self._timed(self._git.fetches, work)
            done = True
        finally:
            self._step(MirrorEvent.DONE if done else MirrorEvent.FAILED)

    async def _fetch_ids(self, ids: list[str]) -> None:
        if self.ready and (absent := self.missing(ids)):
            await self._timed(self._git.by_id, self._transfer.fetch_ids(self.repository, absent))

    async def _timed(self, places: Slots, work: Coroutine[Any, Any, None]) -> None:
        started = self._clock.seconds()
        try:
            async with places.take(self.identity.name):
                await work
        except BaseException as error:
            self.last_error = str(error)
            self._metrics.fetches.labels("failed").inc()
            raise
        finally:
            work.close()
            self._changed()
        self._fetched()
        self._on_grown(self.identity)
        seconds = self._clock.seconds() - started
        self._metrics.fetches.labels("ok").inc()
        self._metrics.fetch_seconds.observe(seconds)
        self.log.info("fetched {repository} in {seconds:.2f}s", repository=self.identity.name, seconds=seconds)

    def recognises(self, listing: Listing) -> bool:
        """Whether any of its refs has an object that is listed, so that it is of the same repository."""
        refs = self.ref_state.refs
        first = (listing.refs[place] for place in range(min(_FEW, len(listing.refs))))
        if any(refs.get(ref.name, "") == ref.oid for ref in first):
            return True
        return not self.ref_state.oids.isdisjoint(listing.oids())

    async def _take_up(self, listing: Listing) -> None:
        brought = frozenset[str]() if self.recognises(listing) else await self._compare(listing)
        allowed = self.set_aside.allowed(listing, self.listing, also_due=True)
        before = self.ref_state
        failed = await self._transfer.follow(self.repository, of_listing(allowed), brought=brought, known=before)
        if self.set_aside:
            tips = ((ref.name, ref.oid) for ref in allowed.refs if ref.oid is not None)
            self.set_aside.there(tip for tip in tips if tip not in failed)
        self._put_aside(failed)
        self._has(listing)
        if failed and not change(before, self.ref_state):
            raise next(iter(failed.values()))

    async def _take_up_part(self, moved: Moved) -> None:
        failed = await self._transfer.follow_part(self.repository, self.ref_state, moved)
        tips = ((name, ref.oid) for name, ref in moved.items() if ref is not None and ref.oid is not None)
        self.set_aside.there(tip for tip in tips if tip not in failed)
        self._put_aside(failed)
        done = {name: ref for name, ref in moved.items() if ref is None or (name, ref.oid) not in failed}
        if done:
            self._level = None
            self._own.set(with_refs(self.listing, done))
        elif failed:
            raise next(iter(failed.values()))

    def _put_aside(self, failed: Mapping[Tip, ProcessFailed]) -> None:
        self.set_aside.note(failed)
        self._metrics.refs_set_aside.inc(len(failed))
        for (name, oid), failure in failed.items():
            self.log.warn(
                "{repository}: {name} is not followed to {oid} for now: {failure}",
                repository=self.identity.name,
                name=printable(name),
                oid=oid,
                failure=str(failure),
            )

    async def _compare(self, listing: Listing) -> frozenset[str]:
        """Fetch what is listed and see whether it is of the same repository; nothing is served of it before.

        :return: what has come.
        :raise Superseded: when it is of another one.
        """
        self._comparing = True
        try:
            wanted = set(of_listing(self.set_aside.allowed(listing, self.listing, also_due=True)).oids)
            absent = self.repository.objects.missing(wanted)
            present = self.ref_state
            haves = present.oids if len(present.refs) <= MOST_HAVES else ()
            bad = await self._transfer.bring(self.repository, absent, haves=haves)
            self._put_aside({(ref.name, ref.oid): bad[ref.oid] for ref in listing.refs if ref.oid in bad})
            if bad and wanted.issubset(bad):
                raise next(iter(bad.values()))
            related = await self.repository.history.shared(wanted.difference(bad), self.ref_state.oids)
            await self._standing.compared(self.instance, listing, related=related)
        except BaseException:
            self._standing.undecided(self.instance)
            raise
        finally:
            self._comparing = False
        if not related:
            raise Superseded(f"{self.identity.name} lists another history than before")
        return frozenset(absent).difference(bad)

    # --- its end ------------------------------------------------------------------------------------------------------

    def intact(self) -> bool:
        """Say whether nobody has written to its packs since they were verified; otherwise they are looked at at once.

        This costs a look at each file's inode, so it can be asked before every answer.
        """
        if self._repository is None or not self._repository.changed():
            return True
        self.verification.doubt(serving=False, failed=False)
        return False

    async def prove(self) -> Callable[[], None]:
        """Have everything in it verified before something is made of it.

        :return: what raises :class:`CorruptObject` when it is not what was verified any more, and
            :class:`MirrorGone` when it was forgotten.
        :raise CorruptObject: when it is damaged; it is made anew then.
        """
        if not await self.verification.proven():
            raise CorruptObject(f"the mirror of {self.identity.name} is damaged and is made anew")
        generation, damaged_at = self.generation, self.damaged_at

        def check() -> None:
            if self.generation != generation and self.damaged_at == damaged_at:
                raise MirrorGone(f"the mirror of {self.identity.name} was forgotten meanwhile")
            if self.generation != generation or not self.intact():
                raise CorruptObject(f"the mirror of {self.identity.name} was damaged meanwhile")

        return check

    def suspect(self) -> None:
        """Have it looked at, because git has failed on it."""
        self.verification.doubt(serving=True)

    def _git_failed(self, failure: ProcessFailed) -> None:
        # A fetch fails for its upstream's sake most of the time.
        fetching = failure.command == "git fetch"
        self.verification.doubt(serving=fetching, failed=not fetching)

    def examined(self) -> Repository | None:
        """Return the repository on disk, None while there is none."""
        return self._repository

    async def examine(self, *, contents: bool) -> DamagedFiles:
        """Look for damage."""
        started = self._clock.now()
        found = await self.repository.examine(self.upstream_url, contents=contents)
        if contents and not found:
            self._sound_at = started
        return found

    async def mend(self, found: DamagedFiles) -> None:
        """Mend what can be mended in its place; what was made of it meanwhile is withdrawn."""
        self._damaged(str(found), "the mirror of {repository} was damaged and is mended: {damage}")
        await self.repository.mend(found, self.listing, self.upstream_url)
        # What could not be followed was not the upstream's fault.
        self.set_aside.clear()
        self.generation = uuid.uuid4().hex
        MirrorRecord(self.identity, self.object_format, self.instance.id, self.generation).write(self.directory)
        self._on_damage(self, self._sound_at)
        if found.derived:
            self._background.start(self.maintenance.index_packs(), f"indexing of {self.identity.name}")

    async def lose(self, reason: str) -> None:
        """Set a damaged mirror aside; a new one is made."""
        self._damaged(reason, "the mirror of {repository} is damaged and is made anew: {damage}")
        self.last_error = f"it was damaged and is made anew: {reason}"
        self._step(MirrorEvent.FORGOTTEN)
        await self._discard()
        self._on_damage(self, self._sound_at)

    def _damaged(self, damage: str, message: str) -> None:
        self.damage, self.damaged_at = damage, self._clock.now()
        self._metrics.damage.labels("mirror").inc()
        self.log.error(message, repository=self.identity.name, damage=damage)

    @contextlib.contextmanager
    def relinking(self) -> Iterator[None]:
        """Make or remove links to its files while the block runs (blocking), which is no change of theirs."""
        if self._repository is None:
            yield
            return
        with self._repository.ledger.relinking():
            yield

    def end(self) -> None:
        """Serve nothing any more: its instance has ended. Its directory is its successor's."""
        self._ended = True
        self._own.clear()
        if self._repository is not None:
            self._repository.objects.close()

    def hand_over(self) -> None:
        """Be nobody's mirror: what is read in the directory from now on is perhaps another instance's."""
        self.instance, self.generation = Instance(self.identity, ""), uuid.uuid4().hex
        self._repository = None

    async def stop(self) -> None:
        """Break off the fetch and the check under way, which no waiter's end breaks off."""
        await self._rounds.stop()
        await self._by_id.stop()
        await self.verification.stop()

    @property
    def removed(self) -> bool:
        """Whether it was ready and somebody has removed it from the disk."""
        return self._repository is not None and self.ready and not os.path.lexists(self.directory / RECORD)

    async def abandon(self) -> None:
        """Let go of what is no longer on disk; its place may be another mirror's by now."""
        repository, self._repository = self._repository, None
        await self.stop()
        if repository is not None:
            repository.objects.close()

    async def forget(self) -> None:
        """Remove the mirror from disk, and that of an earlier instance."""
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is not None:
            await predecessor.stop()
        async with self.maintenance.alone(), _after(predecessor):
            self.last_error = None
            self._step(MirrorEvent.FORGOTTEN)
            await self._discard()
        self.log.info("forgot the mirror of {repository}", repository=self.identity.name)

    async def _discard(self) -> None:
        repository, self._repository = self._repository, None
        if repository is not None:
            repository.objects.close()
        self.instance, self.generation = Instance(self.identity, ""), uuid.uuid4().hex
        self.set_aside.clear()
        self._own.clear()
        doomed = self._place_aside()
        doomed.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.directory.rename(doomed)
        await self._git.threads(remove_tree, doomed)


@asynccontextmanager
async def _after(predecessor: Mirror | None) -> AsyncIterator[None]:
    """Hold a mirror whose instance has ended, once nothing writes to it any more."""
    if predecessor is None:
        yield
        return
    async with predecessor.maintenance.alone():
        yield
