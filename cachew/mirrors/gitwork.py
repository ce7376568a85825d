"""Git's commands on one repository, what they leave behind, and whether anybody else has written there."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.mirrors.gitfailures import NOT_STARTED, met_another
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.ledger import Ledger, Stamp, stamp_of
from cachew.mirrors.leftovers import remove_leftovers
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.errors import (
    CorruptObject,
    ProcessFailed,
    ProcessTimedOut,
)
from cachew.plumbing.streams import Source

QUICK = 120.0
"""Seconds that a command may take that hardly does anything."""
LISTING_LIMIT = 512 * 1024 * 1024
"""Bytes that a command may print of refs or objects."""
_FORMS = ("config", "HEAD", "packed-refs")


class GitWork:
    """Git at work on one repository, and what shows that somebody else has written there.

    :param directory: the bare repository.
    :param ledger: its files that have been verified.
    :param git: how to run git.
    :param failed: told when git fails here, whatever the reason may be.
    """

    log = Logger()

    def __init__(
        self, *, directory: Path, ledger: Ledger, git: GitRunner, failed: Callable[[ProcessFailed], object]
    ) -> None:
        self._directory = directory
        self.ledger = ledger
        self._git = git
        self._failed = failed
        self._forms: dict[str, Stamp | None] = {}
        self._door = DeferredLock()
        self._writers = 0
        self._untidy = False

    def look_anew(self, forms: Mapping[str, Stamp | None] | None = None) -> None:
        """Take the files without a checksum for what they should be.

        :param forms: as :meth:`forms` has shown them; as they are when they are looked at next when None.
        """
        self._forms = dict(forms or {})

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
        :param waits: whether it waits for an upstream.
        :param blamed: whether something here may be damaged when it fails.
        """
        async with self.writing():
            run = self.run if blamed else self._git.processes.run
            await run(command, stdin=stdin, timeout=seconds, on_stderr=on_stderr, waits=waits)
            await self._take_up(replaced)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write to the repository while the block runs, which nobody takes for damage then."""
        await self._door.acquire()
        self._writers += 1
        self._door.release()
        try:
            yield
        except BaseException:
            self._untidy = True
            raise
        finally:
            self._writers -= 1
            self._forms = self.forms()
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

    async def _take_up(self, replaced: bool | None) -> None:
        """Verify what git has just written of objects.

        :raise CorruptObject: when the disk has not kept it.
        """
        if replaced is None:
            return
        bad = await self._git.threads(self.ledger.take_up, replaced=replaced)
        if bad:
            raise CorruptObject(f"{bad[0]} is damaged as soon as it is written")

    @property
    def busy(self) -> bool:
        """Whether git is writing here now."""
        return self._writers > 0

    def changed(self) -> str:
        """Return a file that was written to by somebody else since it was verified or written here, or nothing."""
        if name := self.ledger.changed(writing=self.busy):
            return name
        if self.busy:
            return ""
        now = self.forms()
        self._forms = self._forms or now
        return next((name for name in now if now[name] != self._forms[name]), "")

    def forms(self) -> dict[str, Stamp | None]:
        """Return what shows whether somebody writes to the files that have no checksum."""
        return {name: stamp_of(self._directory / name) for name in _FORMS}

    async def _tidy(self) -> None:
        await self._door.acquire()
        try:
            if self._untidy and not self._writers:
                await self._git.threads(remove_leftovers, self._directory)
                self._untidy = False
        except OSError as error:
            # As git could not either; whoever writes next tries again, which the disk must let him first.
            self.log.info("{directory}: leftovers stay for now: {error}", directory=self._directory, error=str(error))
        finally:
            self._door.release()
