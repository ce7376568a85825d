"""The files of an archive that are checked as they come, or written aside because they are large.

Of files that have a checksum of git's own it is computed on the way, of large ones in another thread while they are
written. All others go by.
"""

from collections.abc import Sequence
from typing import Protocol

from cachew.client import tarheader
from cachew.client.clienterrors import FileDamaged
from cachew.client.entrynames import show
from cachew.client.filesums import FileSum
from cachew.client.tarheader import TarEntry
from cachew.client.workers import Job, Workers

_WORTH_A_THREAD = 64 * 1024
"""The bytes from which on another thread's checksum takes less time than having it do that."""


class Aside(Protocol):
    """Whoever writes large files."""

    def begin(self, entry: TarEntry) -> bool:
        """Take a file, or leave it to the stream."""

    def write(self, *content: memoryview) -> None:
        """Take what comes next of it, in pieces."""

    def end(self) -> None:
        """Hear that it was all."""


class CheckedFiles:
    """Takes the content of one file after the other.

    :param aside: who writes large files; None when they are in the stream like any other.
    :param workers: compute the checksums of large files while these are written; None to do it in between.
    :ivar checked: whether the file under way has a checksum.
    """

    def __init__(self, *, aside: Aside | None, workers: Workers | None) -> None:
        self._aside = aside
        self._workers = workers
        self._path = b""
        self._padding = 0
        self._sum: FileSum | None = None
        self._pieces: list[memoryview] = []
        self._summing: Job[None] | None = None
        self.checked = False

    def begin(self, entry: TarEntry, checksum: FileSum | None, *, alone: bool) -> bool:
        """Begin a file, and tell whether it is written aside.

        :param checksum: what its content has to be, None for whatever it is.
        :param alone: whether it may be written aside.
        :raise FileDamaged: when it is empty and must not be.
        """
        self._path, self._sum, self.checked = entry.path, checksum, checksum is not None
        self._padding = tarheader.padding(entry.size)
        if checksum is not None and not entry.size:
            raise FileDamaged(show(entry.path))
        return alone and self._aside is not None and self._aside.begin(entry)

    def check(self, taken: memoryview, left: int) -> None:
        """Take a piece of a file that is in the stream.

        :param left: bytes of the file and its padding that are still to come.
        :raise FileDamaged: when it is not what its checksum says.
        """
        _sum_up(self._sum, [self._without_padding(taken, left)])
        if not left:
            self._end()

    def put_aside(self, taken: memoryview, left: int) -> None:
        """Take a piece of a file that is written aside, which is good until that has been written and the next as well.

        :param left: bytes of the file and its padding that are still to come.
        :raise FileDamaged: when it is not what its checksum says.
        """
        assert self._aside is not None
        self._pieces.append(self._without_padding(taken, left))
        if not left:
            self.write()
            self._end()
            self._aside.end()

    def write(self) -> None:
        """Write what was put aside."""
        pieces, self._pieces = self._pieces, []
        if self._aside is None or not pieces:
            return
        self._settle()
        if self._workers is None or self._sum is None or sum(map(len, pieces)) < _WORTH_A_THREAD:
            _sum_up(self._sum, pieces)
        else:
            self._summing = self._workers.submit(_sum_up, self._sum, pieces)
        self._aside.write(*pieces)

    def _settle(self) -> None:
        """Wait for the checksum, which may be behind by what was written last."""
        summing, self._summing = self._summing, None
        if summing is not None:
            summing.result()

    def _without_padding(self, taken: memoryview, left: int) -> memoryview:
        return taken[: max(0, len(taken) + min(0, left - self._padding))]

    def _end(self) -> None:
        self._settle()
        ended, self._sum, self.checked = self._sum, None, False
        if ended is not None and not ended.holds():
            raise FileDamaged(show(self._path))


def _sum_up(checksum: FileSum | None, pieces: Sequence[memoryview]) -> None:
    if checksum is not None:
        for piece in pieces:
            checksum.update(piece)
