"""The way of the log to its file: through a bounded queue and a thread, so that nobody waits for whoever takes it.

A pipe that nobody reads, or a disk that hangs, must not stop a server that answers. What finds the queue full is
dropped and counted, and the log itself says so when it goes on.
"""

import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

LIMIT = 8 * 1024 * 1024
"""Bytes of the log that may wait."""

_AT_ONCE = 64 * 1024


class LogQueue:
    """A file for log observers.

    Until :meth:`start` it writes by itself, because ``twistd`` may still go to the background, where no thread follows.

    :param write: writes bytes to the log, however long that takes.
    :param notice: makes the line that says how many were dropped.
    :param limit: bytes that may wait.
    """

    def __init__(self, write: Callable[[bytes], object], *, notice: Callable[[int], str], limit: int = LIMIT) -> None:
        self._write = write
        self._notice = notice
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[bytes | Callable[[], object]] = deque()
        self._size = 0
        self._dropped = self._untold = 0
        self._busy = self._started = False

    @property
    def dropped(self) -> int:
        """Lines that nobody will see."""
        return self._dropped

    def start(self) -> None:
        """Leave the writing to a thread from now on."""
        with self._changed:
            if not self._started:
                self._started = True
                # Nobody waits at the end of the process for a thread that hangs.
                threading.Thread(target=self._run, name="log", daemon=True).start()

    def write(self, text: str) -> None:
        """Take a line, or drop it when too much waits."""
        data = text.encode("utf-8", "backslashreplace")
        with self._changed:
            if self._started:
                self._take(data)
                return
        self._put(data)

    def _take(self, data: bytes) -> None:
        if self._size + len(data) > self._limit:
            self._dropped += 1
            self._untold += 1
            return
        if self._untold:
            self._append(self._told())
        self._append(data)
        self._changed.notify_all()

    def _append(self, data: bytes) -> None:
        self._waiting.append(data)
        self._size += len(data)

    def _told(self) -> bytes:
        count, self._untold = self._untold, 0
        return self._notice(count).encode("utf-8", "backslashreplace")

    def flush(self) -> None:
        """Do nothing; what was taken is on its way."""

    def call(self, function: Callable[[], object]) -> None:
        """Have something done to the file between two lines, where it disturbs no writing."""
        with self._changed:
            if self._started:
                self._waiting.append(function)
                self._changed.notify_all()
                return
        function()

    def drain(self, seconds: float) -> bool:
        """Wait for what was taken to be written, no longer than so many seconds.

        :return: whether it was.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not (self._started and (self._waiting or self._busy)), seconds)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._untold)
                work = self._next()
                self._busy = True
            if isinstance(work, bytes):
                self._put(work)
                with self._changed:
                    self._size = max(0, self._size - len(work))
            else:
                self._do(work)

    def _next(self) -> bytes | Callable[[], object]:
        """Return what is to be done next: a few lines together, or a call."""
        lines: list[bytes] = []
        size = 0
        while self._waiting and size < _AT_ONCE:
            first = self._waiting[0]
            if not isinstance(first, bytes):
                if not lines:
                    self._waiting.popleft()
                    return first
                break
            lines.append(first)
            size += len(first)
            self._waiting.popleft()
        if not lines:
            notice = self._told()
            self._size += len(notice)
            return notice
        return b"".join(lines)

    def _put(self, data: bytes) -> None:
        try:
            self._write(data)
        except (OSError, ValueError):
            # Full, broken or closed: there is nobody left to tell but the metric.
            with self._changed:
                self._dropped += data.count(b"\n")

    def _do(self, function: Callable[[], object]) -> None:
        try:
            function()
        except OSError as failure:
            self._put(f"the log file could not be opened anew: {failure}\n".encode())


def descriptor_writer(descriptor: int) -> Callable[[bytes], None]:
    """Return what writes to a descriptor, past any buffer whose lock a thread that hangs would keep.

    :param descriptor: blocking or not.
    """

    def write(data: bytes) -> None:
        view: Any = memoryview(data)
        while view:
            try:
                view = view[os.write(descriptor, view) :]
            except BlockingIOError:
                select.select([], [descriptor], [])

    return write
