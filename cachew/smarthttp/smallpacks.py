"""Small kept packs, together in one file: a blob that a partial clone fetches is an answer of its own.

Hundreds of thousands of them would be as many files. They lie in an SQLite database instead
(:mod:`cachew.smarthttp.answertable`), the least recently used going first. Losing the database costs their making: one
that is damaged, cut short or removed is made anew, and an answer that is not what was written is dropped and never
served.
"""

import io
import sqlite3
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from cachew.plumbing.clock import Clock
from cachew.plumbing.database import is_damaged
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource
from cachew.plumbing.threads import InThread
from cachew.smarthttp.answertable import AnswerTable
from cachew.smarthttp.packcheck import NotWhole, checksum_holds, outline
from cachew.smarthttp.packstore import Pace

LARGEST = 32 * 1024
"""Bytes of the largest answer that is small: sending one of these out of a file is dearer than out of memory."""
_MARGIN = 16
_ABSENT = 1024


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


class SmallPacks:
    """Keeps small packs in a database. Without one to be had, nothing is kept here.

    :param path: of the database.
    :param limit: bytes that they may take, None for no bound.
    :param threads: where the database is read and written.
    :param clock: what time it is.
    :param on_damage: called when something was damaged.
    """

    def __init__(
        self,
        *,
        path: Path,
        limit: int | None,
        threads: InThread,
        clock: Clock,
        on_damage: Callable[[], object] = lambda: None,
    ) -> None:
        self._answers = DisposableAnswers(path=path, limit=limit, on_damage=on_damage)
        self._table = self._answers.table
        self._threads = threads
        self._clock = clock
        self._absent = _Absent()

    @property
    def size(self) -> int:
        """Bytes that they take."""
        return self._table.size

    @property
    def count(self) -> int:
        """How many there are."""
        return self._table.count

    async def open(self) -> None:
        """Open the database; one that is damaged is made anew."""
        await self._threads(self._answers.open)

    async def close(self) -> None:
        """Write down what was used, and close the database."""
        await self._threads(self._answers.close)

    async def get(self, key: str) -> BytesSource | None:
        """Return a pack, None when it isn't kept, or not as it was written."""
        if not self.count or key in self._absent:
            return None
        kept_before = self._absent.kept
        answer = await self._threads(self._answers.attempt, self._table.get, bytes.fromhex(key), self._clock.now())
        if answer is not None:
            return BytesSource(answer)
        self._absent.note(key, kept_before)
        return None

    async def has(self, key: str) -> bool:
        """Say whether a pack is kept."""
        return bool(self.count and await self._threads(self._answers.attempt, self._table.has, bytes.fromhex(key)))

    async def keep(self, key: str, spool: Spool, *, doubted: bool = False) -> bool:
        """Keep an answer that has been spooled, if it is a whole pack, and small.

        :param doubted: whether its pack is compared with the pack's own checksum first.
        :return: whether it is kept.
        :raise OSError: when the spool can't be read.
        """
        if spool.size > LARGEST:
            return False
        answer = await self._threads(_whole, spool.path, doubted)
        if answer is None or not await self._threads(self._answers.put, bytes.fromhex(key), answer, self._clock.now()):
            return False
        self._absent.forget(key)
        return True

    async def shrink(self, size: int) -> None:
        """Drop the least recently used until the rest takes no more than ``size`` bytes."""
        await self._threads(self._answers.attempt, self._table.shrink, size)

    async def size_of(self, owner: str) -> int:
        """Return the bytes of the packs whose keys begin so: an even number of hex digits."""
        return await self._threads(self._answers.attempt, self._table.size_of, bytes.fromhex(owner)) or 0

    async def scrub(self, pace: Pace) -> None:
        """Read every pack through; what is damaged is dropped."""
        after = 0
        while (checked := await self._threads(self._answers.attempt, self._table.check, after)) is not None:
            after, size = checked
            await pace(size)


class _Absent:
    """Keys that were looked for in vain and that nothing was kept under since.

    Whoever finds a pack missing, and has it made, looks again whether another has made it meanwhile.

    :ivar kept: how often anything was kept.
    """

    def __init__(self) -> None:
        self._keys: OrderedDict[str, None] = OrderedDict()
        self.kept = 0

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def note(self, key: str, kept_before: int) -> None:
        """Take note of a key under which nothing was found.

        :param kept_before: how often anything had been kept when that was looked for.
        """
        if self.kept == kept_before:
            self._keys[key] = None
            if len(self._keys) > _ABSENT:
                self._keys.popitem(last=False)

    def forget(self, key: str) -> None:
        """Take note that something is kept under a key."""
        self.kept += 1
        self._keys.pop(key, None)


def _whole(path: Path, doubted: bool) -> bytes | None:
    """Return the answer in a file, None when it is no whole pack."""
    answer = path.read_bytes()
    try:
        outline(io.BytesIO(answer), len(answer))
        return None if doubted and not checksum_holds(io.BytesIO(answer), len(answer)) else answer
    except NotWhole:
        return None
