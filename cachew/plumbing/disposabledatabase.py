"""A small SQLite file that is no great loss: what can't be read of it is forgotten, and it is made anew."""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from cachew.plumbing.database import connect, remove_database, transaction
from cachew.plumbing.threads import InThread

T = TypeVar("T")


class DisposableDatabase:
    """The file.

    :param path: where it is.
    :param threads: where it is read and written.
    :param what: what is lost with it, for the log.
    """

    log = Logger()

    def __init__(self, *, path: Path, threads: InThread, what: str) -> None:
        self._path = path
        self._threads = threads
        self._what = what

    async def read(self, query: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        """Return what a query finds.

        :param query: run in a thread.
        :param nothing: what it would find in an empty file.
        """
        try:
            found: T = await self._threads(self._read, query, nothing)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self.log.warn("{what} can't be read and is forgotten: {error}", what=self._what, error=str(error))
            await self._threads(self._remove)
            return nothing
        return found

    async def write(self, change: Callable[[sqlite3.Connection], None]) -> bool:
        """Change the file, all or nothing.

        :param change: run in a thread.
        :return: whether that was possible; a full disk stops nothing.
        """
        try:
            await self._threads(self._write, change)
        except (sqlite3.Error, OSError) as error:
            self.log.warn("{what} could not be written down: {error}", what=self._what, error=str(error))
            return False
        return True

    def _read(self, query: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        if not self._path.exists():
            return nothing
        with contextlib.closing(connect(self._path)) as database:
            return query(database)

    def _write(self, change: Callable[[sqlite3.Connection], None]) -> None:
        with contextlib.closing(connect(self._path)) as database, transaction(database):
            change(database)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            remove_database(self._path)
