"""When upstreams are asked again: those that hang, and those of whose refs only some were asked for."""

import pytest

from cachew.mirrors.listings import Listings
from cachew.mirrors.pauses import UpstreamPauses
from cachew.mirrors.refknowledge import KeptOutcomes
from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY, listing

URL = "https://git.example/"
HUNG = UpstreamTimeout(URL, "no answer")


class Pausing:
    """Pauses, and upstreams that fail as the test says.

    :param interval: seconds that a listing is good for.
    """

    def __init__(self, interval: float = 10) -> None:
        self.clock = FakeClock()
        self.clock.advance(1000)
        self.kept = KeptOutcomes(listings=Listings(limit=1_000_000), clock=self.clock, interval=interval)
        self.pauses = UpstreamPauses(clock=self.clock, kept=self.kept)

    def fail(self, after: float, failure: UpstreamError = HUNG) -> None:
        """Have a request fail after so many seconds."""
        begun = self.kept.begin(None)
        self.clock.advance(after)
        self.pauses.note(REPOSITORY, begun, failure)

    def pause(self) -> float:
        """Return for how many seconds the upstream is left alone from now on."""
        seconds = 0.0
        while not self.pauses.over(REPOSITORY):
            self.clock.advance(0.5)
            seconds += 0.5
        return seconds


def test_an_upstream_that_hangs_is_left_alone_for_longer_each_time() -> None:
    """Up to ten seconds; while it is left alone, and until it answers, nobody is made to wait for it."""
    world = Pausing()
    pauses = []
    for _ in range(6):
        world.fail(1)
        assert world.pauses.hangs(REPOSITORY)
        pauses.append(world.pause())
        assert world.pauses.hangs(REPOSITORY)
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_no_longer_than_a_listing_would_have_been_good() -> None:
    """Where listings are good for long, an upstream that hangs is not asked more often than one that answers."""
    world = Pausing(interval=60)
    pauses = []
    for _ in range(8):
        world.fail(1)
        pauses.append(world.pause())
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize("failure", [UpstreamUnreachable(URL, "reset"), HUNG, UpstreamBusy(URL, "429", status=429)])
def test_only_a_failure_that_was_waited_for_is_a_reason(failure: UpstreamError) -> None:
    """One that comes at once keeps nobody waiting; once the upstream hangs, such a one makes the pause longer, too."""
    world = Pausing()
    world.fail(0.25, failure)
    assert not world.pauses.hangs(REPOSITORY) and world.pauses.over(REPOSITORY)
    world.fail(0.5, failure)
    assert world.pauses.hangs(REPOSITORY) and world.pause() == 1
    world.fail(0, failure)
    assert world.pause() == 2


def test_an_answer_ends_it() -> None:
    """A refusal is one; the next time that it hangs begins with the shortest pause."""
    for answer in (listing(main="1"), UpstreamRefused(URL, status=403)):
        world = Pausing()
        world.fail(1)
        world.pause()
        world.fail(1)
        world.pauses.note(REPOSITORY, world.kept.begin(None), answer)
        assert not world.pauses.hangs(REPOSITORY)
        world.fail(1)
        assert world.pause() == 1


def test_a_change_ends_it() -> None:
    """One that has taken a push is well, whatever was seen of it before that; also if that was still under way."""
    world = Pausing()
    world.fail(1)
    world.kept.changes.note(REPOSITORY.name)
    assert not world.pauses.hangs(REPOSITORY) and world.pauses.over(REPOSITORY)
    begun = world.kept.begin(None)
    world.clock.advance(1)
    world.kept.changes.note(REPOSITORY.name)
    world.pauses.note(REPOSITORY, begun, HUNG)
    assert not world.pauses.hangs(REPOSITORY)
    world.fail(1)
    assert world.pauses.hangs(REPOSITORY)


def test_an_old_trouble_is_forgotten() -> None:
    """An hour after it was seen last, whoever asks finds out himself."""
    world = Pausing()
    world.fail(1)
    world.clock.advance(3599)
    assert world.pauses.hangs(REPOSITORY)
    world.clock.advance(2)
    assert not world.pauses.hangs(REPOSITORY)


@pytest.mark.parametrize(("interval", "seconds"), [(0, 600), (10, 600), (60, 3600)])
def test_all_refs_are_due_now_and_then(interval: float, seconds: float) -> None:
    """After ten minutes, or after sixty times as long as a listing is good; asking for them counts as listing."""
    world = Pausing(interval)
    assert not world.pauses.all_due(REPOSITORY)
    world.clock.advance(seconds - 1)
    assert not world.pauses.all_due(REPOSITORY)
    world.clock.advance(1)
    assert world.pauses.all_due(REPOSITORY) and not world.pauses.all_due(REPOSITORY)
    world.clock.advance(seconds - 1)
    world.pauses.all_listed(REPOSITORY)
    world.clock.advance(seconds - 1)
    assert not world.pauses.all_due(REPOSITORY)
