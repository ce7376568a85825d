"""How full the stores are, also where a store hangs or fails."""

from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.interface import Stats
from cachew.plumbing.background import Background
from cachew.plumbing.errors import StorageUnavailable
from cachew.web.storecounts import CacheStatus, StoreCounts
from tests.cleanliness import FlushLoggedErrors
from tests.fakes.clock import FakeClock
from tests.fakes.settled import value_of

PACKS = CacheStatus(name="packs", objects=3, size=30, capacity=300)


class Tiers:
    """A cache that counts when a test lets it."""

    def __init__(self) -> None:
        self.counts = 0
        self.gate: Deferred[None] | None = None
        self.failure: Exception | None = None

    async def stats(self) -> Stats:
        """Count."""
        self.counts += 1
        number = self.counts
        if self.gate is not None:
            await self.gate
        if self.failure is not None:
            raise self.failure
        return Stats(objects=number, size=10 * number, capacity=100)


class Packs:
    """Kept packs."""

    size, limit = 30, 300

    def __len__(self) -> int:
        return 3


class Counting:
    """What counts, and what is counted."""

    def __init__(self) -> None:
        self.tiers, self.clock, self.background = Tiers(), FakeClock(), Background()
        self.counts = StoreCounts(
            cache=cast(Any, self.tiers),
            packs=cast(Any, Packs()),
            background=self.background,
            reactor=self.clock,
        )

    def current(self) -> Deferred[list[CacheStatus]]:
        """Ask for what is there now."""
        return Deferred.fromCoroutine(self.counts.current())


def objects(number: int, error: str = "") -> CacheStatus:
    """Return what the count of that number finds."""
    return CacheStatus(name="objects", objects=number, size=10 * number, capacity=100, error=error)


def test_what_is_there_now_is_counted_each_time() -> None:
    """Whoever waits is told what has just been counted."""
    counting = Counting()
    assert value_of(counting.current()) == [objects(1), PACKS]
    assert value_of(counting.current()) == [objects(2), PACKS]


def test_what_the_last_count_found_is_told_while_the_next_begins() -> None:
    """Nobody waits for it; before the first count nothing is told of the tiers."""
    counting = Counting()
    counting.tiers.gate = Deferred()
    assert counting.counts.last() == [PACKS] and counting.counts.last() == [PACKS]
    assert counting.tiers.counts == 1
    counting.tiers.gate.callback(None)
    assert counting.background.under_way == []
    counting.tiers.gate = Deferred()
    assert counting.counts.last() == [objects(1), PACKS]
    counting.tiers.gate.callback(None)
    counting.tiers.gate = None
    assert value_of(counting.current())[0] == objects(3)


def test_a_store_that_hangs_keeps_nobody_waiting() -> None:
    """After a second what is known is told; the count goes on behind, and there is no second one beside it."""
    counting = Counting()
    counting.tiers.gate = Deferred()
    first, second = counting.current(), counting.current()
    counting.clock.advance(0.9)
    assert not first.called
    counting.clock.advance(0.2)
    assert [status.objects for status in value_of(first)] == [0, 3] and value_of(second)[0].size == 0
    counting.tiers.gate.callback(None)
    counting.tiers.gate = Deferred()
    assert counting.tiers.counts == 1
    late = counting.current()
    counting.clock.advance(1.1)
    assert value_of(late) == [objects(1), PACKS]
    counting.tiers.gate.callback(None)
    assert counting.clock.getDelayedCalls() == []


@pytest.mark.parametrize("known", [0, 1])
def test_a_store_that_fails_is_told_with_what_is_known_of_it(known: int) -> None:
    """The error stands beside the last count, and goes with the next one that succeeds."""
    counting = Counting()
    for _ in range(known):
        value_of(counting.current())
    counting.tiers.failure = StorageUnavailable("the store can't be reached")
    (status, packs) = value_of(counting.current())
    assert (status.objects, status.error, packs) == (known, "the store can't be reached", PACKS)
    counting.tiers.failure = None
    assert value_of(counting.current())[0] == objects(known + 2)


def test_a_store_that_is_broken_in_another_way_takes_nothing_else_with_it(
    flush_logged_errors: FlushLoggedErrors,
) -> None:
    """What went wrong is logged, and what is seen is that it can't be counted, beside the last count."""
    counting = Counting()
    value_of(counting.current())
    counting.tiers.failure = PermissionError("/srv/state/objects")
    assert value_of(counting.current()) == [objects(1, "it can't be counted (PermissionError)"), PACKS]
    assert len(flush_logged_errors(PermissionError)) == 1


def test_whoever_goes_away_leaves_the_count_to_the_others() -> None:
    """A page that is closed cancels nothing that another one waits for."""
    counting = Counting()
    counting.tiers.gate = Deferred()
    gone, stays = counting.current(), counting.current()
    gone.addErrback(lambda failure: None)
    gone.cancel()
    counting.tiers.gate.callback(None)
    assert value_of(stays) == [objects(1), PACKS] and counting.clock.getDelayedCalls() == []
