"""Those who wait until something has happened."""

from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.waiters import Waiters
from tests.fakes.settled import failure_of


def test_all_who_wait_go_on_and_whoever_comes_then_waits_for_the_next_time() -> None:
    """A wake ends the waits of before it, in their order, and none that begins meanwhile."""
    waiters, woken = Waiters(), list[str]()

    def note(_: None, who: str) -> None:
        woken.append(who)
        waiters.wait()

    waiters.wait().addCallback(note, "first")
    waiters.wait().addCallback(note, "second")
    waiters.wake()
    assert woken == ["first", "second"] and waiters


def test_one_who_leaves_disturbs_nobody() -> None:
    """A wait that is given up fails alone, also when somebody who was woken before makes it."""
    waiters = Waiters()
    first, second, third = waiters.wait(), waiters.wait(), waiters.wait()
    early = waiters.wait()
    early.cancel()
    assert isinstance(failure_of(early), CancelledError)

    def make_leave(_: None) -> None:
        second.cancel()

    first.addCallback(make_leave)
    waiters.wake()
    assert isinstance(failure_of(second), CancelledError) and third.called and not waiters


def test_a_wake_without_anybody_is_nothing() -> None:
    """It is not remembered: waits are for what happens after they began."""
    waiters = Waiters()
    waiters.wake()
    waiting: Deferred[None] = waiters.wait()
    assert not waiting.called
