"""Where the traffic of the last day is kept across restarts: a small SQLite file, one row a minute."""

import json
import sqlite3
from collections.abc import Iterable

from cachew.plumbing.disposabledatabase import DisposableDatabase
from cachew.web.traffic import KEPT, Counts

_TABLE = """CREATE TABLE IF NOT EXISTS minutes (
    minute INTEGER PRIMARY KEY, requests INTEGER, hits INTEGER, misses INTEGER, cached INTEGER, relayed INTEGER,
    durations TEXT
)"""
_INSERT = "INSERT OR REPLACE INTO minutes VALUES (?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT minute, requests, hits, misses, cached, relayed, durations FROM minutes"


class TrafficFile:
    """The file.

    :param database: how it is read and written.
    """

    def __init__(self, *, database: DisposableDatabase) -> None:
        self._database = database

    async def read(self) -> list[tuple[int, Counts]]:
        """Return the minutes that are known."""
        return await self._database.read(_read, [])

    async def write(self, minutes: Iterable[tuple[int, Counts]]) -> None:
        """Write minutes down, in the place of what was known of them; those that nobody asks for any more go."""
        if rows := [_row(minute, counts) for minute, counts in minutes]:
            await self._database.write(lambda database: _write(database, rows))


def _read(database: sqlite3.Connection) -> list[tuple[int, Counts]]:
    return [_counts(row) for row in database.execute(f"{_SELECT} ORDER BY minute DESC LIMIT {KEPT}")]


def _write(database: sqlite3.Connection, rows: list[tuple[object, ...]]) -> None:
    database.execute(_TABLE)
    database.executemany(_INSERT, rows)
    database.execute(
        "DELETE FROM minutes WHERE minute <= (SELECT max(minute) FROM minutes) - ? OR minute > ?",
        (KEPT, rows[-1][0]),
    )


def _row(minute: int, counts: Counts) -> tuple[object, ...]:
    return (
        minute,
        counts.requests,
        counts.hits,
        counts.misses,
        counts.cached,
        counts.relayed,
        json.dumps(counts.durations),
    )


def _counts(row: tuple[int, int, int, int, int, int, str]) -> tuple[int, Counts]:
    minute, requests, hits, misses, cached, relayed, durations = row
    counts = Counts(
        requests=int(requests),
        hits=int(hits),
        misses=int(misses),
        cached=int(cached),
        relayed=int(relayed),
        durations=tuple(int(count) for count in json.loads(durations)),
    )
    return int(minute), counts.plus(Counts())
