"""Repositories that could not be mirrored are left alone for a while."""

import pytest

from cachew.mirrors.cloneattempts import CloneAttempts
from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import CachewError, NotFound, StorageFull, UpstreamUnreachable
from cachew.upstream.verdictmemory import UpstreamChanges
from tests.fakes.clock import FakeClock

ONE, OTHER = Identity("git.example", "org/one"), Identity("git.example", "org/other")


def test_each_failure_doubles_the_pause_up_to_ten_minutes() -> None:
    """Half of a pause is certain, the rest is by chance; another repository waits for nothing."""
    clock = FakeClock()
    attempts = CloneAttempts(clock=clock, ref_interval=float)
    for pause in (10, 20, 40, 80, 160, 320, 600, 600):
        attempts.note(ONE, OSError("no space"))
        clock.advance(pause / 2 - 0.1)
        assert not attempts.may_begin(ONE) and attempts.may_begin(OTHER)
        clock.advance(pause / 2 + 0.2)
        assert attempts.may_begin(ONE)


def test_what_fails_for_weeks_is_left_alone_as_long_as_before() -> None:
    """However often it has failed by then."""
    clock = FakeClock()
    attempts = CloneAttempts(clock=clock, ref_interval=float)
    for number in range(1100):
        attempts.note(ONE, OSError("no space"))
        clock.advance(299)
        assert number < 10 or not attempts.may_begin(ONE)


def test_after_a_success_it_begins_anew() -> None:
    """What is forgotten may be tried at once, and its next failure counts as the first."""
    clock = FakeClock()
    attempts = CloneAttempts(clock=clock, ref_interval=float)
    for _ in range(5):
        attempts.note(ONE, OSError("no space"))
    attempts.forget(ONE)
    assert attempts.may_begin(ONE)
    attempts.note(ONE, OSError("no space"))
    clock.advance(10.1)
    assert attempts.may_begin(ONE)


@pytest.mark.parametrize(("interval", "pause"), [(0.0, 0.0), (2.0, 2.0), (3600.0, 10.0)])
def test_a_repository_without_refs_is_looked_at_as_often_as_others(interval: float, pause: float) -> None:
    """However often it had none, what was said of that counts no longer than any listing."""
    clock = FakeClock()
    attempts = CloneAttempts(clock=clock, ref_interval=lambda: interval)
    for _ in range(20):
        attempts.note(ONE, NotFound("it has no refs"))
        assert attempts.may_begin(ONE) == (pause == 0)
        clock.advance(pause)
        assert attempts.may_begin(ONE)


@pytest.mark.parametrize(
    ("failure", "told", "words"),
    [
        (StorageFull("the disk is full"), StorageFull, "the disk is full"),
        (NotFound("it has no refs"), NotFound, "it has no refs"),
        (OSError("broken"), UpstreamUnreachable, "could not be mirrored: broken"),
    ],
)
def test_who_asks_meanwhile_is_told_the_failure(failure: Exception, told: type[CachewError], words: str) -> None:
    """In an exception of its own, since each is raised in another's frames."""
    attempts = CloneAttempts(clock=FakeClock(), ref_interval=float)
    attempts.note(ONE, failure)
    error = attempts.error(ONE, url="https://git.example/org/one", reason=None)
    assert type(error) is told and error is not failure and words in str(error)


def test_a_change_upstream_is_reason_to_try_again() -> None:
    """What the attempt failed for may be over; the pauses begin anew, and another repository's goes on."""
    clock, changes = FakeClock(), UpstreamChanges()
    attempts = CloneAttempts(clock=clock, ref_interval=float, changes=changes)
    for _ in range(3):
        attempts.note(ONE, OSError("broken"))
    attempts.note(OTHER, OSError("broken"))
    changes.note(ONE.name)
    assert attempts.may_begin(ONE) and not attempts.may_begin(OTHER)
    attempts.note(ONE, OSError("broken"))
    assert not attempts.may_begin(ONE)
    clock.advance(10)
    assert attempts.may_begin(ONE)
