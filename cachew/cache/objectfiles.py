"""The objects' files of a disk cache and its index, kept in step: found, adopted, removed (blocking).

Layout below the directory: ``objects/NAMESPACE/KE/KEY`` are finished objects, ``partial/`` are those being written and
what was in the way (removed at start), ``index.sqlite`` is the index.
"""

import shutil
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from twisted.logger import Logger

from cachew.cache.diskfile import Stamp, read_record, stamp_of
from cachew.cache.diskindex import DiskIndex, Row
from cachew.cache.interface import ObjectInfo
from cachew.cache.objectrecord import ObjectRecord, live
from cachew.cache.uses import UnwrittenUses
from cachew.plumbing.errors import CorruptObject


class FoundObject(NamedTuple):
    """An object's open file."""

    file: BinaryIO
    record: ObjectRecord
    stamp: Stamp


class ObjectFiles:
    """The finished objects' files and their index.

    :param directory: the cache's own.

    :ivar lock: held by whoever changes files and index together.
    :ivar index: what there is.
    :ivar uses: what was used, as far as that isn't in the index.
    """

    log = Logger()

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.lock = threading.RLock()
        self.index = DiskIndex(directory / "index.sqlite")
        self.uses: UnwrittenUses[tuple[str, str]] = UnwrittenUses(self.index.touch)

    def path_of(self, namespace: str, key: str) -> Path:
        """Return where an object lies."""
        return self.directory / "objects" / namespace / key[:2] / key

    def open(self) -> None:
        """Open the directory and bring the index in step with the files."""
        with self.lock:
            shutil.rmtree(self.directory / "partial", ignore_errors=True)
            self._open()

    def rebuild(self) -> None:
        """Open the index again, which makes a damaged one anew, and bring it in step with the files."""
        with self.lock:
            self.index.database.close()
            self._open()

    def _open(self) -> None:
        for name in ("partial", "objects"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.index.open()
        self._reconcile()

    def look(self) -> None:
        """Make the index anew when somebody has removed it, maybe with all that it was about."""
        with self.lock:
            if not self.index.database.is_there:
                self.log.error("the index of {directory} was removed and is made anew", directory=str(self.directory))
                self.rebuild()

    def _reconcile(self) -> None:
        known = {(row.namespace, row.key): row for row in self.index.rows()}
        for path in self._files():
            row = known.pop((path.parts[-3], path.name), None)
            inode, written, size, _ = stamp_of(path)
            if row is None or (row.inode, row.written, row.size) != (_signed(inode), written, size):
                self.adopt(path)
        for namespace, key in known:
            self.index.remove(namespace, key)

    def _files(self) -> Iterator[Path]:
        return (path for path in (self.directory / "objects").glob("*/*/*") if path.is_file())

    def adopt(self, path: Path) -> None:
        """Note a file that is there; one that is damaged is removed."""
        try:
            with path.open("rb", buffering=0) as file:
                record, stamp = read_record(file), stamp_of(file)
            if self.path_of(record.info.namespace, record.info.key) != path:
                raise CorruptObject("a stored object lies under another's name")
        except CorruptObject:
            path.unlink()
            self.index.remove(path.parts[-3], path.name)
        else:
            self.index.put(index_row(record.info, stamp, used=stamp[1] / 1e9))

    def find(self, namespace: str, key: str, now: float, *, use: bool = True) -> FoundObject | None:
        """Open an object's file; one that is damaged or has expired is removed instead.

        :param use: whether this is a use of it.
        """
        path = self.path_of(namespace, key)
        try:
            file = path.open("rb", buffering=0)
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            with self.lock:
                self.clear(path)
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
            with self.lock:
                self.uses.note((namespace, key), now)
        return FoundObject(file, record, stamp)

    def remove(self, namespace: str, key: str, stamp: Stamp | None = None) -> bool:
        """Remove an object.

        :param stamp: remove it only while its file is this one.
        :return: whether there was one.
        """
        path = self.path_of(namespace, key)
        with self.lock:
            self.clear(path)
            try:
                if stamp is not None and stamp_of(path) != stamp:
                    return False
                path.unlink()
                removed = True
            except FileNotFoundError:
                removed = False
            self.uses.forget((namespace, key))
            self.index.remove(namespace, key)
            return removed

    def clear(self, path: Path) -> None:
        """Move a directory out of an object's place; what is in it goes with the next start."""
        if path.is_dir():
            aside = self.directory / "partial" / uuid.uuid4().hex
            path.rename(aside)
            self.index.remove(path.parts[-3], path.name)
            self.log.error("a directory lay in a cached object's place and is now {aside}", aside=str(aside))

    def names(self) -> list[tuple[str, str]]:
        """Return the names of all objects."""
        with self.lock:
            return [(row.namespace, row.key) for row in self.index.rows()]


def _signed(inode: int) -> int:
    # SQLite's integers are signed; some file systems use all 64 bits of an inode's number.
    return inode - (1 << 64) if inode >> 63 else inode


def index_row(info: ObjectInfo, stamp: Stamp, *, used: float) -> Row:
    """Return what the index is to know of an object."""
    inode, written, size, _ = stamp
    return Row(info.namespace, info.key, _signed(inode), written, size, info.size, info.expires, used)
