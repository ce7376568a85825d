"""SQLite databases that one process has to itself: opened, told from damaged ones, and made anew (blocking).

What lies in them can be found or made again, so nothing is mended: a database that is damaged is removed.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from cachew.plumbing.diskspace import remove

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PAGES_AT_ONCE = 1000
_PRIMARY = 0xFF
"""The bits of SQLite's error code that say what went wrong; the rest says where."""


def connect(path: Path, *pragmas: str) -> sqlite3.Connection:
    """Open a database for the threads of this process, made when there is none.

    :param pragmas: what else is to be set before anything is read, as ``name=value``.
    :raise sqlite3.DatabaseError: when it is damaged, or another process has it open.
    """
    database = sqlite3.connect(path, timeout=1, isolation_level=None, check_same_thread=False)
    try:
        # Held by this process alone, it needs no memory shared through a file, which would end the process when
        # somebody cuts that short (https://www.sqlite.org/wal.html#noshm).
        for pragma in ("mmap_size=0", "locking_mode=EXCLUSIVE", *pragmas, "journal_mode=WAL", "synchronous=NORMAL"):
            database.execute(f"PRAGMA {pragma}")
    except BaseException:
        database.close()
        raise
    return database


class Database:
    """A database's file, and the connection to it while it is open.

    :param path: where it is.
    :param pragmas: what is to be set before anything is read, as ``name=value``.
    """

    def __init__(self, path: Path, *pragmas: str) -> None:
        self._path = path
        self._pragmas = pragmas
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def open(self) -> None:
        """Open it, made when there is none.

        :raise sqlite3.DatabaseError: when it is damaged, or another process has it open.
        """
        self._connection = connect(self._path, *self._pragmas)
        self._inode = self._path.stat().st_ino

    def close(self) -> None:
        """Close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def remove(self) -> None:
        """Close and remove it, or whatever lies in its place."""
        self.close()
        remove_database(self._path)

    @property
    def is_there(self) -> bool:
        """Whether it is open, and the open one is what lies at its path; what is written to a removed one is lost."""
        try:
            return self._connection is not None and self._path.stat().st_ino == self._inode
        except OSError:
            return False

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection.

        :raise sqlite3.OperationalError: when it is not open.
        """
        if self._connection is None:
            raise sqlite3.OperationalError("it is not open")
        return self._connection

    def rows(self, query: str, *values: object) -> list[Any]:
        """Return what a statement finds."""
        return self.connection.execute(query, values).fetchall()

    def give_back(self) -> None:
        """Give the file system back what is free within the file, some megabytes at a time: the log holds as much."""
        free, left = 0, self._free_pages()
        while left and left != free:
            # Only a script is run to its end: a statement without columns ends after the first page.
            self.connection.executescript(f"PRAGMA incremental_vacuum({_PAGES_AT_ONCE})")
            free, left = left, self._free_pages()
        if free:
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def _free_pages(self) -> int:
        return int(self.rows("PRAGMA freelist_count")[0][0])

    def change_many(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Have one change made with many values, or none of that."""
        with transaction(self.connection):
            self.connection.executemany(statement, values)


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Have several changes made, or none; a transaction that fails is never left open."""
    database.execute("BEGIN")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise


def error_code(error: sqlite3.Error) -> int:
    """Return what went wrong, as one of SQLite's primary result codes."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY


def is_damaged(error: sqlite3.Error) -> bool:
    """Say whether an error means that the database is damaged."""
    return error_code(error) in _DAMAGED


def remove_database(path: Path) -> None:
    """Remove a database that is closed, or whatever lies in its place, with what lies beside it."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        remove(Path(f"{path}{suffix}"))
