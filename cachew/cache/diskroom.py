"""Room on the disk of a disk cache: who has to go so that the rest fits (blocking)."""

import threading
import uuid
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import TypeVar

from cachew.cache.diskfile import Draft
from cachew.cache.eviction import excess, victims
from cachew.cache.objectfiles import ObjectFiles
from cachew.plumbing.diskspace import FULL, free_bytes
from cachew.plumbing.errors import StorageFull

T = TypeVar("T")

_FREED_AT_ONCE = 4 * 1024 * 1024
"""Bytes that go at least when a disk is full, so that not every piece of a file has others removed for it."""


class Drafts:
    """The files that are being written.

    :param directory: where they lie.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._drafts: set[Draft] = set()
        # Of its own, because files are begun in the reactor's thread, which must never wait for a disk.
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        with self._lock:
            return sum(draft.size for draft in self._drafts)

    def begin(self, size: int | None = None, spool: Path | None = None) -> Draft:
        """Begin a file.

        :param size: how long it will be, None when that is not known.
        :param spool: a file that will have the same bytes, and is taken instead.
        """
        draft = Draft(self._directory / uuid.uuid4().hex, expected=size or 0, spool=spool)
        with self._lock:
            self._drafts.add(draft)
        return draft

    def discard(self, draft: Draft) -> None:
        """Remove a file that was begun, unless it was published."""
        draft.discard()
        self.forget(draft)

    def forget(self, draft: Draft) -> None:
        """Count a file no longer."""
        with self._lock:
            self._drafts.discard(draft)


class DiskRoom:
    """Makes room.

    :param files: what can go.
    :param drafts: what is being written.
    :param limit: bytes that the files may take, None for no bound.
    :param min_free: bytes that the file system shall have left.
    :param free: tells what it has left.
    """

    def __init__(
        self,
        *,
        files: ObjectFiles,
        drafts: Drafts,
        limit: int | None,
        min_free: int = 0,
        free: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._files = files
        self._drafts = drafts
        self._free = free
        self.limit = limit
        self._min_free = min_free

    def admit(self, size: int) -> None:
        """Refuse what there is no making room for, before anything is written or removed.

        :param size: bytes that are to come.
        :raise StorageFull: when all that could be removed would not make the room.
        """
        with self._files.lock:
            if self._excess(size) > self._files.index.size:
                raise StorageFull("the disk has no room for that much, whatever is removed from the disk cache")

    def fit(self, write: Callable[[], T], size: int = 0) -> T:
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
        with self._files.lock:
            if self._files.index.size + self._free(self._files.directory) < needed:
                return False
            # The latest uses can't be written down while the disk is full.
            unused = (row for row in self._files.index.rows() if (row.namespace, row.key) not in self._files.uses)
            used = (row for row in self._files.index.rows() if (row.namespace, row.key) in self._files.uses)
            going = list(victims(chain(unused, used), _FREED_AT_ONCE))
            for row in going:
                self._files.remove(row.namespace, row.key)
        return bool(going)

    def make(self, now: float) -> None:
        """Remove objects until what is stored and what is being written fit.

        :raise StorageFull: when that isn't enough.
        """
        with self._files.lock:
            self._files.uses.flush()
            if self._excess() and self.drop_expired(now) and not self._excess():
                return
            needed = self._excess()
            if needed > self._files.index.size:
                # Others fill the disk: what is here would go in vain.
                raise StorageFull("the disk has no room left, whatever is removed from the disk cache")
            for row in list(victims(self._files.index.rows(), needed)):
                self._files.remove(row.namespace, row.key)

    def _excess(self, more: int = 0) -> int:
        """Return how many bytes have to go, with so many more to come."""
        used = self._files.index.size + self._drafts.size + more
        free = self._free(self._files.directory) - more
        return excess(used=used, limit=self.limit, free=free, min_free=self._min_free)

    def drop_expired(self, now: float) -> int:
        """Remove what has expired and return how many that were."""
        with self._files.lock:
            expired = self._files.index.expired(now)
            for row in expired:
                self._files.remove(row.namespace, row.key)
            return len(expired)
