"""Writes the large files of an archive straight from the buffers that they were decompressed into.

The rest goes to tar through a pipe, which costs two copies and a process switch for every piece; for packs that is most
of the work. Directories are opened one by one without following a link, so nothing is written elsewhere whatever tar
has just made of the same archive.
"""

import os
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from cachew.client.clienterrors import ExtractionFailed, no_space_advice
from cachew.client.tarheader import TarEntry

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_AT_ONCE = 256 * 1024
"""The bytes of one write: many small ones cost time, and for many more the system looks for room that lies together."""
_MOST_PIECES = 64
_LATEST = 8**11 - 1
LEAST = 1024 * 1024
"""The bytes from which on a file is large."""


def write_all(file: int, content: Sequence[memoryview]) -> None:
    """Write pieces to a descriptor, a good size of them at once.

    :raise OSError: when that does not go.
    """
    left = deque(content)
    while left:
        taken = _taken(left)
        written = os.writev(file, taken)
        if written < sum(map(len, taken)):
            left.appendleft(memoryview(b"".join(taken))[written:])


def _taken(left: "deque[memoryview]") -> "list[memoryview]":
    taken, room = list[memoryview](), _AT_ONCE
    while left and room and len(taken) < _MOST_PIECES:
        piece = left.popleft()
        taken.append(piece[:room])
        if len(piece) > room:
            left.appendleft(piece[room:])
        room -= len(taken[-1])
    return taken


class LargeFiles:
    """Writes files below a directory.

    :param directory: exists, and is nobody else's.
    """

    def __init__(self, directory: os.PathLike[str]) -> None:
        self._directory = directory
        self._file = -1
        self._entry: TarEntry | None = None

    def begin(self, entry: TarEntry) -> bool:
        """Begin a file when it is large, and tell whether it is.

        :raise ExtractionFailed: when that does not go.
        """
        if entry.size < LEAST:
            return False
        self._entry = entry
        try:
            self._file = self._created(entry)
        except OSError as error:
            raise self._failed(error) from error
        return True

    def write(self, *content: memoryview) -> None:
        """Write what comes next of it.

        :raise ExtractionFailed: when that does not go.
        """
        try:
            write_all(self._file, content)
        except OSError as error:
            raise self._failed(error) from error

    def end(self) -> None:
        """Give it its time and close it.

        :raise ExtractionFailed: when that does not go.
        """
        assert self._entry is not None
        try:
            modified = min(max(self._entry.mtime, 0), _LATEST) * 10**9
            os.utime(self._file, ns=(os.fstat(self._file).st_atime_ns, modified))
        except OSError as error:
            raise self._failed(error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Close what has not come to its end; may be called more than once."""
        if self._file != -1:
            os.close(self._file)
            self._file = -1

    def _created(self, entry: TarEntry) -> int:
        *parents, name = entry.path.split(b"/")
        place = os.open(self._directory, _DIRECTORY)
        try:
            for parent in parents:
                place = _entered(place, parent)
            return os.open(name, _NEW_FILE, entry.mode, dir_fd=place)
        finally:
            os.close(place)

    def _failed(self, error: OSError) -> ExtractionFailed:
        name = os.fsdecode(self._entry.path if self._entry else b"")
        said = error.strerror or str(error)
        return ExtractionFailed(f"cannot write {name!r}: {said}", no_space_advice(said))


def _entered(place: int, name: bytes) -> int:
    """Make a directory if need be, open it, and close the one that it is in."""
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=place)
    opened = os.open(name, _DIRECTORY, dir_fd=place)
    os.close(place)
    return opened
