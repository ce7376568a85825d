"""The places in which packs are kept: files of their own in one directory, and a database of small ones.

A blob that a partial clone fetches is an answer of its own. Hundreds of thousands of them would be as many files, so
they lie in an SQLite database instead (:mod:`cachew.smarthttp.answertable`), the least recently used going first.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from cachew.plumbing.clock import Clock
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.shared import Shared
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource, FileSource
from cachew.plumbing.threads import InThread
from cachew.smarthttp import packfiles
from cachew.smarthttp.answertable import DisposableAnswers
from cachew.smarthttp.packcheck import whole_answer
from cachew.smarthttp.packfiles import Damaged, Stamp
from cachew.smarthttp.packstore import Pace

LARGEST = 32 * 1024
"""Bytes of the largest answer that is small: sending one of these out of a file is dearer than out of memory."""
_ABSENT = 1024


@dataclass
class _KeptPack:
    size: int
    stamp: Stamp | None
    """None until the file has been verified after a restart."""


class PackDirectory:
    """Keeps each pack in a file.

    :param path: of the directory; nothing else may live there, and what is unfinished goes with the next start.
    :param threads: where files are read, written and removed.
    :param clock: what time it is.
    :param on_damage: called when a kept pack turned out to be damaged.

    :ivar size: bytes that they take.
    """

    _log = Logger()

    def __init__(
        self, *, path: Path, threads: InThread, clock: Clock, on_damage: Callable[[], object] = lambda: None
    ) -> None:
        self._path = path
        self._threads = threads
        self._clock = clock
        self._on_damage = on_damage
        self._kept: OrderedDict[str, _KeptPack] = OrderedDict()
        self._verified: Shared[str, None] = Shared()
        self._naming = threading.Lock()
        """Held for a rename, so that a name that gets a file and loses one keeps the newer."""
        self.size = 0

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._kept)

    async def open(self) -> None:
        """Take stock of what an earlier run has kept; it is verified when it is first asked for."""
        for found in await self._threads(packfiles.scan, self._path):
            self._add(found.key, found.size, None)

    async def close(self) -> None:
        """Do nothing: a file says itself what is to be known after a restart."""

    async def get(self, key: str) -> FileSource | None:
        """Return a pack, or None.

        After a restart its content is verified first; what is damaged is removed and never served.
        """
        kept = self._kept.get(key)
        if kept is None:
            return None
        try:
            if kept.stamp is None:
                await self._verified.run(key, lambda: self._verify(key, kept))
            if kept.stamp is None or self._kept.get(key) is not kept:
                return None
            file, kept.stamp = packfiles.open_kept(self._path_of(key), kept.stamp, now=self._clock.now())
        except (OSError, Damaged) as failure:
            if isinstance(failure, OSError) and failure.errno in EXHAUSTED:
                raise  # which says nothing about the file
            await self._drop_damaged(key, kept, failure)
            return None
        self._kept.move_to_end(key)
        return FileSource(file, 0, kept.stamp.size)

    async def has(self, key: str) -> bool:
        """Say whether a pack is kept."""
        return key in self._kept

    async def keep(self, key: str, spool: Spool, *, doubted: bool = False) -> bool:
        """Keep what has been spooled, if it is a whole pack.

        :param doubted: whether its pack is compared with the pack's own checksum first.
        :return: whether it is kept.
        :raise OSError: when it can't be.
        """
        stamp = await self._threads(packfiles.seal, spool.path, key=key, size=spool.size, doubted=doubted)
        if stamp is None:
            return False
        with self._naming:
            spool.keep(self._path_of(key))
            self._add(key, stamp.whole, packfiles.renamed(self._path_of(key), stamp))
        return True

    async def shrink(self, size: int) -> None:
        """Drop the least recently used until the rest takes no more than ``size`` bytes."""
        victims, left = [], self.size
        for key, kept in self._kept.items():
            if left <= size:
                break
            victims.append(key)
            left -= kept.size
        await self.drop(victims)

    async def size_of(self, owner: str) -> int:
        """Return the bytes of the packs whose keys begin so."""
        return sum(kept.size for key, kept in self._kept.items() if key.startswith(owner))

    async def scrub(self, pace: Pace) -> None:
        """Read every pack through, one after the other; what is damaged is dropped."""
        for key, kept in list(self._kept.items()):
            if self._kept.get(key) is not kept:
                continue
            try:
                await self._verified.run(key, lambda key=key, kept=kept: self._verify(key, kept))  # type: ignore[misc]
            except (OSError, Damaged) as failure:
                if not (isinstance(failure, OSError) and failure.errno in EXHAUSTED):
                    await self._drop_damaged(key, kept, failure)
            await pace(kept.size)

    async def _verify(self, key: str, kept: _KeptPack) -> None:
        kept.stamp = await self._threads(packfiles.verify, self._path_of(key), key=key)

    def _path_of(self, key: str) -> Path:
        return self._path / f"{key}{packfiles.SUFFIX}"

    def _add(self, key: str, size: int, stamp: Stamp | None) -> None:
        previous = self._kept.pop(key, None)
        self.size += size - (previous.size if previous else 0)
        self._kept[key] = _KeptPack(size, stamp)

    async def _drop_damaged(self, key: str, kept: _KeptPack, failure: Exception) -> None:
        if self._kept.get(key) is not kept:
            return  # others who asked for it have had it dropped
        self._log.warn("dropped kept pack {key}: {failure}", key=key, failure=failure)
        if isinstance(failure, Damaged):
            self._on_damage()
        await self.drop([key])

    async def drop(self, keys: Sequence[str]) -> None:
        """Drop those that are kept of some packs."""
        gone = [key for key in keys if key in self._kept]
        for key in gone:
            self.size -= self._kept.pop(key).size
        aside = packfiles.put_aside([self._path_of(key) for key in gone], self._kept, self._naming)
        await self._threads(packfiles.remove, aside)


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
        answer = await self._threads(whole_answer, spool.path, doubted)
        if answer is None or not await self._threads(self._answers.put, bytes.fromhex(key), answer, self._clock.now()):
            return False
        self._absent.forget(key)
        return True

    async def shrink(self, size: int) -> None:
        """Drop the least recently used until the rest takes no more than ``size`` bytes."""
        await self._threads(self._answers.attempt, self._table.shrink, size)

    async def drop(self, keys: Sequence[str]) -> None:
        """Drop those that are kept of some packs."""
        if keys and self.count:
            await self._threads(self._answers.attempt, self._table.drop, list(map(bytes.fromhex, keys)))

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
