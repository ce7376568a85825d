"""Small kept answers as rows of an SQLite database, each with its digest (blocking).

Losing the database costs their making: one that is damaged, cut short or removed is made anew, and an answer that is
not what was written is dropped and never served.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from twisted.logger import Logger

from cachew.cache.eviction import victims
from cachew.cache.uses import UnwrittenUses
from cachew.plumbing.database import Database, is_damaged

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, size INTEGER NOT NULL, used REAL NOT NULL,
    digest BLOB NOT NULL, answer BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS by_use ON answers (used, size);
"""
_AT_ONCE = 256
"""Answers that go, or are read through, in one go."""
_OLDEST = f"SELECT number, size FROM answers ORDER BY used LIMIT {_AT_ONCE}"
_MARGIN = 16
_NEXT = f"SELECT number, key, digest, answer FROM answers WHERE number > ? ORDER BY number LIMIT {_AT_ONCE}"


class _Stored(NamedTuple):
    number: int
    size: int


class AnswerTable:
    """The answers in a database, and what they take together.

    :param path: of the database.
    :param damaged: told of each answer that is other than it was written, before it is removed.

    :ivar database: where they lie.
    :ivar size: bytes of the answers.
    :ivar count: how many there are.
    """

    def __init__(self, *, path: Path, damaged: Callable[[bytes], object]) -> None:
        self._path = path
        self._damaged = damaged
        self.database = Database(path, "auto_vacuum=INCREMENTAL")
        self._uses: UnwrittenUses[bytes] = UnwrittenUses(self._touch)
        self.size = 0
        self.count = 0

    def open(self) -> None:
        """Open the database, made when there is none.

        :raise sqlite3.Error: when it is damaged.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if self._path.is_dir():
            self.database.remove()
        self.database.open()
        self.database.connection.executescript(_SCHEMA)
        self._recount()

    def close(self) -> None:
        """Close the database; it is as good as empty then."""
        self.database.close()
        self._uses.clear()
        self.count = self.size = 0

    def get(self, key: bytes, now: float) -> bytes | None:
        """Return an answer, None when it isn't kept, or not as it was written."""
        if (found := self._row("number, digest, answer", key)) is None:
            return None
        number, digest, answer = found
        if sha256(answer).digest() != digest:
            self._drop_damaged(number, key)
            return None
        self._uses.note(key, now)
        return bytes(answer)

    def has(self, key: bytes) -> bool:
        """Say whether an answer is kept."""
        return self._row("size", key) is not None

    def put(self, key: bytes, answer: bytes, now: float) -> None:
        """Keep an answer, in the place of the one that is kept under its key, if any is."""
        (before,) = self._row("size", key) or (None,)
        self.database.rows(
            "INSERT OR REPLACE INTO answers (key, size, used, digest, answer) VALUES (?, ?, ?, ?, ?)",
            *(key, len(answer), now, sha256(answer).digest(), answer),
        )
        self.size += len(answer) - (before or 0)
        self.count += before is None

    def size_of(self, prefix: bytes) -> int:
        """Return the bytes of the answers whose keys begin so."""
        query = "SELECT COALESCE(SUM(size), 0) FROM answers WHERE key >= ? AND key <= ?"
        return int(self.database.rows(query, prefix, prefix + b"\xff" * 32)[0][0])

    def check(self, after: int) -> tuple[int, int] | None:
        """Read the next answers through; those that are damaged are dropped.

        :param after: the number that the last call gave; 0 for the first.
        :return: a number for the next call and the bytes that were read; None when there are no more.
        """
        found = self.database.rows(_NEXT, after)
        for number, key, digest, answer in found:
            if sha256(answer).digest() != digest:
                self._drop_damaged(number, key)
        return (found[-1][0], sum(len(answer) for *_, answer in found)) if found else None

    def shrink(self, size: int) -> None:
        """Drop the least recently used until the rest takes no more than ``size`` bytes, which the file gives back."""
        if self.size <= size:
            return
        self.flush()
        while self.size > size and (oldest := self.database.rows(_OLDEST)):
            going = list(victims((_Stored(*row) for row in oldest), self.size - size))
            self.database.change_many("DELETE FROM answers WHERE number = ?", [(one.number,) for one in going])
            self.size -= sum(one.size for one in going)
            self.count -= len(going)
        self.database.give_back()

    def drop(self, keys: Iterable[bytes]) -> None:
        """Drop those that are kept of some answers."""
        for key in keys:
            if (found := self._row("number, size", key)) is not None:
                number, size = found
                self.database.rows("DELETE FROM answers WHERE number = ?", number)
                self.size, self.count = self.size - size, self.count - 1

    def flush(self) -> None:
        """Write down what was used."""
        self._uses.flush()

    def _touch(self, uses: dict[bytes, float]) -> None:
        rows = [(used, key) for key, used in uses.items()]
        self.database.change_many("UPDATE answers SET used = ? WHERE key = ?", rows)

    def _drop_damaged(self, number: int, key: bytes) -> None:
        self._damaged(key)
        self.database.rows("DELETE FROM answers WHERE number = ?", number)
        self._recount()

    def _recount(self) -> None:
        ((self.count, self.size),) = self.database.rows("SELECT COUNT(*), COALESCE(SUM(size), 0) FROM answers")

    def _row(self, fields: str, key: bytes) -> Any:
        return next(iter(self.database.rows(f"SELECT {fields} FROM answers WHERE key = ?", key)), None)


class DisposableAnswers:
    """The database, which is of no use when it fails, and made anew when it is damaged (blocking).

    :param path: where it is.
    :param limit: bytes that its answers may take, None for no bound.
    :param on_damage: called when something was damaged.

    :ivar table: what is in it.
    """

    log = Logger()

    def __init__(self, *, path: Path, limit: int | None, on_damage: Callable[[], object]) -> None:
        self._limit = limit
        self._on_damage = on_damage
        self._lock = threading.Lock()
        self._told = False
        self.table = AnswerTable(path=path, damaged=self._dropped)

    def attempt(self, work: Callable[..., Any], *arguments: object) -> Any:
        """Do something with it; None when that fails, in which case a damaged one is made anew."""
        with self._lock:
            try:
                return work(*arguments)
            except (sqlite3.Error, OSError) as error:
                if isinstance(error, sqlite3.Error) and is_damaged(error):
                    self.log.error("the database of small kept packs is damaged and is made anew")
                    self._on_damage()
                    self._make_anew()
                else:
                    self._tell(error)
                return None

    def open(self) -> None:
        """Open it."""
        self.attempt(self._open)

    def close(self) -> None:
        """Write down what was used, and close it."""
        self.attempt(self.table.flush)
        with self._lock:
            self.table.close()

    def put(self, key: bytes, answer: bytes, now: float) -> bool:
        """Keep an answer; the least recently used go beyond the bound."""
        return bool(self.attempt(self._put, key, answer, now))

    def _put(self, key: bytes, answer: bytes, now: float) -> bool:
        if not self.table.database.is_there:
            self._make_anew()
        self.table.put(key, answer, now)
        if self._limit is not None and self.table.size > self._limit:
            # By more than this one takes, so that not every one has others removed for it.
            self.table.shrink(self._limit - self._limit // _MARGIN)
        return True

    def _tell(self, error: Exception) -> None:
        """Tell of a failure that is none of the database's content, once until it can be opened again."""
        if not self._told:
            self._told = True
            self.log.warn("small kept packs are of no use for now: {error}", error=str(error))

    def _open(self) -> None:
        self.table.open()
        self._told = False

    def _make_anew(self) -> None:
        try:
            self.table.close()
            self.table.database.remove()
            self._open()
        except (OSError, sqlite3.Error) as error:
            self.table.close()
            self._tell(error)

    def _dropped(self, key: bytes) -> None:
        self.log.warn("dropped small kept pack {key}: other content than was written", key=key.hex())
        self._on_damage()
