"""Counting by day, all replicas together."""

import pytest
import pytest_twisted

from cachew.replicas.completions import TaskCompletions
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.tally import Tally
from tests.fakes.clock import FakeClock
from tests.fakes.records import UnreliableRecords

NOON = 1_700_049_600.0
DAY = 86400.0


@pytest.fixture
def clock() -> FakeClock:
    """The time of day."""
    return FakeClock(NOON)


@pytest.fixture
def records() -> UnreliableRecords:
    """What the replicas share."""
    return UnreliableRecords(MemoryRecords())


def replica(records: UnreliableRecords, clock: FakeClock) -> Tally:
    """Return a replica's tally."""
    return Tally(what="clones", progress=TaskCompletions(records=records, clock=clock), clock=clock)


@pytest_twisted.ensureDeferred
async def test_all_replicas_are_counted_together(records: UnreliableRecords, clock: FakeClock) -> None:
    """What one has noted counts there at once, elsewhere when it was added and read."""
    one, two = replica(records, clock), replica(records, clock)
    for tally in (one, one, two):
        tally.note("git.example/org/repo")
    assert (one.today("git.example/org/repo"), two.today("git.example/org/repo")) == (2, 1)
    await one.flush()
    await two.flush()
    assert two.today("git.example/org/repo") == 3
    clock.advance(61)
    await one.refresh(["git.example/org/repo", "git.example/other"])
    assert (one.today("git.example/org/repo"), one.today("git.example/other")) == (3, 0)


@pytest_twisted.ensureDeferred
async def test_each_day_has_its_own_count(records: UnreliableRecords, clock: FakeClock) -> None:
    """A new day begins at nothing; what was noted late yesterday counts for yesterday."""
    tally = replica(records, clock)
    tally.note("repo")
    clock.advance(DAY)
    assert tally.today("repo") == 0
    tally.note("repo")
    await tally.flush()
    assert tally.today("repo") == 1
    progress = TaskCompletions(records=records, clock=clock)
    assert await progress.counted("clones/2023-11-15/repo") == 1
    assert await progress.counted("clones/2023-11-16/repo") == 1


@pytest_twisted.ensureDeferred
async def test_nothing_is_lost_while_the_records_fail(records: UnreliableRecords, clock: FakeClock) -> None:
    """It is added when they work again."""
    tally = replica(records, clock)
    tally.note("repo")
    records.down = True
    await tally.flush()
    await tally.refresh(["repo"])
    assert tally.today("repo") == 1
    records.down = False
    await tally.flush()
    await tally.flush()
    assert await TaskCompletions(records=records, clock=clock).counted("clones/2023-11-15/repo") == 1
