"""How a new mirror comes to be: from a mirror snapshot, from the mirror of an instance that has ended, or by a clone.

Of a mirror of another instance it takes only what its own refs reach, fetched out of it as out of any repository: what
that one held besides was perhaps never meant for those who may read this one.
"""

from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from cachew.mirrors.gitfailures import worth_another_way
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.instances import Instances
from cachew.mirrors.leftovers import remove_leftovers, remove_tree
from cachew.mirrors.mirrorrecord import MirrorRecord, read
from cachew.mirrors.refs import MIRRORED, Tip, of_listing
from cachew.mirrors.repository import Repository
from cachew.mirrors.resources import MirrorResources
from cachew.mirrors.setaside import without
from cachew.mirrors.transfer import Transfer
from cachew.plumbing.errors import CachewError, CorruptObject, NotFound, ProcessFailed, Superseded
from cachew.upstream.listing import Listing
from cachew.upstream.remotes import Remote

Seed = Callable[[Instance, Path], Coroutine[Any, Any, bool]]
"""Fills a directory from a mirror snapshot of an instance and says whether it could."""


@dataclass(frozen=True)
class Made:
    """What a new mirror follows.

    :param instance: whose it is.
    :param listing: the upstream's refs.
    :param listed_at: when they were asked for, by the clock.
    :param unfetched: tips that can't be had, each with the reason; they are not among the refs of the mirror.
    """

    instance: Instance
    listing: Listing
    listed_at: float
    unfetched: Mapping[Tip, ProcessFailed]


class Making:
    """Makes one repository's mirrors.

    :param identity: the repository.
    :param remote: its upstream.
    :param standing: knows the present instance.
    :param transfer: fetches from there.
    :param resources: what it shares with other mirrors; first fetches have git's patience for clones.
    """

    log = Logger()

    def __init__(
        self,
        *,
        identity: Identity,
        remote: Remote,
        standing: Instances,
        transfer: Transfer,
        resources: MirrorResources,
    ) -> None:
        self._list_refs = resources.list_refs
        self._first = resources.first
        self._identity = identity
        self._remote = remote
        self._transfer = transfer
        self._standing = standing
        self._git = resources.git.for_clones
        self._clock = resources.clock

    async def fill(self, directory: Path, *, seed: Seed | None, donor: Path, cloning: Callable[[], None]) -> Made:
        """Make a whole mirror in a directory that is not there yet.

        :param donor: where the mirror of another instance may be, which nobody uses any more.
        :param cloning: called when a seed was given and was of no use.
        :raise CachewError: when the upstream has no refs yet, refuses, or fails; the caller removes the directory.
        """
        directory.parent.mkdir(parents=True, exist_ok=True)
        listed_at = self._clock.seconds()
        listing = await self._list_refs(self._identity)
        instance = self._standing.current(self._identity)
        if instance is None:
            unknown = f"it is not known for sure which repository {self._identity.name} is now"
            raise Superseded(unknown) from await self._standing.trouble(self._identity)
        if not of_listing(listing).refs:
            raise NotFound(f"{self._identity.name} has no branches yet")
        repository = Repository(directory=directory, object_format=listing.object_format, git=self._git)
        # What is open of its packs would take up the disk though they were removed.
        with closing(repository.objects):
            seeded = seed is not None and await self._seeded(instance, directory, seed)
            unfetched: Mapping[Tip, ProcessFailed] = {}
            if seeded:
                # Its packs hold what their first owner had, of which only what the refs reach was looked at.
                repository.intake.links.doubt()
            if not (seeded and await self._completed(repository, instance, listing)):
                if seed is not None:
                    cloning()
                unfetched = await self._cloned(repository, instance, listing, donor)
                instance = await self._recognised(repository, instance, listing)
        await self._verify(repository)
        return Made(instance, listing, listed_at, unfetched)

    async def _verify(self, repository: Repository) -> None:
        """Read what was not read when it was written.

        :raise CorruptObject: when it is damaged.
        """
        ledger = repository.ledger
        bad = await self._git.threads(lambda: ledger.verify(ledger.unverified()))
        if bad:
            raise CorruptObject(f"the new mirror of {self._identity.name} is damaged: {bad[0]}")

    async def _recognised(self, repository: Repository, instance: Instance, listing: Listing) -> Instance:
        """Return whose mirror it is that was just made of nothing but what the upstream gave."""
        tips = self._standing.doubted_tips(instance, listing)
        if tips is not None:
            absent = await repository.work.missing(repository.objects, tips)
            await self._standing.compared(instance, listing, related=len(absent) < len(tips))
        return self._standing.current(self._identity) or instance

    async def _cloned(
        self, repository: Repository, instance: Instance, listing: Listing, donor: Path
    ) -> Mapping[Tip, ProcessFailed]:
        await self._create(repository)
        wanted = await self._git.threads(_wanted, listing)
        await self._take_from(donor, repository, wanted)
        await self._take_received(repository, instance, listing, wanted)
        absent = await repository.work.missing(repository.objects, wanted)
        bad = await self._transfer.bring(repository, absent)
        unfetched = {(ref.name, ref.oid): bad[ref.oid] for ref in listing.refs if ref.oid in bad} if bad else {}
        possible = await self._git.threads(_without, listing, unfetched, wanted)
        if not of_listing(possible).refs:
            raise next(iter(bad.values()))
        await repository.ref_updates.write_new(possible)
        return unfetched

    async def _create(self, repository: Repository) -> None:
        await self._git.threads(remove_tree, repository.directory)
        await repository.create(self._remote.url)

    async def _take_received(
        self, repository: Repository, instance: Instance, listing: Listing, wanted: set[str]
    ) -> None:
        """Take what clients have received, with refs to it, so that only the rest is fetched."""
        for find in await self._first.received(instance, listing.oids()):
            response = await find()
            if response is None:
                continue
            try:
                await repository.intake.take_pack(response)
                absent = set(await repository.work.missing(repository.objects, wanted))
                if not await repository.history.connected(wanted - absent):
                    raise CorruptObject("what a client received is not all that its wants reach")
            except (CachewError, OSError) as error:
                message = "what a client has received of {repository} is of no use, it is cloned: {error}"
                self.log.warn(message, repository=self._identity.name, error=str(error))
                repository.objects.close()
                await self._create(repository)
                return
            if not absent:
                return
            absent_tips = {(ref.name, ref.oid) for ref in listing.refs if ref.oid in absent}
            there = await self._git.threads(_without, listing, absent_tips, wanted)
            await repository.ref_updates.write_new(there)

    async def _take_from(self, donor: Path, repository: Repository, wanted: set[str]) -> None:
        """Fetch what the refs reach out of the mirror of another instance, after that has got the rest."""
        record = await self._git.threads(_record, donor)
        if record is None or record.identity != self._identity or record.object_format != repository.object_format:
            return
        old = Repository(directory=donor, object_format=record.object_format, git=self._git)
        try:
            await self._git.threads(remove_leftovers, donor)
            old.configure(self._remote.url)
            bad = await self._transfer.bring(old, await old.work.missing(old.objects, wanted))
            await repository.intake.take(donor, wanted.difference(bad))
        except (ProcessFailed, OSError) as error:
            message = "the earlier mirror of {repository} is of no use, it is cloned: {error}"
            self.log.info(message, repository=self._identity.name, error=str(error))
        finally:
            old.objects.close()
            repository.objects.close()

    async def _seeded(self, instance: Instance, directory: Path, seed: Seed) -> bool:
        try:
            return await seed(instance, directory)
        except CachewError as error:
            self.log.warn(
                "{repository} can't be restored and is cloned: {error}",
                repository=self._identity.name,
                error=str(error),
            )
            return False

    async def _completed(self, repository: Repository, instance: Instance, listing: Listing) -> bool:
        """Bring what was restored to where the upstream is; say whether that was possible."""
        try:
            repository.configure(self._remote.url)
            present = of_listing(await repository.refs.read(by_git=True))
            if present.oids.isdisjoint(listing.oids()):
                wanted = _wanted(listing)
                absent = await repository.work.missing(repository.objects, wanted)
                bad = await self._transfer.bring(repository, absent)
                related = await repository.history.shared(wanted.difference(bad), present.oids)
                await self._standing.compared(instance, listing, related=related)
                if not related:
                    return False
            unfetched = await self._transfer.follow(repository, of_listing(listing))
            if unfetched:
                raise next(iter(unfetched.values()))
        except (ProcessFailed, OSError) as error:
            repository.objects.close()
            if isinstance(error, ProcessFailed) and not worth_another_way(error):
                raise
            self.log.warn(
                "what was restored of {repository} is of no use, it is cloned: {error}",
                repository=self._identity.name,
                error=str(error),
            )
            return False
        return True


def _wanted(listing: Listing) -> set[str]:
    state = of_listing(listing)
    return {*state.refs.values(), *filter(None, [state.head_commit])}


def _without(listing: Listing, tips: Collection[Tip], wanted: Collection[str]) -> Listing:
    """Return a listing without some tips, and without what could not be a ref beside them: that was not fetched.

    :param wanted: the objects of all that could be a ref.
    """
    if not tips:
        return listing
    refs = (ref for ref in listing.refs if ref.name.startswith(MIRRORED))
    unfetched = {(ref.name, ref.oid) for ref in refs if ref.oid and ref.oid not in wanted}
    return without(listing, unfetched.union(tips), Listing(refs=()))


def _record(directory: Path) -> MirrorRecord | None:
    try:
        return read(directory)
    except OSError:
        return None
