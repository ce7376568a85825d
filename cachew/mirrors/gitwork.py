"""Git's commands on one repository, and what they leave behind."""

from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.mirrors.gitfailures import NOT_STARTED, met_another
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.ledger import Ledger
from cachew.mirrors.leftovers import remove_leftovers
from cachew.mirrors.objectindex import ObjectIndex
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.diskspace import room_to_grow
from cachew.plumbing.errors import (
    CorruptObject,
    ProcessFailed,
    ProcessTimedOut,
)
from cachew.plumbing.streams import Source

P = ParamSpec("P")
T = TypeVar("T")

QUICK = 120.0
"""Seconds that a command may take that hardly does anything."""
LISTING_LIMIT = 512 * 1024 * 1024
"""Bytes that a command may print of refs or objects."""
_AT_ONCE = 1000
"""Objects that are looked up in one turn, which takes some milliseconds."""


def _nothing() -> None:
    """Do nothing, in a thread: others have their turn meanwhile."""


class GitWork:
    """Git at work on one repository.

    :param directory: the bare repository.
    :param ledger: its files that have been verified, which is told who writes.
    :param git: how to run git.
    :param failed: told when git fails here, whatever the reason may be, and of damage that is met with.
    """

    log = Logger()

    def __init__(
        self,
        *,
        directory: Path,
        ledger: Ledger,
        git: GitRunner,
        failed: Callable[[ProcessFailed | CorruptObject], object],
    ) -> None:
        self._directory = directory
        self.ledger = ledger
        self._git = git
        self._failed = failed
        self._door = DeferredLock()
        self._untidy = False

    async def in_thread(self, function: Callable[P, T], /, *arguments: P.args, **named: P.kwargs) -> T:
        """Run in a thread what would hold others up."""
        return await self._git.threads(function, *arguments, **named)

    async def missing(self, objects: ObjectIndex, oids: Collection[str]) -> list[str]:
        """Return which objects are not here; others have their turn while very many are looked up."""
        if len(oids) <= _AT_ONCE:
            return objects.missing(oids)
        found: list[str] = []
        left = list(oids)
        for start in range(0, len(left), _AT_ONCE):
            found += objects.missing(left[start : start + _AT_ONCE])
            await self._git.threads(_nothing)
        return found

    async def output(self, *words: str) -> bytes:
        """Return what a command of git prints that is run here."""
        command = self._git.commands.git(self._directory, *words)
        done = await self.run(command, timeout=QUICK, limit=LISTING_LIMIT)
        return done.stdout

    async def write(
        self,
        command: Command,
        *,
        seconds: float,
        stdin: bytes | Source = b"",
        on_stderr: Callable[[bytes], object] | None = None,
        replaced: bool | None = None,
        waits: bool = False,
        blamed: bool = True,
    ) -> None:
        """Run a command that writes here; what a failed one leaves is removed when no other is writing.

        :param stdin: what it reads; a source is closed in the end.
        :param replaced: whether it may take files of objects away; None when it writes none of them.
        :param waits: whether it waits for an upstream, which may send without end.
        :param blamed: whether something here may be damaged when it fails.
        """
        room = room_to_grow(self._directory, self._git.min_free) if waits else None
        async with self.writing():
            run = self.run if blamed else self._git.processes.run
            await run(command, stdin=stdin, timeout=seconds, on_stderr=on_stderr, waits=waits, room=room)
            if replaced is not None:
                await self.take_up(replaced=replaced)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write to the repository while the block runs, which nobody takes for damage then."""
        await self._door.acquire()
        self.ledger.writers += 1
        self._door.release()
        try:
            yield
        except BaseException:
            self._untidy = True
            raise
        finally:
            self.ledger.writers -= 1
            self.ledger.plain_files.accept(self.ledger.plain_files.stamps())
            if self._untidy:
                await self._tidy()

    async def run(self, command: Command, **options: Any) -> Completed:
        """Run a command, and tell when it fails: something here may be damaged."""
        try:
            return await self._git.processes.run(command, **options)
        except ProcessFailed as error:
            started = not isinstance(error, ProcessTimedOut) and error.code not in (None, NOT_STARTED)
            if started and not met_another(error):
                self._failed(error)
            raise

    def met_damage(self, damage: CorruptObject) -> None:
        """Tell of damage that git would pass over."""
        self.log.warn("{directory}: {damage}", directory=self._directory, damage=str(damage))
        self._failed(damage)

    async def take_up(self, *, replaced: bool) -> None:
        """Verify what was just written of objects.

        :param replaced: whether files of objects may have been taken away.
        :raise CorruptObject: when the disk has not kept it.
        """
        bad = await self._git.threads(self.ledger.take_up, replaced=replaced)
        if bad:
            raise CorruptObject(f"{bad[0]} is damaged as soon as it is written")

    async def _tidy(self) -> None:
        await self._door.acquire()
        try:
            if self._untidy and not self.ledger.writers:
                await self._git.threads(remove_leftovers, self._directory)
                self._untidy = False
        except OSError as error:
            # As git could not either; whoever writes next tries again, which the disk must let him first.
            self.log.info("{directory}: leftovers stay for now: {error}", directory=self._directory, error=str(error))
        finally:
            self._door.release()
