"""The file of a spool: made when it is first needed, written at its end, and open for as long as anybody needs it."""

import errno
import os
import threading
from pathlib import Path

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.streams import PIECE

_TAKEN = 4 * 1024 * 1024
"""The most that is taken out of a pipe at a time, in bytes; pipes hold less."""
_LARGE = 64 * 1024 * 1024
"""Bytes from which on a file is closed in a thread: to free the blocks of four gigabytes takes a second."""


class SpoolFile:
    """A file that grows.

    :param path: where it is made; nothing may be there yet.
    :ivar size: how many bytes it has.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self.size = 0
        self.released = False
        """Whether its name is another's, or gone: it is never made again."""

    def descriptor(self) -> int:
        """Return the open file.

        :raise SpoolFailed: when it has been released and closed.
        :raise OSError: when it can't be made.
        """
        if self._descriptor is None:
            if self.released:
                raise SpoolFailed("the spool is gone")
            self._descriptor = _made(self._path)
        return self._descriptor

    def append(self, data: memoryview) -> None:
        """Write data at its end.

        :raise OSError: when the disk fails.
        """
        file = self.descriptor()
        while data:
            count = os.pwrite(file, data, self.size)
            self.size += count
            data = data[count:]

    def splice(self, pipe: int) -> None:
        """Move what waits in a pipe to its end.

        :raise BlockingIOError: when nothing waits.
        :raise OSError: when the disk fails.
        """
        try:
            self.size += os.splice(pipe, self.descriptor(), _TAKEN, offset_dst=self.size, flags=os.SPLICE_F_NONBLOCK)
        except OSError as failure:
            if failure.errno != errno.EINVAL:
                raise
            # The file system can't (splice(2)).
            self.append(memoryview(os.read(pipe, PIECE)))

    def close(self) -> None:
        """Close it, if it was opened."""
        if self._descriptor is not None:
            file, self._descriptor = self._descriptor, None
            if self.size < _LARGE:
                os.close(file)
            else:
                _close_beside(file)


def _close_beside(file: int) -> None:
    try:
        threading.Thread(target=os.close, args=(file,), name="close-spool", daemon=True).start()
    except RuntimeError:
        # No thread is to be had.
        os.close(file)


def _made(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        # Somebody has removed the directory.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, flags, 0o600)
