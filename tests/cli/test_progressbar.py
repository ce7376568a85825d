"""What the user sees of a transfer."""

import io

import pytest

from cachew.cli.progressbar import BarProgress, LineProgress, choose_progress, size_text
from tests.fakes.clock import FakeClock


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Gone(Terminal):
    """A terminal that has gone."""

    def write(self, text: str) -> int:
        raise OSError(5, "Input/output error")


class Closed(Terminal):
    """A stream that is closed."""

    def write(self, text: str) -> int:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stream", [Gone(), Closed()])
def test_nobody_need_see_it(stream: Terminal) -> None:
    """What can't be shown is not shown; the work goes on."""
    lines, bar = LineProgress(stream=stream, clock=FakeClock()), BarProgress(stream=stream)
    for progress in (lines, bar):
        progress.begin("Downloading", 10)
        progress.advance(10)
        progress.warn("something")
        progress.finish()
        progress.say("done")


def test_sizes() -> None:
    """Sizes are short and have a unit."""
    assert [size_text(n) for n in (0, 999, 1000, 12_345_678, 5e12, 5e15)] == [
        "0 B", "999 B", "1.0 kB", "12.3 MB", "5.0 TB", "5000.0 TB",
    ]  # fmt: skip


def test_lines_are_few() -> None:
    """With a known size there is at most a line a second and a tenth."""
    stream, clock = io.StringIO(), FakeClock()
    progress = LineProgress(stream=stream, clock=clock)
    progress.begin("Downloading", 1000)
    for _ in range(100):
        clock.advance(0.125)
        progress.advance(10)
    progress.finish()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Downloading: 100 B of 1.0 kB (10 %), 80 B/s"
    assert lines[-1] == "Downloading: 1.0 kB of 1.0 kB (100 %), 80 B/s"
    assert len(lines) <= 11


def test_lines_without_a_size() -> None:
    """Without a size there is at most a line a second."""
    stream, clock = io.StringIO(), FakeClock()
    progress = LineProgress(stream=stream, clock=clock)
    progress.begin("Downloading", None)
    for _ in range(30):
        clock.advance(0.125)
        progress.advance(1000)
    assert stream.getvalue().splitlines() == [
        "Downloading: 8.0 kB, 8.0 kB/s",
        "Downloading: 16.0 kB, 8.0 kB/s",
        "Downloading: 24.0 kB, 8.0 kB/s",
    ]


def test_a_terminal_gets_a_bar() -> None:
    """On a terminal there is a bar; what is said meanwhile stands above it."""
    stream = Terminal()
    progress = choose_progress(stream, clock=FakeClock())
    assert isinstance(progress, BarProgress)
    progress.say("before")
    progress.begin("Downloading", 1000)
    progress.advance(1000)
    progress.warn("something [odd]")
    progress.finish()
    progress.finish()
    assert stream.getvalue().startswith("before\n")
    assert "warning: something [odd]" in stream.getvalue()
    assert "100%" in stream.getvalue() or "1.0/1.0 kB" in stream.getvalue()


def test_elsewhere_there_are_lines() -> None:
    """What is no terminal gets lines."""
    assert isinstance(choose_progress(io.StringIO(), clock=FakeClock()), LineProgress)
