"""One repository's mirror: the parts that it is made of, how it comes into being and how it ends.

Clients never wait for a mirror to learn the refs; they wait for it only when they want objects that it does not have.
Then they join the fetch under way, or start the one that all later ones join: first towards the refs that the upstream
has listed, then for the exact object ids.
"""

from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path

from twisted.logger import Logger

from cachew.mirrors.byid import WantedObjects
from cachew.mirrors.damage import Damage, discard
from cachew.mirrors.fetches import Fetches
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.instances import Instances
from cachew.mirrors.life import MirrorLife
from cachew.mirrors.listings import MirroredRefs, OwnListing
from cachew.mirrors.locks import MirrorLocks
from cachew.mirrors.machine import MirrorEvent, MirrorState
from cachew.mirrors.maintenance import Maintenance
from cachew.mirrors.making import Made, Making, Seed
from cachew.mirrors.mirroredobjects import MirroredObjects
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.place import MirrorPlace
from cachew.mirrors.repository import Repository, Stock
from cachew.mirrors.resources import MirrorListeners, MirrorResources
from cachew.mirrors.setaside import SetAside
from cachew.mirrors.transfer import Transfer
from cachew.mirrors.updates import Updates
from cachew.mirrors.verification import Verification
from cachew.plumbing.errors import NotFound, Superseded
from cachew.upstream.remotes import Remote


class Mirror:
    """The mirror of one repository.

    :param identity: which.
    :param root: where mirrors lie.
    :param remote: its upstream.
    :param standing: knows the repository's present instance.
    :param resources: what it shares with other mirrors.
    :param listeners: who is told what becomes of it.
    :param predecessor: the mirror of an instance that has ended, whose directory this one's will be.
    :ivar life: whose mirror it is, and whether requests may be answered from it.
    :ivar place: where it lies.
    :ivar refs: its refs.
    :ivar objects: its objects.
    :ivar wanted: gets objects that it does not have.
    :ivar updates: brings it to where its upstream is.
    :ivar locks: what is held while one works on it.
    :ivar maintenance: keeps it in shape.
    :ivar damage: what damage it has had.
    :ivar verification: finds out whether it is sound.
    """

    log = Logger()

    def __init__(
        self,
        *,
        identity: Identity,
        root: MirrorRoot,
        remote: Remote,
        standing: Instances,
        resources: MirrorResources,
        listeners: MirrorListeners,
        predecessor: "Mirror | None" = None,
    ) -> None:
        git, clock, metrics = resources.git, resources.clock, resources.metrics
        self.identity = identity
        self.directory = root.place_of(identity)
        self._root = root
        self.remote = remote
        self._standing = standing
        self._predecessor = predecessor
        self._git = git
        self._clock = clock
        self._metrics = metrics
        self.life = life = MirrorLife(identity=identity, standing=standing, on_changed=listeners.changed)
        self.locks = locks = MirrorLocks()
        self.place = place = MirrorPlace(
            identity=identity,
            directory=self.directory,
            root=root,
            remote=remote,
            git=git,
            failed=lambda failure: self.verification.git_failed(failure),
        )
        own = OwnListing(identity=identity, listings=resources.listings)
        set_aside = SetAside(identity=identity, clock=clock, metrics=metrics)
        self.refs = refs = MirroredRefs(own=own, set_aside=set_aside, clock=clock)
        self.objects = MirroredObjects(life=life, place=place, refs=refs, reactor=resources.reactor)
        self.maintenance = Maintenance(
            name=identity.name,
            locks=locks,
            find=lambda: place.found if life.ready else None,
            clock=clock,
            threads=git.threads,
            background=resources.background,
        )
        self.damage = Damage(
            life=life,
            place=place,
            refs=refs,
            maintenance=self.maintenance,
            clock=clock,
            metrics=metrics,
            on_damage=lambda since: listeners.damaged(identity, since),
        )
        self.verification = Verification(
            life=life,
            damage=self.damage,
            locks=locks,
            reactor=resources.reactor,
            background=resources.background,
            places=git.checks,
            metrics=metrics,
        )
        transfer = Transfer(remote=remote, posts=resources.posts, clock=clock)
        self._fetches = fetches = Fetches(
            life=life, place=place, git=git, clock=clock, metrics=metrics, on_grown=listeners.grown
        )
        self.updates = Updates(
            life=life, place=place, refs=refs, transfer=transfer, standing=standing, fetches=fetches, locks=locks
        )
        self.wanted = WantedObjects(
            life=life,
            place=place,
            objects=self.objects,
            updates=self.updates,
            transfer=transfer,
            fetches=fetches,
            packs=locks.packs,
        )
        self._making = Making(
            identity=identity,
            remote=remote,
            standing=standing,
            transfer=transfer,
            resources=resources,
        )

    def __repr__(self) -> str:
        return f"<Mirror {self.identity.name} {self.life.state.value}>"

    @property
    def ready(self) -> bool:
        """Whether requests may be answered from it."""
        return self.life.ready

    @property
    def instance(self) -> Instance:
        """Whose mirror it is; nobody's while it is empty."""
        return self.life.instance

    @property
    def upstream_url(self) -> str:
        """The upstream's URL: what clients know as ``origin``."""
        return self.remote.url

    # --- coming into being --------------------------------------------------------------------------------------------

    def look(self, record: MirrorRecord) -> tuple[MirrorRecord, Repository, Stock] | None:
        """See what is at its place (blocking): all of it at once, because of thousands of mirrors each turn counts.

        :param record: what it says of itself.
        :return: None when it is of another instance: of use only when the mirror of the present one is made.
        :raise CachewError: when it is not usable.
        """
        if not self._standing.is_current(Instance(self.identity, record.instance)):
            return None
        repository = self.place.opened(record.object_format)
        return record, repository, repository.take_stock(self.upstream_url)

    async def take_up(self, found: tuple[MirrorRecord, Repository, Stock] | None) -> None:
        """Serve what was found at its place.

        :raise CachewError: when it is not usable; the caller discards it.
        """
        if found is None:
            return
        record, repository, stock = found
        instance = Instance(self.identity, record.instance)
        listing = stock.listing or await repository.refs.read()
        if not self._standing.is_current(instance):
            return  # it has ended since it was looked at
        self.life.instance = instance
        self.life.generation = record.generation
        self.refs.become(listing)
        self.life.last_fetch = stock.fetched
        self.place.found = repository
        self.life.step(MirrorEvent.FOUND)
        if stock.changed or not stock.known:
            # What an earlier version has left was never verified, but goes on serving until that is done.
            self.verification.doubt(serving=not stock.changed, failed=False)

    async def clone(self, seed: Seed | None = None) -> None:
        """Make the mirror aside and rename it into place, unless there is one.

        :param seed: fills a directory from a mirror snapshot and says whether it could; the rest is then fetched.
        :raise CachewError: when the upstream has no refs yet, refuses, or fails; nothing is left behind.
        """
        aside = self.place.aside()
        started = self._clock.seconds()
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is not None:
            await predecessor.stop()
        async with self.locks.exclusive(), _held(predecessor):
            if self.life.state is not MirrorState.EMPTY or self.life.ended:
                return
            if predecessor is not None:
                predecessor.hand_over()
            self.life.step(MirrorEvent.RESTORE if seed else MirrorEvent.CLONE)
            try:
                self._settle_in(aside, await self._fill(aside, seed))
            except BaseException as error:
                self.life.step(MirrorEvent.FAILED)
                # What has no refs yet is empty, which is nothing to be mended.
                self.life.last_error = None if isinstance(error, NotFound) else str(error)
                self._metrics.fetches.labels("clone-failed").inc()
                raise
            finally:
                # What is there now was in the way, or has failed.
                await self._git.threads(self._root.remove, aside)
        seconds = self._clock.seconds() - started
        self._metrics.fetches.labels("cloned").inc()
        self._metrics.clone_seconds.observe(seconds)
        self.log.info("mirrored {repository} in {seconds:.1f}s", repository=self.identity.name, seconds=seconds)

    async def _fill(self, aside: Path, seed: Seed | None) -> Made:
        made = await self._making.fill(
            aside, seed=seed, donor=self.directory, cloning=lambda: self.life.step(MirrorEvent.CLONE)
        )
        if self.life.ended or not self._standing.is_current(made.instance):
            raise Superseded(f"{self.identity.name} has become another repository while it was mirrored")
        return made

    def _settle_in(self, aside: Path, made: Made) -> None:
        """Put what was made into its place.

        :raise NotFound: when another repository's mirror is there.
        """
        object_format = made.listing.object_format
        self.place.settle(aside, MirrorRecord(self.identity, object_format, made.instance.id, self.life.generation))
        self.life.instance = made.instance
        self._fetches.done()
        self.place.found = repository = self.place.opened(object_format)
        repository.ledger.load()
        self.damage.sound_at = self._clock.seconds()
        self.refs.set_aside.clear()
        self.refs.set_aside.note(made.unfetched)
        self.refs.become(made.listing)
        self.updates.made_of(made.listed_at)
        self.life.step(MirrorEvent.DONE)

    # --- its end ------------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """Serve nothing any more: its instance has ended. Its directory is its successor's."""
        self.life.end()
        self.refs.clear()
        self.place.close()

    def hand_over(self) -> None:
        """Be nobody's mirror: what is read in the directory from now on is perhaps another instance's."""
        self.life.leave()
        self.place.let_go()

    async def stop(self) -> None:
        """Break off the fetches and the check under way, which no waiter's end breaks off."""
        await self.updates.stop()
        await self.wanted.stop()
        await self.verification.stop()

    async def abandon(self) -> None:
        """Let go of what is no longer on disk; its place may be another mirror's by now."""
        repository = self.place.let_go()
        await self.stop()
        if repository is not None:
            repository.objects.close()

    async def forget(self) -> None:
        """Remove the mirror from disk, and that of an earlier instance."""
        predecessor, self._predecessor = self._predecessor, None
        if predecessor is not None:
            await predecessor.stop()
        async with self.locks.alone(), _held(predecessor):
            self.life.last_error = None
            await discard(self.life, self.place, self.refs)
        self.log.info("forgot the mirror of {repository}", repository=self.identity.name)


def _held(predecessor: Mirror | None) -> AbstractAsyncContextManager[None]:
    """Hold a mirror whose instance has ended, once nothing writes to it any more."""
    return nullcontext() if predecessor is None else predecessor.locks.alone()
