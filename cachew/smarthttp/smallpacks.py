"""Small kept answers, together in one file: a blob that a partial clone fetches is an answer of its own.

Hundreds of thousands of them would be as many files. They lie in an SQLite database instead, each with its digest, the
least recently used going first. Losing the database costs their making: one that is damaged, cut short or removed is
made anew, and an answer that is not what was written is dropped and never served. Everything here blocks and is called
in threads.
"""

import io
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from twisted.logger import Logger

from cachew.cache.eviction import victims
from cachew.plumbing.database import connect, is_damaged, remove_database, transaction
from cachew.smarthttp.packcheck import NotWhole, checksum_holds, outline

T = TypeVar("T")

LARGEST = 32 * 1024
"""Bytes of the largest answer that is small: sending one of these out of a file is dearer than out of memory."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, used REAL NOT NULL,
    digest BLOB NOT NULL, answer BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON answers (used, size);
"""
_USES_KEPT = 256
_MARGIN = 16
_AT_ONCE = 256
"""Answers that go, or are read through, in one go."""
_OLDEST = f"SELECT number, size FROM answers ORDER BY used LIMIT {_AT_ONCE}"
_NEXT = f"SELECT number, key, digest, answer FROM answers WHERE number > ? ORDER BY number LIMIT {_AT_ONCE}"


class _Stored(NamedTuple):
    number: int
    size: int


class SmallPacks:
    """Keeps small answers.

    :param path: of the database.
    :param limit: bytes that they may take, None for no bound.
    :param on_damage: called when something was damaged.
    """

    log = Logger()

    def __init__(self, *, path: Path, limit: int | None, on_damage: Callable[[], object] = lambda: None) -> None:
        self._path = path
        self._limit = limit
        self._on_damage = on_damage
        self._lock = threading.Lock()
        self._database: sqlite3.Connection | None = None
        self._inode = 0
        self._told = False
        self._uses: dict[bytes, float] = {}
        self.size = 0
        self.count = 0

    def open(self) -> None:
        """Open the database; one that is damaged is made anew. Without one, nothing is kept here."""
        with self._lock:
            self._try(self._open)

    def close(self) -> None:
        """Write down what was used, and close the database."""
        with self._lock:
            self._try(self._flush)
            self._close()

    def get(self, key: str, now: float) -> bytes | None:
        """Return an answer, None when it isn't kept, or not as it was written."""
        with self._lock:
            return self._try(lambda: self._get(bytes.fromhex(key), now))

    def has(self, key: str) -> bool:
        """Say whether an answer is kept."""
        with self._lock:
            return bool(self._try(lambda: self._row("size", bytes.fromhex(key))))

    def keep(self, key: str, file: Path, now: float, *, doubted: bool = False) -> bool:
        """Keep an answer that has been written to a file.

        :param doubted: whether its pack is compared with the pack's own checksum first.
        :return: whether it is kept; not when it is no whole pack.
        :raise OSError: when the file can't be read.
        """
        answer = file.read_bytes()
        try:
            outline(io.BytesIO(answer), len(answer))
            if doubted and not checksum_holds(io.BytesIO(answer), len(answer)):
                return False
        except NotWhole:
            return False
        with self._lock:
            return bool(self._try(lambda: self._put(bytes.fromhex(key), answer, now)))

    def shrink(self, size: int) -> None:
        """Drop the least recently used until the rest takes no more than ``size`` bytes."""
        with self._lock:
            self._try(lambda: self._shrink(size))

    def size_of(self, prefix: str) -> int:
        """Return the bytes of the answers whose keys begin so.

        :param prefix: an even number of hex digits.
        """
        first = bytes.fromhex(prefix)
        query = "SELECT COALESCE(SUM(size), 0) FROM answers WHERE key >= ? AND key <= ?"
        with self._lock:
            found = self._try(lambda: self._rows(query, first, first + b"\xff" * 32))
        return int(found[0][0]) if found else 0

    def check(self, after: int) -> tuple[int, int] | None:
        """Read the next answers through; those that are damaged are dropped.

        :param after: the number that the last call gave; 0 for the first.
        :return: a number for the next call and the bytes that were read; None when there are no more.
        """
        with self._lock:
            return self._try(lambda: self._check(after))

    # With the lock held.

    def _try(self, work: Callable[[], T]) -> T | None:
        """Do something with the database; None when that fails, in which case a damaged one is made anew."""
        try:
            return work()
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and is_damaged(error):
                self.log.error("the database of small kept packs is damaged and is made anew")
                self._on_damage()
                self._make_anew()
            else:
                self._tell(error)
            return None

    def _tell(self, error: Exception) -> None:
        """Tell of a failure that is none of the database's content, once until it can be opened again."""
        if not self._told:
            self._told = True
            self.log.warn("small kept packs are of no use for now: {error}", error=str(error))

    def _make_anew(self) -> None:
        self._close()
        try:
            remove_database(self._path)
            self._open()
        except (OSError, sqlite3.Error) as error:
            self._close()
            self._tell(error)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._path.is_dir():
            remove_database(self._path)
        self._database = connect(self._path, "auto_vacuum=INCREMENTAL")
        self._database.executescript(_SCHEMA)
        self._inode = self._path.stat().st_ino
        self._recount()
        self._told = False

    def _recount(self) -> None:
        ((self.count, self.size),) = self._rows("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM answers")

    def _close(self) -> None:
        database, self._database = self._database, None
        self._uses.clear()
        self.count = self.size = 0
        if database is not None:
            with suppress(sqlite3.Error):
                database.close()

    @property
    def _db(self) -> sqlite3.Connection:
        if self._database is None:
            raise sqlite3.OperationalError("it is not open")
        return self._database

    def _rows(self, query: str, *values: object) -> list[Any]:
        return self._db.execute(query, values).fetchall()

    def _row(self, fields: str, key: bytes) -> Any:
        return self._db.execute(f"SELECT {fields} FROM answers WHERE key = ?", (key,)).fetchone()

    def _get(self, key: bytes, now: float) -> bytes | None:
        if (found := self._row("number, digest, answer", key)) is None:
            return None
        number, digest, answer = found
        if sha256(answer).digest() != digest:
            self._drop_damaged(number, key)
            return None
        self._uses[key] = now
        if len(self._uses) >= _USES_KEPT:
            self._flush()
        return bytes(answer)

    def _check(self, after: int) -> tuple[int, int] | None:
        found = self._rows(_NEXT, after)
        for number, key, digest, answer in found:
            if sha256(answer).digest() != digest:
                self._drop_damaged(number, key)
        return (found[-1][0], sum(len(answer) for *_, answer in found)) if found else None

    def _drop_damaged(self, number: int, key: bytes) -> None:
        self.log.warn("dropped small kept pack {key}: other content than was written", key=key.hex())
        self._on_damage()
        self._db.execute("DELETE FROM answers WHERE number = ?", (number,))
        self._recount()

    def _put(self, key: bytes, answer: bytes, now: float) -> bool:
        if not self._is_there():
            # Somebody has removed it under the server: what is written to it is lost.
            self._make_anew()
        (before,) = self._row("size", key) or (None,)
        self._db.execute(
            "INSERT OR REPLACE INTO answers (key, size, used, digest, answer) VALUES (?, ?, ?, ?, ?)",
            (key, len(answer), now, sha256(answer).digest(), answer),
        )
        self.size += len(answer) - (before or 0)
        self.count += before is None
        if self._limit is not None and self.size > self._limit:
            # By more than this one takes, so that not every one has others removed for it.
            self._shrink(self._limit - self._limit // _MARGIN)
        return True

    def _is_there(self) -> bool:
        try:
            return self._database is not None and self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def _shrink(self, size: int) -> None:
        """Drop the least recently used, and give the file's free pages back."""
        if self.size <= size:
            return
        self._flush()
        while self.size > size and (oldest := self._rows(_OLDEST)):
            going = list(victims((_Stored(*row) for row in oldest), self.size - size))
            with transaction(self._db):
                self._db.executemany("DELETE FROM answers WHERE number = ?", [(one.number,) for one in going])
            self.size -= sum(one.size for one in going)
            self.count -= len(going)
        self._rows("PRAGMA incremental_vacuum")

    def _flush(self) -> None:
        uses = [(used, key) for key, used in self._uses.items()]
        self._uses.clear()
        if uses and self._database is not None:
            with transaction(self._database):
                self._database.executemany("UPDATE answers SET used = ? WHERE key = ?", uses)
