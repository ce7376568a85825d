"""One writer, many followers, over one file.

A response that several clients want at once is produced once: the producer writes it here, and each client follows
from the first byte at its own speed, on disk instead of in memory. The file can be kept under another name when it
is complete, or dropped; followers read on either way, because they hold the file and not its name.
"""

import os
from pathlib import Path
from typing import Literal

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.regions import Region
from cachew.plumbing.spoolfile import SpoolFile
from cachew.plumbing.streams import FiledSource
from cachew.plumbing.waiters import Waiters

_FOLLOWED = 128 * 1024
"""The most that a follower reads at a time, in bytes: hundreds of slow ones hold two such pieces each."""

_WORTH_WAKING = 1024 * 1024
"""How much has to come out of a pipe before followers are woken while more waits in it, in bytes: waking a crowd for
every piece costs more than sending it."""

State = Literal["open", "finished", "failed"]


class Spool:
    """Bytes that are written once and followed by any number of readers.

    The file is made by the first :meth:`write` or :meth:`follow`. Whoever made the spool ends its life with
    :meth:`keep` or :meth:`discard`.

    :param path: the file to write; it must not exist yet.
    """

    def __init__(self, *, path: Path) -> None:
        self.path = path
        self._file = SpoolFile(path)
        self._told = 0
        self.state: State = "open"
        self._reason: Exception | None = None
        self._followers: set[_Follower] = set()
        self._idle = Waiters()

    @property
    def followers(self) -> int:
        """How many follow and have not closed."""
        return len(self._followers)

    @property
    def size(self) -> int:
        """How many bytes have been written."""
        return self._file.size

    def write(self, data: bytes) -> None:
        """Append data and wake the followers.

        :raise SpoolFailed: when the spool has ended.
        :raise OSError: when the disk fails; the followers are told.
        """
        if self.state != "open":
            raise SpoolFailed("the spool has ended")
        try:
            self._file.append(memoryview(data))
        except OSError as failure:
            self.fail(failure)
            raise
        self._wake()

    def take(self, pipe: int) -> int:
        """Append what waits in a pipe, without reading it.

        The followers are woken when nothing more waits or much has come.

        :param pipe: the descriptor of its non-blocking reading end.
        :return: how many bytes that was, 0 at the end of the pipe.
        :raise BlockingIOError: when nothing waits.
        :raise SpoolFailed: when the spool has ended.
        :raise OSError: when the disk fails; the followers are told.
        """
        if self.state != "open":
            raise SpoolFailed("the spool has ended")
        before = self.size
        try:
            self._file.splice(pipe)
        except BlockingIOError:
            self._wake()
            raise
        except OSError as failure:
            self.fail(failure)
            raise
        if self.size - self._told >= _WORTH_WAKING:
            self._wake()
        return self.size - before

    def finish(self) -> None:
        """The writer is done: followers reach the end."""
        if self.state == "open":
            self._file.descriptor()
            self.state = "finished"
            self._wake()

    def fail(self, reason: Exception) -> None:
        """The writer broke off: followers get what there is, then :class:`SpoolFailed`."""
        if self.state == "open":
            self._reason = reason
            self.state = "failed"
            self._wake()

    def _wake(self) -> None:
        self._told = self.size
        for follower in list(self._followers):
            follower.wake()
        self._tidy()

    def follow(self, offset: int = 0) -> FiledSource:
        """Return a source from ``offset`` to the end that the writer will reach.

        :raise SpoolFailed: when the spool has been released and closed.
        """
        self._file.descriptor()
        follower = _Follower(self, offset)
        self._followers.add(follower)
        return follower

    def when_idle(self) -> Deferred[None]:
        """Return a Deferred that fires as soon as nobody follows."""
        idle = self._idle.wait()
        if not self._followers:
            self._idle.wake()
        return idle

    def keep(self, target: Path) -> None:
        """Rename the finished file to ``target``; its followers read on.

        :raise SpoolFailed: when the writer has not finished.
        """
        if self.state != "finished":
            raise SpoolFailed("an unfinished spool can't be kept")
        os.replace(self.path, target)
        self._file.released = True
        self._tidy()

    def discard(self) -> None:
        """Remove the file; its followers, and the writer if it goes on, keep what they have open.

        :raise OSError: when it can't be removed; the spool lets go of it all the same.
        """
        if not self._file.released:
            try:
                self.path.unlink(missing_ok=True)
            finally:
                self._file.released = True
                self._tidy()

    def _tidy(self) -> None:
        if self._file.released and not self._followers and self.state != "open":
            self._file.close()

    def written(self, offset: int, limit: int) -> Region | None:
        """Return where up to ``limit`` bytes that have been written at ``offset`` lie, None when there are none yet.

        :raise SpoolFailed: when there are none and the writer has failed.
        """
        count = min(limit, self.size - offset)
        if count <= 0 and self.state == "failed":
            raise SpoolFailed(f"the response broke off: {self._reason}") from self._reason
        return Region(self._file.descriptor(), offset, count) if count > 0 else None

    def forget(self, follower: "_Follower") -> None:
        """Count a follower out."""
        self._followers.discard(follower)
        self._tidy()
        if not self._followers:
            self._idle.wake()


class _Follower:
    def __init__(self, spool: Spool, offset: int) -> None:
        self._spool, self._offset = spool, offset
        self._more: Deferred[None] | None = None
        self._closed = False

    def wake(self) -> None:
        more, self._more = self._more, None
        if more is not None:
            more.callback(None)

    async def read(self, size: int) -> bytes:
        """Return the next bytes, waiting for the writer if it has not come that far.

        :raise SpoolFailed: when the writer failed.
        """
        region = await self.region(min(size, _FOLLOWED))
        return b"" if region is None else region.read()

    async def region(self, limit: int) -> Region | None:
        """Return where the next bytes lie, waiting for the writer if it has not come that far.

        :raise SpoolFailed: when the writer failed.
        """
        while not self._closed:
            if region := self._spool.written(self._offset, limit):
                self._offset += region.length
                return region
            if self._spool.state == "finished":
                return None
            self._more = Deferred()
            await self._more
        return None

    def close(self) -> None:
        """Stop following."""
        if not self._closed:
            self._closed = True
            self._spool.forget(self)
            self.wake()
