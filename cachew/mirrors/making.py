"""How a new mirror comes to be: from a mirror snapshot where there is a good one, else by a clone."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cachew.mirrors.identity import Identity
from cachew.mirrors.refs import Tip, of_listing
from cachew.mirrors.repository import GitRunner, Repository, remove_tree, worth_another_way
from cachew.mirrors.setaside import without
from cachew.mirrors.transfer import Remote, Transfer
from cachew.plumbing.errors import CachewError, CorruptObject, NotFound, ProcessFailed
from cachew.upstream.listing import Listing

Seed = Callable[[Path], Coroutine[Any, Any, bool]]
"""Fills a directory from a mirror snapshot and says whether it could."""


@dataclass(frozen=True)
class Made:
    """What a new mirror follows.

    :param listing: the upstream's refs.
    :param listed_at: when they were asked for, by the clock.
    :param unfetched: tips that can't be had, each with the reason; they are not among the refs of the mirror.
    """

    listing: Listing
    listed_at: float
    unfetched: Mapping[Tip, ProcessFailed]


class Making:
    """Makes one repository's mirrors.

    :param identity: the repository.
    :param remote: its upstream.
    :param transfer: fetches from there.
    :param git: how to run git; first fetches have its patience for clones.
    :param clock: where ``listed_at`` comes from.
    """

    log = Logger()

    def __init__(
        self, *, identity: Identity, remote: Remote, transfer: Transfer, git: GitRunner, clock: IReactorTime
    ) -> None:
        self._identity, self._remote, self._transfer = identity, remote, transfer
        self._git, self._clock = git.for_clone(), clock

    async def fill(self, directory: Path, seed: Seed | None, cloning: Callable[[], None]) -> Made:
        """Make a whole mirror in a directory that is not there yet.

        :param cloning: called when a seed was given and was of no use.
        :raise CachewError: when the upstream has no refs yet, refuses, or fails; the caller removes the directory.
        """
        directory.parent.mkdir(parents=True, exist_ok=True)
        seeded = seed is not None and await self._seeded(directory, seed)
        listed_at = self._clock.seconds()
        listing = await self._remote.list_refs()
        if not of_listing(listing).refs:
            raise NotFound(f"{self._identity.name} has no branches yet")
        repository = Repository(directory=directory, object_format=listing.object_format, git=self._git)
        unfetched: Mapping[Tip, ProcessFailed] = {}
        if not (seeded and await self._completed(repository, listing)):
            if seed is not None:
                cloning()
            unfetched = await self._cloned(repository, listing)
        repository.objects.close()
        await self._verify(repository)
        return Made(listing, listed_at, unfetched)

    async def _verify(self, repository: Repository) -> None:
        """Read what was not read when it was written.

        :raise CorruptObject: when it is damaged.
        """
        ledger = repository.ledger
        bad = await self._git.threads(lambda: ledger.verify(ledger.unverified()))
        if bad:
            raise CorruptObject(f"the new mirror of {self._identity.name} is damaged: {bad[0]}")

    async def _cloned(self, repository: Repository, listing: Listing) -> Mapping[Tip, ProcessFailed]:
        await self._git.threads(remove_tree, repository.directory)
        await repository.create(self._remote.url)
        wanted = of_listing(listing)
        bad = await self._transfer.bring(repository, {*wanted.refs.values(), *filter(None, [wanted.head_commit])})
        unfetched = {(ref.name, ref.oid): bad[ref.oid] for ref in listing.refs if ref.oid in bad}
        possible = without(listing, unfetched, Listing(refs=()))
        if not of_listing(possible).refs:
            raise next(iter(bad.values()))
        await repository.write_new_refs(possible)
        return unfetched

    async def _seeded(self, directory: Path, seed: Seed) -> bool:
        try:
            return await seed(directory)
        except CachewError as error:
            self.log.warn(
                "{repository} can't be restored and is cloned: {error}",
                repository=self._identity.name,
                error=str(error),
            )
            return False

    async def _completed(self, repository: Repository, listing: Listing) -> bool:
        """Bring what was restored to where the upstream is; say whether that was possible."""
        try:
            repository.configure(self._remote.url)
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
