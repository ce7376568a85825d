"""The index of a disk cache: what there is, how large, and when it was used last.

The files are the truth. The index answers what would take a walk over all of them: which object was not used for the
longest time, how much there is, what has expired. Losing it costs one walk. Everything here blocks and is called in
threads, under the cache's own lock.
"""

import sqlite3
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from cachew.cache.interface import Stats
from cachew.plumbing.database import Database, error_code, transaction
from cachew.plumbing.errors import StorageUnavailable

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (
    namespace TEXT NOT NULL, key TEXT NOT NULL, inode INTEGER NOT NULL, written INTEGER NOT NULL,
    size INTEGER NOT NULL, content INTEGER NOT NULL, expires REAL, used REAL NOT NULL,
    PRIMARY KEY (namespace, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_use ON objects (used);
CREATE INDEX IF NOT EXISTS by_expiry ON objects (expires);
"""
_FIELDS = "namespace, key, inode, written, size, content, expires, used"
_LIVE = "(expires IS NULL OR expires > ?)"


@dataclass(frozen=True)
class Row:
    """What the index knows of one object.

    :param inode: the file's number.
    :param written: when the file was written, in ns.
    :param size: bytes of the file.
    :param content: bytes of the object.
    :param expires: seconds since the epoch, None for never.
    :param used: seconds since the epoch.
    """

    namespace: str
    key: str
    inode: int
    written: int
    size: int
    content: int
    expires: float | None
    used: float


class DiskIndex:
    """The SQLite index of a disk cache: what there is, how large, how old, when it was used.

    :param path: the database's file.

    :ivar database: what it is in.
    :ivar size: bytes of all objects' files.
    """

    log = Logger()

    def __init__(self, path: Path) -> None:
        self._path = path
        self.database = Database(path)
        self.size = 0

    def open(self) -> None:
        """Open the database; one that is damaged is made anew, and what is no file is moved out of its way.

        :raise StorageUnavailable: when another process has it open.
        """
        if self._path.is_dir():
            aside = self._path.with_name(f"{self._path.name}.was-a-directory-{uuid.uuid4().hex[:8]}")
            self._path.rename(aside)
            message = "a directory lay in the place of {path} and is now {aside}; the index is made anew"
            self.log.error(message, path=str(self._path), aside=str(aside))
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            if "locked" in str(error):
                raise StorageUnavailable("another process has the disk cache open") from error
            if error_code(error) == sqlite3.SQLITE_FULL:
                raise
            self.database.remove()
            self._connect()

    def _connect(self) -> None:
        try:
            self.database.open()
            if self.database.rows("PRAGMA quick_check") != [("ok",)]:
                raise sqlite3.DatabaseError("the index is damaged")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"SELECT {_FIELDS} FROM objects LIMIT 1")
            (self.size,) = self._db.execute("SELECT COALESCE(SUM(size), 0) FROM objects").fetchone()
        except BaseException:
            self.database.close()
            raise

    @property
    def _db(self) -> sqlite3.Connection:
        try:
            return self.database.connection
        except sqlite3.OperationalError as error:
            raise StorageUnavailable("the disk cache is not open") from error

    def put(self, row: Row) -> None:
        """Note an object, in the place of any other under its key."""
        size, values = self.size, tuple(getattr(row, field) for field in _FIELDS.split(", "))
        try:
            with transaction(self._db):
                self.remove(row.namespace, row.key)
                self._db.execute(f"INSERT INTO objects ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        except sqlite3.Error:
            self.size = size
            raise
        self.size += row.size

    def remove(self, namespace: str, key: str) -> None:
        """Forget an object."""
        for (size,) in self._db.execute(
            "DELETE FROM objects WHERE namespace = ? AND key = ? RETURNING size", (namespace, key)
        ).fetchall():
            self.size -= size

    def touch(self, uses: Mapping[tuple[str, str], float]) -> None:
        """Note when objects were used, each named by its namespace and key."""
        rows = [(used, *name) for name, used in uses.items()]
        self.database.change_many("UPDATE objects SET used = ? WHERE namespace = ? AND key = ?", rows)

    def rows(self) -> Iterator[Row]:
        """Return everything, the least recently used first."""
        return (Row(*row) for row in self._db.execute(f"SELECT {_FIELDS} FROM objects ORDER BY used"))

    def expired(self, now: float) -> list[Row]:
        """Return what has expired."""
        found = self._db.execute(f"SELECT {_FIELDS} FROM objects WHERE expires <= ?", (now,))
        return [Row(*row) for row in found.fetchall()]

    def stats(self, now: float, capacity: int) -> Stats:
        """Count what has not expired."""
        query = f"SELECT COUNT(*), COALESCE(SUM(content), 0) FROM objects WHERE {_LIVE}"
        objects, size = self._db.execute(query, (now,)).fetchone()
        return Stats(objects, size, capacity)

    def namespaces(self, now: float) -> list[str]:
        """Return the namespaces of what has not expired."""
        found = self._db.execute(f"SELECT DISTINCT namespace FROM objects WHERE {_LIVE} ORDER BY namespace", (now,))
        return [namespace for (namespace,) in found.fetchall()]
