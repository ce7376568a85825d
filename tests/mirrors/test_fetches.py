"""Fetches of one mirror, each in its place, and what is noted of how they end."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.fetches import Fetches
from cachew.plumbing.errors import Busy, ProcessFailed
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY
from tests.fakes.settled import failure_of, value_of


class World:
    """A mirror whose fetches the test ends.

    :ivar seen: how often people were told that something has changed, and what has grown.
    """

    def __init__(self, *, places: int = 1, queue: int = 10) -> None:
        self.clock, self.metrics = FakeClock(5000), Metrics()
        self.git = SimpleNamespace(
            fetches=Slots(limit=places, queue_limit=queue), by_id=Slots(limit=1, queue_limit=queue)
        )
        self.life = SimpleNamespace(identity=REPOSITORY, last_error="before", last_fetch=None, changed=self.changed)
        self.seen: list[object] = []
        self.touched = 0
        self.begun: list[Deferred[None]] = []
        self.fetches = Fetches(
            life=cast(Any, self.life),
            place=cast(Any, SimpleNamespace(touch=self.touch)),
            git=cast(Any, self.git),
            clock=self.clock,
            metrics=self.metrics,
            on_grown=self.seen.append,
        )

    def changed(self) -> None:
        self.seen.append("changed")

    def touch(self) -> None:
        self.touched += 1

    async def fetch(self) -> None:
        """Fetch until the test ends it."""
        done: Deferred[None] = Deferred()
        self.begun.append(done)
        await done

    def start(self) -> Deferred[None]:
        """Start a fetch of the refs."""
        return Deferred.fromCoroutine(self.fetches.of_refs(self.fetch()))


def test_a_fetch_that_ends_well() -> None:
    """Its time is noted on the disk, too, an earlier error is forgotten, and those are told who care."""
    world = World()
    fetch = world.start()
    world.clock.advance(3)
    world.begun[0].callback(None)
    assert value_of(fetch) is None
    assert (world.life.last_fetch, world.life.last_error, world.touched) == (5003, None, 1)
    assert world.seen == ["changed", REPOSITORY]


@pytest.mark.parametrize(
    "failure", [ProcessFailed("git fetch", 128, "no"), OSError("no descriptors"), CancelledError()]
)
def test_a_fetch_that_fails(failure: Exception) -> None:
    """Why is known, nothing has come, and its place is free."""
    world = World()
    fetch = world.start()
    world.begun[0].errback(failure)
    assert failure_of(fetch) is failure
    assert (world.life.last_fetch, world.life.last_error, world.touched) == (None, str(failure), 0)
    assert world.seen == ["changed"] and world.git.fetches.running == 0


def test_places_are_taken_in_turn_and_ids_have_their_own() -> None:
    """A fetch of refs that waits for its place keeps none by ids waiting; who leaves while he waits takes none."""
    world = World()
    first, gone, third = world.start(), world.start(), world.start()
    by_id = Deferred.fromCoroutine(world.fetches.by_id(world.fetch()))
    assert len(world.begun) == 2
    gone.cancel()
    assert isinstance(failure_of(gone), CancelledError)
    for number in range(3):
        world.begun[number].callback(None)
    assert [value_of(one) for one in (first, by_id, third)] == [None] * 3 and world.git.fetches.running == 0


def test_who_finds_no_room_is_told() -> None:
    """His work never begins, and is not left behind."""
    world = World(queue=0)
    world.start()
    assert isinstance(failure_of(world.start()), Busy) and len(world.begun) == 1
