"""One bare repository on disk and the git commands run on it: no policy, no network of its own.

Whoever calls holds the mirror's locks. What a command leaves behind that was ended early is removed here, as soon as no
other command writes.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cachew.mirrors.examination import DamagedFiles, examine, hidden_refs, remove_derived, rewrite
from cachew.mirrors.fewrefs import remove_left
from cachew.mirrors.gitfailures import NOT_STARTED, run_check
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.gitwork import QUICK, GitWork
from cachew.mirrors.history import History, shallow_of
from cachew.mirrors.intake import Intake
from cachew.mirrors.ledger import Ledger
from cachew.mirrors.leftovers import remove_leftovers
from cachew.mirrors.mirrorrecord import RECORD
from cachew.mirrors.objectindex import ObjectIndex
from cachew.mirrors.reffiles import RefFiles
from cachew.mirrors.refupdates import RefUpdates
from cachew.mirrors.repositorypacks import RepositoryPacks, size_of
from cachew.plumbing.diskspace import content_of, put_in_place
from cachew.plumbing.errors import (
    CachewError,
    CorruptObject,
    ProcessFailed,
    ProcessTimedOut,
    TooLarge,
)
from cachew.upstream.listing import Listing


@dataclass(frozen=True)
class Stock:
    """What an earlier run has left of a repository.

    :param listing: its refs; None where only git can tell.
    :param fetched: when something was fetched last, in epoch seconds.
    :param known: whether it says what of it was verified.
    :param changed: whether something is not as it was then, or is damaged.
    """

    listing: Listing | None
    fetched: float
    known: bool
    changed: bool


class Repository:
    """A bare repository.

    :param directory: where it is.
    :param object_format: ``sha1`` or ``sha256``.
    :param git: how to run git.
    :param failed: told when git fails here, whatever the reason may be, and of damage that is met with.
    :ivar refs: its refs.
    :ivar ref_updates: moves them.
    :ivar intake: brings objects into it.
    :ivar packs: its packs.
    :ivar history: what its commits reach.
    :ivar work: git at work on it.
    """

    def __init__(
        self,
        *,
        directory: Path,
        object_format: str,
        git: GitRunner,
        failed: Callable[[ProcessFailed | CorruptObject], object] = lambda failure: None,
    ) -> None:
        self.directory = directory
        self.object_format = object_format
        self.ledger = Ledger(directory=directory, object_format=object_format)
        self.objects = ObjectIndex(directory=directory, object_format=object_format, opened=git.indexes)
        self.work = GitWork(directory=directory, ledger=self.ledger, git=git, failed=failed)
        self.history = History(directory=directory, objects=self.objects, git=git, work=self.work)
        self.ref_updates = RefUpdates(directory=directory, git=git, work=self.work, history=self.history)
        self.refs = RefFiles(
            directory=directory,
            object_format=object_format,
            threads=git.threads,
            work=self.work,
            objects=self.objects,
            updates=self.ref_updates,
        )
        self.intake = Intake(directory=directory, object_format=object_format, git=git, work=self.work)
        self._git = git
        self.packs = RepositoryPacks(directory=directory, git=git, work=self.work)

    async def create(self, upstream_url: str) -> None:
        """Make the repository, empty and configured."""
        commands = self._git.commands
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        await self.work.write(commands.init(self.directory, self.object_format), seconds=QUICK)
        self.configure(upstream_url)

    def configure(self, upstream_url: str) -> None:
        """Write the whole configuration anew, whatever stood there."""
        text = self._config(upstream_url)
        with suppress(OSError):
            if content_of(f"{self.directory}/config") == text.encode():
                return
        put_in_place(self.directory / "config", text.encode())
        self.ledger.plain_files.accept()

    def _config(self, upstream_url: str) -> str:
        return self._git.commands.config(upstream_url, self.object_format)

    def take_stock(self, upstream_url: str) -> Stock:
        """Take up what an earlier run has left, after removing what a killed git did (blocking).

        :raise OSError: when it can't be read.
        """
        remove_leftovers(self.directory)
        remove_left(self.directory)
        self.configure(upstream_url)
        known = self.ledger.load()
        damaged = False
        try:
            listing = self.refs.read_files(peeled=True)
        except CorruptObject:
            listing, damaged = None, True
        return Stock(
            listing=listing,
            fetched=os.stat(f"{self.directory}/{RECORD}").st_mtime,
            known=known,
            changed=damaged or bool(known and self.ledger.unverified()),
        )

    async def scrub(self, pace: Callable[[int], Awaitable[object]]) -> bool:
        """Read every file that has a checksum, one after the other; say whether all are sound.

        :param pace: awaited after each with the bytes that were read.
        """
        for name in await self._git.threads(self.ledger.names):
            size = await self._git.threads(size_of, self.directory / name)
            # What has gone since may have been replaced by git.
            bad = await self._git.threads(self.ledger.verify, [name]) if size is not None else []
            if bad:
                return False
            await pace(size or 0)
        return True

    async def examine(self, upstream_url: str, *, contents: bool) -> DamagedFiles:
        """Find out what is damaged; see :func:`cachew.mirrors.examination.examine`."""
        config, digits = self._config(upstream_url), self._digits
        plain = self.ledger.plain_files.stamps()
        found = await self._git.threads(
            examine, self.directory, self.ledger, config=config, digits=digits, contents=contents
        )
        # Before a fetch git looks at all refs there are, and gives up where one of them leads to nothing.
        if not found.objects and (lost := await self._lost()):
            found = replace(found, shape=(*found.shape, *lost))
        if not found.shape:
            self.ledger.plain_files.accept(plain)
        return found

    async def _lost(self) -> dict[str, str]:
        """Return the refs that should keep objects alive that are not there."""
        hidden = await self._git.threads(hidden_refs, self.directory, self._digits)
        absent = set(await self.work.missing(self.objects, hidden.values()))
        return {name: oid for name, oid in hidden.items() if oid in absent}

    @property
    def _digits(self) -> int:
        return 64 if self.object_format == "sha256" else 40

    async def mend(self, found: DamagedFiles, listing: Listing, upstream_url: str) -> None:
        """Remove what git can make again, and write anew what is known.

        :param listing: what the refs should be.
        """
        await self._git.threads(remove_derived, self.directory, found)
        if found.shape:
            lost = set((await self._lost()).values())
            await self._git.threads(rewrite, self.directory, listing, digits=self._digits, lost=lost)
            self.configure(upstream_url)
            self.ledger.plain_files.accept()

    async def disconnected(self) -> CachewError | None:
        """Return what fsck says when something is missing that the refs reach; what kept it from its end is raised."""
        try:
            await run_check(
                self._git.processes, self._git.commands.upkeep.fsck(self.directory), self._git.maintenance_timeout
            )
        except TooLarge as error:
            return error
        except ProcessFailed as error:
            if isinstance(error, ProcessTimedOut) or error.code in (None, NOT_STARTED):
                raise
            return error
        return None

    def shallow(self) -> tuple[str, ...]:
        """Return the ids of the commits whose parents are missing, as at the upstream."""
        return shallow_of(self.directory)
