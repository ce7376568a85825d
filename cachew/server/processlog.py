"""Where the log of this process goes: to its output, or to files of a bounded size."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from twisted.python.logfile import LogFile

from cachew.server.logqueue import LogQueue, descriptor_writer

LOG_SIZE = 64 * 1024 * 1024
"""Bytes after which a log file is set aside."""
KEPT_LOGS = 10
"""How many of these are kept."""
_LAST_LINES = 2.0
"""Seconds that the end of the process waits for its last lines to be written."""


class Output(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int:
        """Return it."""


@dataclass(frozen=True)
class _Log:
    """A place for lines.

    :param queue: where they go.
    :param reopen: has its file opened anew, if it is one.
    """

    queue: LogQueue
    reopen: Callable[[], object]


class ProcessLog:
    """The log, once it is open: ``twistd``'s own options may have chosen another, and none is open here then."""

    def __init__(self) -> None:
        self._open: list[_Log] = []

    def begin(
        self, name: str | None, *, foreground: bool, output: Output | None, notice: Callable[[int], str]
    ) -> LogQueue:
        """Open it.

        :param name: of the file, as ``twistd`` was told it; ``-`` for the output.
        :param output: the process's, None when it was started with that closed.
        :param foreground: whether ``twistd`` stays there, where the output is seen.
        :param notice: makes the line that tells of dropped ones.
        :return: where lines go.
        """
        if name == "-" or (foreground and not name):
            write = _nowhere if output is None else descriptor_writer(output.fileno())
            log = _Log(LogQueue(write, notice=notice), lambda: None)
        else:
            log = _in_file(name or "twistd.log", notice)
        self._open.append(log)
        return log.queue

    def reopen(self) -> None:
        """Open its file anew, as those want who rotate logs."""
        for log in self._open:
            log.reopen()

    def write_in_thread(self) -> None:
        """Have it written in a thread from now on."""
        for log in self._open:
            log.queue.start()

    def drain(self) -> None:
        """Wait for its last lines to be written."""
        for log in self._open:
            log.queue.drain(_LAST_LINES)

    def dropped(self) -> int:
        """Return how many lines were dropped."""
        return sum(log.queue.dropped for log in self._open)


class _LastingFile(LogFile):
    """A log file that stays the one that is open for as long as no other can be opened in its place.

    Twisted's closes it first, and takes no line any more where nothing can be opened then.
    """

    def reopen(self) -> None:
        """Open it anew.

        :raise OSError: when that does not go.
        """
        before = self._file
        self._openFile()
        before.close()

    def rotate(self) -> None:
        """Set it aside and begin another, or go on with it for as much again."""
        before = self._file
        try:
            self._file = os.fdopen(os.dup(before.fileno()), "wb", 0)
            super().rotate()
        except OSError:
            if self._file is not before:
                self._file.close()
            self._file, self.size = before, 0
        else:
            before.close()


def _nowhere(data: bytes) -> None:
    """Write nothing: the process was started with its output closed."""


def _in_file(name: str, notice: Callable[[int], str]) -> _Log:
    # Twisted's own default keeps every megabyte for ever, and renames all of them each time.
    file = _LastingFile.fromFullPath(name, rotateLength=LOG_SIZE, maxRotatedFiles=KEPT_LOGS)

    def write(data: bytes) -> None:
        file.write(data)
        file.flush()

    queue = LogQueue(write, notice=notice)
    return _Log(queue, lambda: queue.call(file.reopen))
