"""Where the traffic of the last day is kept across restarts: a small SQLite file, one row a minute."""

import contextlib
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from twisted.logger import Logger

from cachew.plumbing.threads import InThread
from cachew.web.traffic import KEPT, Counts

_TABLE = """CREATE TABLE IF NOT EXISTS minutes (
    minute INTEGER PRIMARY KEY, requests INTEGER, hits INTEGER, misses INTEGER, cached INTEGER, relayed INTEGER,
    durations TEXT
)"""
_INSERT = "INSERT OR REPLACE INTO minutes VALUES (?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT minute, requests, hits, misses, cached, relayed, durations FROM minutes"


class TrafficFile:
    """The file. It is no great loss: one that can't be read is made anew.

    :param path: where it is.
    :param threads: where it is read and written.
    """

    log = Logger()

    def __init__(self, *, path: Path, threads: InThread) -> None:
        self._path = path
        self._threads = threads

    async def read(self) -> list[tuple[int, Counts]]:
        """Return the minutes that are known."""
        try:
            return list(await self._threads(self._read))
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            self.log.warn("the traffic of the last day can't be read and is forgotten: {error}", error=str(error))
            await self._threads(self._remove)
            return []

    async def write(self, minutes: Iterable[tuple[int, Counts]]) -> None:
        """Write minutes down, in the place of what was known of them; those that nobody asks for any more go."""
        if rows := [_row(minute, counts) for minute, counts in minutes]:
            await self._threads(self._write, rows)

    def _read(self) -> list[tuple[int, Counts]]:
        if not self._path.exists():
            return []
        with contextlib.closing(sqlite3.connect(self._path)) as database:
            return [_counts(row) for row in database.execute(f"{_SELECT} ORDER BY minute DESC LIMIT {KEPT}")]

    def _write(self, rows: list[tuple[object, ...]]) -> None:
        with contextlib.closing(sqlite3.connect(self._path)) as database, database:
            database.execute(_TABLE)
            database.executemany(_INSERT, rows)
            database.execute(
                "DELETE FROM minutes WHERE minute <= (SELECT max(minute) FROM minutes) - ? OR minute > ?",
                (KEPT, rows[-1][0]),
            )

    def _remove(self) -> None:
        for suffix in ("", "-journal"):
            with contextlib.suppress(OSError):
                self._path.with_name(self._path.name + suffix).unlink()


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
