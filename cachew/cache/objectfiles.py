"""The objects' files of a disk cache and its index, kept in step: found, adopted, removed (blocking).

Layout below the directory: ``objects/NAMESPACE/KE/KEY`` are finished objects, ``partial/`` are those being written and
what was in the way (removed at start), ``index.sqlite`` is the index.
"""

import errno
import os
import shutil
import sqlite3
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from twisted.logger import Logger

from cachew.cache.diskfile import Stamp, opened, read_record, stamp_of
from cachew.cache.diskindex import DiskIndex, Row
from cachew.cache.interface import ObjectInfo
from cachew.cache.objectrecord import ObjectRecord, live
from cachew.cache.uses import UnwrittenUses
from cachew.plumbing.database import error_code
from cachew.plumbing.diskspace import FULL
from cachew.plumbing.errors import CorruptObject

_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM})
_IN_THE_WAY = _FORBIDDEN | {errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
"""What the system says of an object's place where something else lies."""
_INDEX_ROOM = 4 * 1024 * 1024
"""Bytes that go when a full disk has no room for an index, without which nothing would ever go."""


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
        try:
            self._open_index()
        except (OSError, sqlite3.Error) as error:
            full = error.errno in FULL if isinstance(error, OSError) else error_code(error) == sqlite3.SQLITE_FULL
            if not full or not _give_way(self.directory):
                raise
            self._open_index()
        self._reconcile()

    def _open_index(self) -> None:
        for name in ("partial", "objects"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.index.open()

    def look(self) -> None:
        """Make the index anew when somebody has removed it, maybe with all that it was about."""
        with self.lock:
            if not self.index.database.is_there:
                self.log.error("the index of {directory} was removed and is made anew", directory=str(self.directory))
                self.rebuild()

    def _reconcile(self) -> None:
        known = {(row.namespace, row.key): row for row in self.index.rows()}
        for path in _files(self.directory):
            row = known.pop((path.parts[-3], path.name), None)
            try:
                self._take_in(path, row)
            except OSError as error:
                # Another user's, say, or one that the server of a file system keeps for those who have it open.
                self.log.error(
                    "{path} is in the disk cache but can't be used: {error}", path=str(path), error=str(error)
                )
        for namespace, key in known:
            self.index.remove(namespace, key)

    def _take_in(self, path: Path, row: Row | None) -> None:
        inode, written, size, _ = stamp_of(path)
        if row is None or (row.inode, row.written, row.size) != (_signed(inode), written, size):
            self.adopt(path)

    def adopt(self, path: Path) -> None:
        """Note a file that is there; one that is damaged is removed."""
        try:
            with opened(path) as file:
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
            file = opened(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _IN_THE_WAY:
                raise
            with self.lock:
                self.clear(path)
                if error.errno in _FORBIDDEN and path.exists():
                    self._set_aside(path)
                self.index.remove(namespace, key)
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
        """Move out of an object's place, and of its directories', what is none; it goes with the next start."""
        for directory in (path.parent.parent, path.parent):
            if os.path.lexists(directory) and not directory.is_dir():
                self._set_aside(directory)
        if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
            self._set_aside(path)
            self.index.remove(path.parts[-3], path.name)

    def _set_aside(self, path: Path) -> None:
        aside = self.directory / "partial" / uuid.uuid4().hex
        path.rename(aside)
        message = "what is no file of this cache lay in a cached object's place, {path}, and is now {aside}"
        self.log.error(message, path=str(path), aside=str(aside))

    def names(self) -> list[tuple[str, str]]:
        """Return the names of all objects."""
        with self.lock:
            return [(row.namespace, row.key) for row in self.index.rows()]


def info_of(files: ObjectFiles, name: tuple[str, str], now: float) -> ObjectInfo | None:
    """Return what is known of an object (blocking), see :meth:`ObjectFiles.find`."""
    found = files.find(*name, now)
    if found is None:
        return None
    found.file.close()
    return found.record.info


def infos_of(files: ObjectFiles, names: Iterable[tuple[str, str]], now: float) -> list[ObjectInfo | Exception | None]:
    """Return what is known of some objects (blocking), and of one that can't be read why."""
    found: list[ObjectInfo | Exception | None] = []
    for name in names:
        try:
            found.append(info_of(files, name, now))
        except Exception as error:
            found.append(error)
    return found


def _files(directory: Path) -> Iterator[Path]:
    found = (directory / "objects").glob("*/*/*")
    return (path for path in found if os.path.isfile(path) and not os.path.islink(path))


def _give_way(directory: Path) -> bool:
    """Remove some of what was written longest ago, and say whether there was anything."""
    removed = 0
    for path in sorted(_files(directory), key=lambda path: path.stat().st_mtime):
        if removed >= _INDEX_ROOM:
            break
        removed += path.stat().st_size
        path.unlink()
    return removed > 0


def _signed(inode: int) -> int:
    # SQLite's integers are signed; some file systems use all 64 bits of an inode's number.
    return inode - (1 << 64) if inode >> 63 else inode


def index_row(info: ObjectInfo, stamp: Stamp, *, used: float) -> Row:
    """Return what the index is to know of an object."""
    inode, written, size, _ = stamp
    return Row(info.namespace, info.key, _signed(inode), written, size, info.size, info.expires, used)
