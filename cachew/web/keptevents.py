"""Keeps what happened to each repository across restarts: a SQLite file, one row an event."""

import sqlite3
from collections.abc import Sequence

from cachew.plumbing.disposabledatabase import DisposableDatabase
from cachew.plumbing.happenings import Happening, Happenings, HappeningsChange

_TABLE = """CREATE TABLE IF NOT EXISTS events (
    repository TEXT, number INTEGER, at REAL, level TEXT, text TEXT, count INTEGER, PRIMARY KEY (repository, number)
) WITHOUT ROWID"""
_INSERT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT repository, at, level, text, count, number FROM events ORDER BY number"


class KeptEvents:
    """The events, in memory and in their file.

    :param happenings: what happened since the start, and before that once it is loaded.
    :param database: where it is kept.
    """

    def __init__(self, *, happenings: Happenings, database: DisposableDatabase) -> None:
        self._happenings = happenings
        self._database = database

    async def load(self) -> None:
        """Recall what happened in earlier runs."""
        self._happenings.recall(await self._database.read(_read, []))

    async def save(self) -> None:
        """Write down what has changed; to be run about once a minute, and at the end."""
        change = self._happenings.take_change()
        if change and not await self._database.write(lambda database: _write(database, change)):
            self._happenings.give_back(change)


def _read(database: sqlite3.Connection) -> list[tuple[str, Happening]]:
    return [
        (str(name), Happening(float(at), str(level), str(text), int(count), int(number)))
        for name, at, level, text, count, number in database.execute(_SELECT)
    ]


def _write(database: sqlite3.Connection, change: HappeningsChange) -> None:
    database.execute(_TABLE)
    # What is older than all that is kept of a repository is kept no more.
    database.executemany("DELETE FROM events WHERE repository = ? AND number < ?", change.oldest.items())
    database.executemany(_INSERT, _rows(change))


def _rows(change: HappeningsChange) -> Sequence[tuple[object, ...]]:
    # What git says may hold bytes that are no text.
    return [(name, one.number, one.at, one.level, _writable(one.text), one.count) for name, one in change.events]


def _writable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
