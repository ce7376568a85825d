"""Progress on git's own line."""

import io

import pytest

from cachew.client.gitprogress import GitProgress
from tests.fakes.clock import FakeClock

MIB = 1024 * 1024


class Terminal(io.StringIO):
    """A terminal that may go away."""

    gone = False

    def write(self, text: str) -> int:
        """Show it."""
        if self.gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


class Shown:
    """A transfer and what is shown of it."""

    def __init__(self, *, shown: bool = True) -> None:
        self.terminal, self.clock = Terminal(), FakeClock()
        self.clock.advance(100)
        self.progress = GitProgress(stream=self.terminal, clock=self.clock, shown=shown)

    def lines(self) -> list[str]:
        """Return what stood on the line, one after the other."""
        return self.terminal.getvalue().replace("\n", "\r").split("\r")[:-1]


def test_every_hundredth_is_shown_once() -> None:
    """With the bytes and the rate since the beginning, and the end of the line."""
    shown = Shown()
    shown.progress.begin("snapshot", 4 * MIB)
    shown.clock.advance(2)
    shown.progress.advance(2 * MIB)
    shown.progress.advance(1)
    shown.clock.advance(2)
    shown.progress.advance(2 * MIB - 1)
    shown.progress.finish()
    shown.progress.done()
    assert shown.lines() == [
        "Receiving snapshot:  50% 2.00 MiB | 1.00 MiB/s",
        "Receiving snapshot: 100% 4.00 MiB | 1.00 MiB/s",
        "Receiving snapshot: 100% 4.00 MiB | 1.00 MiB/s, done.",
    ]


def test_parts_are_one_transfer() -> None:
    """What begins later adds to it; the time goes on from the first."""
    shown = Shown()
    for _ in range(2):
        shown.progress.begin("part", MIB)
        shown.clock.advance(1)
    shown.progress.advance(2 * MIB)
    assert shown.lines()[-1] == "Receiving snapshot: 100% 2.00 MiB | 1.00 MiB/s"


@pytest.mark.parametrize("total", [None, 0])
def test_a_length_that_nobody_knows(total: int | None) -> None:
    """The line has no more than nought percent until it ends; more than was announced is a hundred."""
    shown = Shown()
    shown.progress.begin("part", total)
    shown.progress.advance(MIB)
    assert "  0% 1.00 MiB" in shown.lines()[-1]
    shown.progress.begin("part", 10)
    shown.progress.advance(10)
    assert "100%" in shown.lines()[-1]


def test_whoever_wants_none_sees_none() -> None:
    """Neither while it goes on nor at its end."""
    shown = Shown(shown=False)
    shown.progress.begin("part", 1)
    shown.progress.advance(1)
    shown.progress.done()
    assert shown.lines() == []


def test_a_transfer_that_never_began_has_no_line() -> None:
    """There is nothing to end."""
    shown = Shown()
    shown.progress.done()
    assert shown.lines() == []


def test_a_terminal_that_is_gone_ends_no_transfer() -> None:
    """Nothing is written to it any more."""
    shown = Shown()
    shown.terminal.gone = True
    shown.progress.begin("part", 2)
    shown.progress.advance(1)
    shown.terminal.gone = False
    shown.progress.advance(1)
    shown.progress.done()
    assert shown.lines() == []
