"""Progress as git shows its own: one line on standard error that is written over and over."""

import threading
from typing import TextIO

from cachew.plumbing.clock import Clock

_MIB = 1024 * 1024


class GitProgress:
    """Shows how much has come.

    :param stream: where it goes.
    :param clock: what time it is.
    :param shown: whether anything is shown.
    """

    def __init__(self, *, stream: TextIO, clock: Clock, shown: bool) -> None:
        self._stream = stream
        self._clock = clock
        self._shown = shown
        self._lock = threading.Lock()
        self._total = self._done = 0
        self._percent = -1
        self._begun = 0.0

    def begin(self, label: str, total: "int | None") -> None:
        """Count on: the parts of one archive are one transfer."""
        with self._lock:
            self._begun = self._begun or self._clock.seconds()
            self._total += total or 0

    def advance(self, count: int) -> None:
        """Count, and show every hundredth."""
        with self._lock:
            self._done += count
            percent = self._done * 100 // self._total if self._total else 0
            if self._shown and percent != self._percent:
                self._percent = percent
                self._write(f"{self._line()}\r")

    def finish(self) -> None:
        """Do nothing: more may come."""

    def done(self) -> None:
        """End the line."""
        with self._lock:
            if self._shown and self._percent >= 0:
                self._percent = 100
                self._write(f"{self._line()}, done.\n")

    def say(self, text: str) -> None:
        """Leave it to git to talk."""

    def warn(self, text: str) -> None:
        """Leave it to git to talk."""

    def _line(self) -> str:
        rate = self._done / max(self._clock.seconds() - self._begun, 0.001)
        done = f"{self._done / _MIB:.2f} MiB | {rate / _MIB:.2f} MiB/s"
        return f"Receiving snapshot: {min(self._percent, 100):3d}% {done}"

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._shown = False
