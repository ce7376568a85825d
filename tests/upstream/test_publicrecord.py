"""Which repositories were public a short while ago: across restarts, among replicas, whatever the clock does."""

import json
from pathlib import Path

import pytest

from cachew.plumbing.background import Background
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.replica_verdicts import Elsewhere
from tests.cleanliness import FlushLoggedErrors
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import result_of
from tests.fakes.sightings import FakeSightings

NAME, NOW, GRACE = "git.example/org/repo", 1_700_000_000.0, 3600.0


class World:
    """A server's record."""

    def __init__(self, directory: Path, *, capacity: int = 10_000) -> None:
        self.path = directory / "public.json"
        self.clock, self.sightings = FakeClock(now=NOW), FakeSightings()
        self._capacity = capacity
        self.start()

    def start(self) -> None:
        """Start, or start again."""
        background = Background()
        self.record = PublicRecord(
            path=self.path,
            clock=self.clock,
            grace=GRACE,
            in_thread=InlineThreads(),
            background=background,
            elsewhere=Elsewhere(sightings=self.sightings, clock=self.clock, grace=GRACE, background=background),
            capacity=self._capacity,
        )
        self.record.load()

    def learn(self, name: str = NAME) -> None:
        result_of(self.record.learn(name))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_what_was_seen_counts_for_the_grace(world: World) -> None:
    """And after a restart for the rest of it."""
    world.record.note(NAME)
    world.clock.advance(GRACE - 1)
    world.start()
    assert world.record.was_public(NAME)
    world.clock.advance(1)
    assert not world.record.was_public(NAME)
    world.start()
    assert not world.record.was_public(NAME)


def test_the_file_is_written_now_and_then(world: World) -> None:
    """Not at every request."""
    world.record.note(NAME)
    written = world.path.stat().st_mtime_ns, world.path.stat().st_ino
    world.clock.advance(GRACE / 10 - 1)
    world.record.note(NAME)
    assert (world.path.stat().st_mtime_ns, world.path.stat().st_ino) == written
    world.clock.advance(1)
    world.record.note(NAME)
    assert json.loads(world.path.read_text()) == {"public": {NAME: NOW + GRACE / 10}}


def test_what_is_not_public_is_forgotten_at_once(world: World) -> None:
    """In the file, and for the others."""
    world.record.note(NAME)
    world.record.forget(NAME)
    assert not world.record.was_public(NAME)
    assert json.loads(world.path.read_text()) == {"public": {}}
    assert world.sightings.moments == {}
    world.sightings.moments[NAME] = NOW
    world.learn()
    assert not world.record.was_public(NAME)


def test_another_replica_s_word_counts_for_the_grace_since_it_was_given(world: World) -> None:
    """An older one than one's own makes that no older."""
    world.sightings.moments[NAME] = NOW - GRACE / 2
    world.learn()
    assert world.record.was_public(NAME)
    world.record.note(NAME)
    world.sightings.moments[NAME] = NOW - GRACE / 2
    world.learn()
    world.clock.advance(GRACE - 1)
    assert world.record.was_public(NAME)


@pytest.mark.parametrize("at", [NOW - GRACE, NOW + 60])
def test_a_word_that_is_too_old_or_not_yet_given_does_not_count(world: World, at: float) -> None:
    """Clocks differ."""
    world.sightings.moments[NAME] = at
    world.learn()
    assert not world.record.was_public(NAME)


def test_a_clock_that_is_put_back_makes_nothing_public_for_longer(world: World) -> None:
    """What was seen in the future is as good as never seen, until it is seen again."""
    world.record.note(NAME)
    world.clock.put_forward(-86400)
    assert not world.record.was_public(NAME)
    world.record.note(NAME)
    assert world.record.was_public(NAME)
    assert json.loads(world.path.read_text())["public"] == {NAME: NOW - 86400}


def test_what_another_replica_says_counts_though_the_clock_was_put_back(world: World) -> None:
    """One's own memory of the future doesn't stand before it."""
    world.record.note(NAME)
    world.clock.put_forward(-86400)
    world.sightings.moments[NAME] = NOW - 86400
    world.learn()
    assert world.record.was_public(NAME)


def test_so_many_are_remembered_and_no_more(tmp_path: Path) -> None:
    """Whether they were seen here or by others; the longest unseen goes first."""
    world = World(tmp_path, capacity=2)
    for name in "abc":
        world.record.note(name)
    assert [world.record.was_public(name) for name in "abc"] == [False, True, True]
    for name in "de":
        world.sightings.moments[name] = NOW
        world.learn(name)
    assert [name for name in "abcde" if world.record.was_public(name)] == ["d", "e"]


@pytest.mark.parametrize("text", ["", "[]", '{"public": []}', '{"public": {"a": "x"}}', '{"public": {"a": null}}', "{"])
def test_a_file_that_can_not_be_read_says_nothing(
    world: World, text: str, flush_logged_errors: FlushLoggedErrors
) -> None:
    """Nothing is known to be public then."""
    world.path.write_text(text)
    world.start()
    assert not world.record.was_public("a")
    world.record.note(NAME)
    assert list(json.loads(world.path.read_text())["public"]) == [NAME]


def test_numbers_that_are_none_count_for_nothing(world: World) -> None:
    """JSON as Python writes it has infinities, and what is no number."""
    world.path.write_text('{"public": {"a": NaN, "b": Infinity, "c": -Infinity}}')
    world.start()
    assert not any(world.record.was_public(name) for name in "abc")
