"""One object in one file: its content, then its record, then a footer that says where the record begins.

The content comes first, so that a region of it is a region of the file and leaves by ``sendfile``; the record is in the
same file, so that a rename makes both visible at once and a lost index costs nothing but a walk over the files.
Everything here blocks and is called in threads.
"""

import errno
import os
import shutil
import stat
import struct
import threading
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from cachew.cache.blocks import Blocks, ContentDigest
from cachew.cache.objectrecord import ObjectRecord, WriteTerms
from cachew.plumbing.errors import CorruptObject

_FOOTER = struct.Struct(">8sQ16s")
_MAGIC = b"cachew\x00\x01"
Stamp = tuple[int, int, int, int]
"""Which file it is and that nobody wrote to it since: inode, change of content in ns, bytes, change of the inode in ns.

The last can't be set: it shows a change also when the time of the content's change is put back.
"""


def _check(record: bytes) -> bytes:
    return blake2b(record, digest_size=16).digest()


def stamp_of(file: BinaryIO | Path) -> Stamp:
    """Return what tells this file from any other that may take its place."""
    status = os.stat(file if isinstance(file, Path) else file.fileno())
    return status.st_ino, status.st_mtime_ns, status.st_size, status.st_ctime_ns


def opened(path: Path) -> BinaryIO:
    """Open an object's file; what is none is neither followed nor waited for, as a pipe would have to be.

    :raise OSError: when it can't be opened, or is no file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise IsADirectoryError(errno.EISDIR, "it is no file")
    return os.fdopen(descriptor, "rb", buffering=0)


def read_region(descriptor: int, length: int, start: int) -> bytes:
    """Return a region of a file.

    :raise CorruptObject: when it is not there any more, or the disk has lost it.
    """
    try:
        data = os.pread(descriptor, length, start)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise CorruptObject("a stored object can't be read any more") from error
    if len(data) != length:
        raise CorruptObject("a stored object was cut short")
    return data


def read_record(file: BinaryIO) -> ObjectRecord:
    """Read the record of an open file.

    :raise CorruptObject: when the file is not whole.
    """
    descriptor = file.fileno()
    total = os.fstat(descriptor).st_size
    start = total - _FOOTER.size
    if start < 0:
        raise CorruptObject("a stored object is cut short")
    magic, length, check = _FOOTER.unpack(read_region(descriptor, _FOOTER.size, start))
    if magic != _MAGIC or length > start:
        raise CorruptObject("a stored object has no footer")
    encoded = read_region(descriptor, length, start - length)
    if _check(encoded) != check:
        raise CorruptObject("the record of a stored object is damaged")
    record, _ = ObjectRecord.decode(encoded)
    if record.info.size != start - length:
        raise CorruptObject("a stored object has not the size that its record says")
    return record


class Draft:
    """A file that is being written beside the finished ones.

    Its methods may be called from several threads, as a cancelled call goes on in its thread.

    :param path: where it lies until it is published.
    :param expected: how many bytes it will have, 0 when that is not known.
    :param spool: a file that has the same bytes when this one is sealed, and becomes this one then; it is copied where
        it can't be renamed.
    """

    def __init__(self, path: Path, *, expected: int = 0, spool: Path | None = None) -> None:
        self._path = path
        self._spool = spool
        self._expected = expected
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._written = ContentDigest()
        self._ended = False

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._written.size

    @property
    def missing(self) -> int:
        """Bytes that are still to come, as far as is known."""
        return max(0, self._expected - self.size)

    def _opened(self) -> BinaryIO:
        if self._ended:
            raise RuntimeError("the writer has ended")
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb", buffering=0)
        return self._file

    def append(self, data: bytes) -> None:
        """Write the next bytes; when that fails none of them are there, and it may be done again."""
        with self._lock:
            if self._spool is None:
                self._write(data)
            elif self._ended:
                raise RuntimeError("the writer has ended")
            self._written.update(data)

    def _write(self, data: bytes) -> None:
        file, view = self._opened(), memoryview(data)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError:
            file.seek(self._written.size)
            file.truncate()
            raise

    def seal(self, terms: WriteTerms, now: float) -> ObjectRecord:
        """Write record and footer; when that fails it may be done again.

        :raise CorruptObject: when the content is not the promised one.
        """
        with self._lock:
            if self._spool is not None:
                self._adopt(self._spool)
            self._opened()
            record = terms.record(self._written, now)
            encoded = record.encode()
            self._write(encoded + _FOOTER.pack(_MAGIC, len(encoded), _check(encoded)))
            return record

    def _adopt(self, spool: Path) -> None:
        """Make the spool this file.

        :raise CorruptObject: when it has not as many bytes as were told.
        """
        if self._ended:
            raise RuntimeError("the writer has ended")
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(spool, self._path)
        except OSError as failure:
            if failure.errno != errno.EXDEV:
                raise
            shutil.copyfile(spool, self._path)
        self._spool, self._file = None, self._path.open("r+b", buffering=0)
        if self._file.seek(0, os.SEEK_END) != self._written.size:
            raise CorruptObject("a spool has not the bytes that were told")

    def flush(self) -> None:
        """See what was written to the disk. Not to be done again when it fails: the system may have dropped it."""
        with self._lock:
            os.fsync(self._opened().fileno())

    def stamp(self) -> Stamp:
        """Return the file's stamp; a rename changes the last of it alone."""
        with self._lock:
            return stamp_of(self._opened())

    def publish(self, target: Path) -> None:
        """Rename the sealed file to where readers look for it."""
        with self._lock:
            self._opened()
            target.parent.mkdir(parents=True, exist_ok=True)
            os.rename(self._path, target)
            self._end()

    def discard(self) -> None:
        """Remove the file, unless it was published."""
        with self._lock:
            if not self._ended and (self._file is not None or self._spool is not None):
                self._path.unlink(missing_ok=True)
            self._end()

    def _end(self) -> None:
        self._ended = True
        if self._file is not None:
            self._file.close()


class CheckedRegion:
    """Reads blocks of a file whose content nobody has checked since this process began.

    :param file: the file, which it owns.
    """

    def __init__(self, file: BinaryIO, blocks: Blocks) -> None:
        self._file, self._blocks = file, blocks
        self._lock = threading.Lock()
        self._given_up = False

    def read(self, number: int) -> bytes:
        """Return a block, nothing of a closed file.

        :raise CorruptObject: when it is damaged.
        """
        begin, end = self._blocks.bounds(number)
        try:
            with self._lock:
                if self._given_up:
                    return b""
                data = read_region(self._file.fileno(), end - begin, begin)
        finally:
            if self._given_up:
                self.close()
        self._blocks.verify(number, data)
        return data

    def close(self) -> None:
        """Close the file, or have a read under way close it: the disk may hang, and who closes must not."""
        self._given_up = True
        if self._lock.acquire(blocking=False):
            try:
                self._file.close()
            finally:
                self._lock.release()
