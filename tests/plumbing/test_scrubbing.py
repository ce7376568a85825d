"""Scrubs: when they are due, and how fast they read."""

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import StorageUnavailable
from cachew.plumbing.scrubbing import Pace, Scrub
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of

DAY = 86400.0


class Shelf:
    """Things to scrub, of a thousand bytes each."""

    def __init__(self, count: int = 3, failure: Exception | None = None) -> None:
        self.count, self.failure, self.read = count, failure, 0

    async def scrub(self, pace: Pace) -> None:
        for _ in range(self.count):
            self.read += 1
            await pace(1000)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def clock() -> FakeClock:
    """The time, long after the beginning of all times."""
    clock = FakeClock()
    clock.advance(100 * DAY)
    return clock


def scrub_of(clock: FakeClock, directory: Path, *shelves: Shelf) -> Scrub:
    return Scrub(
        areas=[(f"shelf {number}", shelf.scrub) for number, shelf in enumerate(shelves)],
        interval=DAY,
        rate=100,
        file=directory / "scrubbed.json",
        reactor=clock,
        clock=clock,
        threads=cast(Any, InlineThreads()),
    )


def run(clock: FakeClock, scrub: Scrub) -> None:
    """Have a turn, for as long as it takes."""
    turn = Deferred.fromCoroutine(scrub.turn())
    while not turn.called:
        clock.advance(10)
    value_of(turn)


def test_once_in_an_interval_across_restarts(clock: FakeClock, tmp_path: Path) -> None:
    """What was never scrubbed is soon, and from then on once in an interval, however often the server restarts."""
    shelf = Shelf()
    run(clock, first := scrub_of(clock, tmp_path, shelf))
    assert shelf.read == 0
    clock.advance(600)
    run(clock, first)
    assert shelf.read == 3
    for _ in range(10):
        clock.advance(DAY / 11)
        run(clock, scrub_of(clock, tmp_path, shelf))
    assert shelf.read == 3
    clock.advance(DAY / 10)
    run(clock, scrub_of(clock, tmp_path, shelf))
    assert shelf.read == 6


def test_no_more_bytes_a_second_than_it_may(clock: FakeClock, tmp_path: Path) -> None:
    """Others have their turn at the disk after each piece."""
    shelf = Shelf()
    scrub = scrub_of(clock, tmp_path, shelf)
    run(clock, scrub)
    clock.advance(600)
    turn = Deferred.fromCoroutine(scrub.turn())
    for count in (1, 2, 3):
        assert shelf.read == count and not turn.called
        clock.advance(9.9)
        assert shelf.read == count
        clock.advance(0.1)
    value_of(turn)


@pytest.mark.parametrize("failure", [StorageUnavailable("away"), OSError("no more descriptors")])
def test_what_fails_keeps_the_rest_from_nothing(clock: FakeClock, tmp_path: Path, failure: Exception) -> None:
    """An area that can't be read is told of in the log, and the others are read."""
    shelves = Shelf(failure=failure), Shelf()
    scrub = scrub_of(clock, tmp_path, *shelves)
    run(clock, scrub)
    clock.advance(600)
    run(clock, scrub)
    assert [shelf.read for shelf in shelves] == [3, 3]


@pytest.mark.parametrize("content", ["", "[]", "1e30"])
def test_a_file_that_says_nonsense(clock: FakeClock, tmp_path: Path, content: str) -> None:
    """A damaged file, or one of a clock that was ahead, puts nothing off for long."""
    (tmp_path / "scrubbed.json").write_text(content)
    shelf = Shelf()
    scrub = scrub_of(clock, tmp_path, shelf)
    run(clock, scrub)
    clock.advance(600)
    run(clock, scrub)
    assert shelf.read == 3
