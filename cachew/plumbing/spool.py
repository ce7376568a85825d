"""One writer, many followers, over one file.

A response that several clients want at once is produced once: the producer writes it here, and each client follows
from the first byte at its own speed, on disk instead of in memory. The file can be kept under another name when it
is complete, or dropped; followers read on either way, because they hold the file and not its name.
"""

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from twisted.internet.defer import Deferred

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.streams import PIECE, FiledSource, Region
from cachew.plumbing.waiters import Waiters

_FOLLOWED = 128 * 1024
"""The most that a follower reads at a time, in bytes: hundreds of slow ones hold two such pieces each."""

_TAKEN = 4 * 1024 * 1024
"""The most that is taken out of a pipe at a time, in bytes; pipes hold less."""

_WORTH_WAKING = 1024 * 1024
"""How much has to come out of a pipe before followers are woken while more waits in it, in bytes: waking a crowd for
every piece costs more than sending it."""

State = Literal["open", "finished", "failed"]


class Spool:
    """Bytes that are written once and followed by any number of readers.

    The file is made by the first :meth:`write` or :meth:`follow`. Whoever made the spool ends its life with
    :meth:`keep` or :meth:`discard`.

    :param path: the file to write; it must not exist yet.
    :param headers: what the writer knows about the bytes, for the followers.
    """

    def __init__(self, *, path: Path, headers: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.headers: Mapping[str, str] = dict(headers or {})
        self.size = 0
        self._told = 0
        self.state: State = "open"
        self._reason: Exception | None = None
        self._file: int | None = None
        self._released = False
        self._followers: set[_Follower] = set()
        self._idle = Waiters()

    @property
    def followers(self) -> int:
        """How many follow and have not closed."""
        return len(self._followers)

    def _opened(self) -> int:
        if self._file is None:
            if self._released:
                raise SpoolFailed("the spool is gone")
            self._file = _made(self.path)
        return self._file

    def write(self, data: bytes) -> None:
        """Append data and wake the followers.

        :raise SpoolFailed: when the spool has ended.
        :raise OSError: when the disk fails; the followers are told.
        """
        if self.state != "open":
            raise SpoolFailed("the spool has ended")
        try:
            self._append(memoryview(data))
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
            self._splice(pipe)
        except BlockingIOError:
            self._wake()
            raise
        except OSError as failure:
            self.fail(failure)
            raise
        if self.size - self._told >= _WORTH_WAKING:
            self._wake()
        return self.size - before

    def _splice(self, pipe: int) -> None:
        try:
            self.size += os.splice(pipe, self._opened(), _TAKEN, offset_dst=self.size, flags=os.SPLICE_F_NONBLOCK)
        except OSError as failure:
            if failure.errno != errno.EINVAL:
                raise
            # The file system can't (splice(2)).
            self._append(memoryview(os.read(pipe, PIECE)))

    def _append(self, data: memoryview) -> None:
        file = self._opened()
        while data:
            count = os.pwrite(file, data, self.size)
            self.size += count
            data = data[count:]

    def finish(self) -> None:
        """The writer is done: followers reach the end."""
        if self.state == "open":
            self._opened()
            self._end("finished")

    def fail(self, reason: Exception) -> None:
        """The writer broke off: followers get what there is, then :class:`SpoolFailed`."""
        if self.state == "open":
            self._reason = reason
            self._end("failed")

    def _end(self, state: State) -> None:
        self.state = state
        self._wake()
        self._tidy()

    def _wake(self) -> None:
        self._told = self.size
        for follower in list(self._followers):
            follower.wake()

    def follow(self, offset: int = 0) -> FiledSource:
        """Return a source from ``offset`` to the end that the writer will reach.

        :raise SpoolFailed: when the spool has been released and closed.
        """
        self._opened()
        follower = _Follower(self, offset)
        self._followers.add(follower)
        return follower

    def when_idle(self) -> Deferred[None]:
        """Return a Deferred that fires as soon as nobody follows."""
        idle = self._idle.wait()
        self._announce_idle()
        return idle

    def _announce_idle(self) -> None:
        if not self._followers:
            self._idle.wake()

    def keep(self, target: Path) -> None:
        """Rename the finished file to ``target``; its followers read on.

        :raise SpoolFailed: when the writer has not finished.
        """
        if self.state != "finished":
            raise SpoolFailed("an unfinished spool can't be kept")
        os.replace(self.path, target)
        self._release()

    def discard(self) -> None:
        """Remove the file; its followers, and the writer if it goes on, keep what they have open.

        :raise OSError: when it can't be removed; the spool lets go of it all the same.
        """
        if not self._released:
            try:
                self.path.unlink(missing_ok=True)
            finally:
                self._release()

    def _release(self) -> None:
        self._released = True
        self._tidy()

    def _tidy(self) -> None:
        if self._released and not self._followers and self.state != "open" and self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def written(self, offset: int, limit: int) -> Region | None:
        """Return where up to ``limit`` bytes that have been written at ``offset`` lie, None when there are none yet."""
        count = min(limit, self.size - offset)
        return Region(self._opened(), offset, count) if count > 0 else None

    def check(self) -> None:
        """Raise what ended the writer early.

        :raise SpoolFailed: when the writer failed.
        """
        if self.state == "failed":
            raise SpoolFailed(f"the response broke off: {self._reason}") from self._reason

    def forget(self, follower: "_Follower") -> None:
        """Count a follower out."""
        self._followers.discard(follower)
        self._tidy()
        self._announce_idle()


def _made(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        # Somebody has removed the directory.
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(path, flags, 0o600)


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
            self._spool.check()
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
