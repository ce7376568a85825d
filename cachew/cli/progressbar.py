"""Shows progress: a bar on a terminal, plain lines elsewhere.

Nobody need see it: work goes on though the terminal has gone, or standard error is closed or full.
"""

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from cachew.cli.terminal import harmless
from cachew.client.libraries import find_libraries
from cachew.plumbing.clock import Clock

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

_UNSEEN = (OSError, ValueError)
"""What writing to a stream fails with that takes nothing, or is closed."""
_UNITS = ("B", "kB", "MB", "GB", "TB")


def size_text(count: float) -> str:
    """Return a number of bytes for people: ``12.3 MB``."""
    unit = 0
    while count >= 1000 and unit < len(_UNITS) - 1:
        count /= 1000
        unit += 1
    return f"{count:.1f} {_UNITS[unit]}" if unit else f"{int(count)} B"


class LineProgress:
    """Plain lines, at most one a second, and with a known total at most one for every tenth of it.

    :param stream: where they go.
    :param clock: what time it is.
    """

    def __init__(self, *, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        self._label = ""
        self._total: int | None = None
        self._done = 0
        self._started = self._last = 0.0
        self._shown = 0

    def begin(self, label: str, total: int | None) -> None:
        """Start counting."""
        with self._lock:
            self._label, self._total, self._done, self._shown = label, total, 0, 0
            self._started = self._last = self._clock.seconds()

    def advance(self, count: int) -> None:
        """Count, and write a line when it is time."""
        with self._lock:
            self._done += count
            now = self._clock.seconds()
            tenths = self._done * 10 // self._total if self._total else self._shown + 1
            if now - self._last >= 1 and tenths > self._shown:
                self._last, self._shown = now, tenths
                self._write(self._line(now))

    def finish(self) -> None:
        """Write how much it was."""
        with self._lock:
            self._write(self._line(self._clock.seconds()))

    def say(self, text: str) -> None:
        """Write a line."""
        with self._lock:
            self._write(text)

    def warn(self, text: str) -> None:
        """Write a line that says warning."""
        self.say(f"warning: {text}")

    def _line(self, now: float) -> str:
        rate = self._done / max(now - self._started, 0.001)
        share = f" of {size_text(self._total)} ({100 * self._done // self._total} %)" if self._total else ""
        return f"{self._label}: {size_text(self._done)}{share}, {size_text(rate)}/s"

    def _write(self, text: str) -> None:
        with suppress(*_UNSEEN):
            self._stream.write(harmless(text) + "\n")
            self._stream.flush()


class BarProgress:
    """A bar with bytes, rate and time left.

    :param stream: a terminal.
    """

    def __init__(self, *, stream: TextIO) -> None:
        self._stream = stream
        self._bar: RichProgress | None = None
        self._task: TaskID | None = None

    def begin(self, label: str, total: int | None) -> None:
        """Show the bar."""
        from rich import progress
        from rich.console import Console

        self.finish()
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            progress.TimeRemainingColumn(),
            console=Console(file=self._stream),
        )
        self._task = self._bar.add_task(label, total=total)
        with suppress(*_UNSEEN):
            self._bar.start()

    def advance(self, count: int) -> None:
        """Move the bar."""
        bar, task = self._bar, self._task
        if bar is not None and task is not None:
            bar.update(task, advance=count)

    def finish(self) -> None:
        """Leave the bar as it is."""
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(*_UNSEEN):
                bar.stop()

    def say(self, text: str) -> None:
        """Write a line."""
        with suppress(*_UNSEEN):
            if self._bar is not None:
                self._bar.console.print(harmless(text), markup=False, highlight=False)
            else:
                self._stream.write(harmless(text) + "\n")

    def warn(self, text: str) -> None:
        """Write a line that says warning."""
        self.say(f"warning: {text}")


def choose_progress(stream: TextIO, *, clock: Clock) -> "BarProgress | LineProgress":
    """Return what fits the stream."""
    if stream.isatty():
        from importlib.util import find_spec

        find_libraries()
        if find_spec("rich") is not None:
            return BarProgress(stream=stream)
    return LineProgress(stream=stream, clock=clock)
