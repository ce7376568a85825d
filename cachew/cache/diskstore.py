"""The files of a disk cache and their index, kept in step; everything here blocks and is called in threads.

Layout below the directory: ``objects/NAMESPACE/KE/KEY`` are finished objects, ``partial/`` are those being written and
what was in the way (removed at start), ``index.sqlite`` is the index.
"""

import shutil
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from twisted.logger import Logger

from cachew.cache.diskfile import Draft, Stamp, read_record, stamp_of
from cachew.cache.diskindex import DiskIndex, Row
from cachew.cache.eviction import excess, victims
from cachew.cache.interface import ObjectInfo, Stats
from cachew.cache.objectrecord import ObjectRecord, WriteTerms, live
from cachew.plumbing.database import is_damaged
from cachew.plumbing.diskspace import FULL, free_bytes
from cachew.plumbing.errors import CorruptObject, StorageFull, StorageUnavailable

T = TypeVar("T")

_USES_KEPT = 256
_USES_REMEMBERED = 65536
_FREED_AT_ONCE = 4 * 1024 * 1024
"""Bytes that go at least when a disk is full, so that not every piece of a file has others removed for it."""


class FoundObject(NamedTuple):
    """An object's open file."""

    file: BinaryIO
    record: ObjectRecord
    stamp: Stamp


class DiskStore:
    """The files and the index of a disk cache, all of it blocking: it is called in threads.

    :param limit: bytes that the files may take, None for no bound.
    :param min_free: bytes that the file system shall have left.
    :param free: tells what it has left.
    """

    log = Logger()

    def __init__(
        self, *, directory: Path, limit: int | None, min_free: int = 0, free: Callable[[Path], int] = free_bytes
    ) -> None:
        self._directory = directory
        self._limit = limit
        self._min_free = min_free
        self._free = free
        self._index = DiskIndex(directory / "index.sqlite")
        self._lock = threading.RLock()
        self._drafts: set[Draft] = set()
        # Of its own, because files are begun in the reactor's thread, which must never wait for a disk.
        self._drafts_lock = threading.Lock()
        self._uses: dict[tuple[str, str], float] = {}

    def _path(self, namespace: str, key: str) -> Path:
        return self._directory / "objects" / namespace / key[:2] / key

    def open(self) -> None:
        """Open the directory and bring the index in step with the files."""
        with self._lock:
            shutil.rmtree(self._directory / "partial", ignore_errors=True)
            self._make_directories()
            self._index.open()
            self._reconcile()

    def rebuild(self) -> None:
        """Open the index again, which makes a damaged one anew, and bring it in step with the files."""
        with self._lock:
            self._index.close()
            self._make_directories()
            self._index.open()
            self._reconcile()

    def look(self) -> None:
        """Make the index anew when somebody has removed it, maybe with all that it was about."""
        with self._lock:
            if not self._index.is_there:
                self.log.error("the index of {directory} was removed and is made anew", directory=str(self._directory))
                self.rebuild()

    def _make_directories(self) -> None:
        for name in ("partial", "objects"):
            (self._directory / name).mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Write down the uses and close the index."""
        with self._lock, suppress(StorageUnavailable):
            self._flush_uses()
            self._index.close()

    def _reconcile(self) -> None:
        known = {(row.namespace, row.key): row for row in self._index.rows()}
        for path in self._files():
            row = known.pop((path.parts[-3], path.name), None)
            inode, written, size, _ = stamp_of(path)
            if row is None or (row.inode, row.written, row.size) != (_signed(inode), written, size):
                self._adopt(path)
        for namespace, key in known:
            self._index.remove(namespace, key)

    def _files(self) -> Iterator[Path]:
        return (path for path in (self._directory / "objects").glob("*/*/*") if path.is_file())

    def _adopt(self, path: Path) -> None:
        try:
            with path.open("rb", buffering=0) as file:
                record, stamp = read_record(file), stamp_of(file)
            if self._path(record.info.namespace, record.info.key) != path:
                raise CorruptObject("a stored object lies under another's name")
        except CorruptObject:
            path.unlink()
            self._index.remove(path.parts[-3], path.name)
        else:
            self._index.put(_row(record.info, stamp, used=stamp[1] / 1e9))

    def admit(self, size: int) -> None:
        """Refuse what there is no making room for, before anything is written or removed.

        :param size: bytes that are to come.
        :raise StorageFull: when all that could be removed would not make the room.
        """
        with self._lock:
            if self._excess(size) > self._index.size:
                raise StorageFull("the disk has no room for that much, whatever is removed from the disk cache")

    def draft(self, size: int | None = None, spool: Path | None = None) -> Draft:
        """Begin a file.

        :param size: how long it will be, None when that is not known.
        :param spool: a file that will have the same bytes, and is taken instead.
        """
        draft = Draft(self._directory / "partial" / uuid.uuid4().hex, expected=size or 0, spool=spool)
        with self._drafts_lock:
            self._drafts.add(draft)
        return draft

    def append(self, draft: Draft, data: bytes) -> None:
        """Write the next bytes of a file."""
        self._fit(lambda: draft.append(data), max(len(data), draft.missing))

    def _fit(self, write: Callable[[], T], size: int = 0) -> T:
        """Write; when the disk is full, remove what was used least lately and write once more.

        :param size: bytes that are still to be written, as far as is known.
        """
        try:
            return write()
        except OSError as error:
            if error.errno not in FULL or not self._give_way(size):
                raise
        return write()

    def _give_way(self, needed: int) -> bool:
        """Remove some of what was used least lately, unless even all of it would not make the room."""
        with self._lock:
            if self._index.size + self._free(self._directory) < needed:
                return False
            # The latest uses can't be written down while the disk is full.
            unused = (row for row in self._index.rows() if (row.namespace, row.key) not in self._uses)
            used = (row for row in self._index.rows() if (row.namespace, row.key) in self._uses)
            going = list(victims(chain(unused, used), _FREED_AT_ONCE))
            for row in going:
                self.remove(row.namespace, row.key)
        return bool(going)

    def discard(self, draft: Draft) -> None:
        """Remove a file that was begun, unless it was published."""
        draft.discard()
        self._forget(draft)

    def _forget(self, draft: Draft) -> None:
        with self._drafts_lock:
            self._drafts.discard(draft)

    def publish(self, draft: Draft, terms: WriteTerms, now: float) -> tuple[ObjectInfo, Stamp]:
        """Finish a file and put it where readers find it.

        :raise CorruptObject: when the content is not the promised one.
        :raise StorageFull: when there is no room.
        """
        record = self._fit(lambda: draft.seal(terms, now))
        draft.flush()
        with self._lock:
            self.make_room(now)
            stamp, path = draft.stamp(), self._path(terms.namespace, terms.key)
            self._clear(path)
            # First, so that no file becomes visible that the index can't take in and nobody would ever remove.
            self._index.put(_row(record.info, stamp, used=now))
            try:
                draft.publish(path)
            except (OSError, RuntimeError):  # the latter when it was given up meanwhile
                self._index.remove(terms.namespace, terms.key)
                if path.exists():
                    self._adopt(path)
                raise
            self._forget(draft)
            renamed = stamp_of(path)
            if renamed[:3] != stamp[:3]:
                raise CorruptObject("a stored object was changed while it was stored")
        return record.info, renamed

    def make_room(self, now: float) -> None:
        """Remove objects until what is stored and what is being written fit.

        :raise StorageFull: when that isn't enough.
        """
        with self._lock:
            self._flush_uses()
            if self._excess() and self.drop_expired(now) and not self._excess():
                return
            needed = self._excess()
            if needed > self._index.size:
                # Others fill the disk: what is here would go in vain.
                raise StorageFull("the disk has no room left, whatever is removed from the disk cache")
            for row in list(victims(self._index.rows(), needed)):
                self.remove(row.namespace, row.key)

    def _excess(self, more: int = 0) -> int:
        """Return how many bytes have to go, with so many more to come."""
        with self._drafts_lock:
            begun = sum(draft.size for draft in self._drafts)
        used, free = self._index.size + begun + more, self._free(self._directory) - more
        return excess(used=used, limit=self._limit, free=free, min_free=self._min_free)

    def drop_expired(self, now: float) -> int:
        """Remove what has expired and return how many that were."""
        with self._lock:
            expired = self._index.expired(now)
            for row in expired:
                self.remove(row.namespace, row.key)
            return len(expired)

    def find(self, namespace: str, key: str, now: float, *, use: bool = True) -> FoundObject | None:
        """Open an object's file; one that is damaged or has expired is removed instead.

        :param use: whether this is a use of it.
        """
        path = self._path(namespace, key)
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            with self._lock:
                self._clear(path)
            return None
        stamp = stamp_of(file)
        try:
            record = read_record(file)
            if (record.info.namespace, record.info.key) != (namespace, key):
                raise CorruptObject("a stored object lies under another's name")
        except CorruptObject:
            record = None
        if record is None or not live(record.info, now):
            file.close()
            self.remove(namespace, key, stamp)
            return None
        if use:
            self._use(namespace, key, now)
        return FoundObject(file, record, stamp)

    def _use(self, namespace: str, key: str, now: float) -> None:
        with self._lock:
            self._uses[namespace, key] = now
            if len(self._uses) % _USES_KEPT == 0:
                self._flush_uses()

    def _flush_uses(self) -> None:
        uses, self._uses = self._uses, {}
        try:
            self._index.touch((namespace, key, used) for (namespace, key), used in uses.items())
        except sqlite3.Error as error:
            if is_damaged(error):
                raise
            # Nobody is refused what he reads because the order of use can't be written down.
            self._uses = dict(list((uses | self._uses).items())[-_USES_REMEMBERED:])

    def remove(self, namespace: str, key: str, stamp: Stamp | None = None) -> bool:
        """Remove an object.

        :param stamp: remove it only while its file is this one.
        :return: whether there was one.
        """
        path = self._path(namespace, key)
        with self._lock:
            self._clear(path)
            try:
                if stamp is not None and stamp_of(path) != stamp:
                    return False
                path.unlink()
                removed = True
            except FileNotFoundError:
                removed = False
            self._uses.pop((namespace, key), None)
            self._index.remove(namespace, key)
            return removed

    def _clear(self, path: Path) -> None:
        """Move a directory out of an object's place; what is in it goes with the next start."""
        if path.is_dir():
            aside = self._directory / "partial" / uuid.uuid4().hex
            path.rename(aside)
            self._index.remove(path.parts[-3], path.name)
            self.log.error("a directory lay in a cached object's place and is now {aside}", aside=str(aside))

    def names(self) -> list[tuple[str, str]]:
        """Return the names of all objects."""
        with self._lock:
            return [(row.namespace, row.key) for row in self._index.rows()]

    def stats(self, now: float) -> Stats:
        """Count the visible objects."""
        with self._lock:
            return self._index.stats(now, self._limit or 0)

    def namespaces(self, now: float) -> list[str]:
        """Return the namespaces that have visible objects."""
        with self._lock:
            return self._index.namespaces(now)

    def flush(self) -> None:
        """Write the uses down."""
        with self._lock:
            self._flush_uses()


def _signed(inode: int) -> int:
    # SQLite's integers are signed; some file systems use all 64 bits of an inode's number.
    return inode - (1 << 64) if inode >> 63 else inode


def _row(info: ObjectInfo, stamp: Stamp, *, used: float) -> Row:
    inode, written, size, _ = stamp
    return Row(info.namespace, info.key, _signed(inode), written, size, info.size, info.expires, used)
