"""What the other replicas know to be public."""

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.background import Background
from cachew.upstream.replica_verdicts import Elsewhere
from tests.cleanliness import FlushLoggedErrors
from tests.fakes.clock import FakeClock
from tests.fakes.settled import value_of
from tests.fakes.sightings import FakeSightings

NAME, NOW, GRACE = "git.example/org/repo", 1_700_000_000.0, 3600.0


class World:
    """A replica, its clock, and what all have written down."""

    def __init__(self, grace: float = GRACE) -> None:
        self.clock, self.sightings = FakeClock(now=NOW), FakeSightings()
        self.elsewhere = Elsewhere(sightings=self.sightings, clock=self.clock, grace=grace, background=Background())

    def look(self) -> float | None:
        return value_of(Deferred.fromCoroutine(self.elsewhere.look(NAME)))


@pytest.fixture
def world() -> World:
    return World()


def test_what_was_seen_is_told_now_and_then(world: World) -> None:
    """Not at every request."""
    world.elsewhere.seen(NAME)
    world.clock.advance(GRACE / 10 - 1)
    world.elsewhere.seen(NAME)
    assert world.sightings.moments == {NAME: NOW}
    world.clock.advance(1)
    world.elsewhere.seen(NAME)
    assert world.sightings.moments == {NAME: NOW + GRACE / 10}


def test_what_was_refused_here_is_not_believed_of_others(world: World) -> None:
    """Until it was seen here again, or theirs can't count any more."""
    world.sightings.moments[NAME] = NOW
    assert world.look() == NOW
    world.elsewhere.refused(NAME)
    assert world.sightings.moments == {}
    world.sightings.moments[NAME] = NOW
    assert world.look() is None
    world.clock.advance(GRACE)
    assert world.look() == NOW
    world.elsewhere.refused(NAME)
    world.elsewhere.seen(NAME)
    assert world.look() == NOW + GRACE


def test_what_nobody_has_seen_is_looked_for_again_after_a_while(world: World) -> None:
    """Records that fail are no more than that."""
    for down in (False, True):
        world.sightings.down = down
        assert [world.look(), world.look()] == [None, None]
        world.clock.advance(10)
    assert world.sightings.looks == 2


def test_without_a_grace_nobody_is_asked_or_told() -> None:
    """Nothing would count."""
    world = World(grace=0)
    world.elsewhere.seen(NAME)
    world.elsewhere.refused(NAME)
    assert world.look() is None and (world.sightings.looks, world.sightings.moments) == (0, {})


def test_records_that_fail_keep_nobody_waiting(world: World, flush_logged_errors: FlushLoggedErrors) -> None:
    """What could not be told is logged behind."""
    world.sightings.down = True
    world.elsewhere.seen(NAME)
    world.elsewhere.refused(NAME)
    flush_logged_errors()
