"""Waiting no longer than one is willing to."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.patience import ended_or_late, ended_within
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, value_of


class Stubborn:
    """Work that does not end when it is cancelled."""

    def __init__(self) -> None:
        self.cancelled = False
        self.end: Deferred[None] = Deferred()

    async def run(self) -> None:
        try:
            await Deferred[None]()
        except CancelledError:
            self.cancelled = True
            await self.end
            raise RuntimeError("at last") from None


def waiting(clock: FakeClock, work: Deferred[None]) -> Deferred[bool]:
    return Deferred.fromCoroutine(ended_within(clock, 5, work))


def test_what_ends_in_time() -> None:
    """Work that ends, at once or later, is waited for, and its failure is raised."""
    clock, later = FakeClock(), Deferred[None]()
    done: Deferred[None] = Deferred()
    done.callback(None)
    assert value_of(waiting(clock, done))
    wait = waiting(clock, later)
    clock.advance(4)
    later.errback(KeyError("no"))
    assert isinstance(failure_of(wait), KeyError)
    assert not clock.getDelayedCalls()


def test_what_does_not_end_even_when_cancelled() -> None:
    """Work that goes on after its cancellation is left to itself, however it ends."""
    clock, work = FakeClock(), Stubborn()
    wait = Deferred.fromCoroutine(ended_within(clock, 5, work.run()))
    clock.advance(4.9)
    assert not wait.called
    clock.advance(0.2)
    assert value_of(wait) is False and work.cancelled
    work.end.callback(None)


@pytest.mark.parametrize("seconds", [0, 3])
def test_a_cancelled_wait_cancels_the_work(seconds: float) -> None:
    """Whoever gives up the wait gives up the work, and waits no more."""
    clock, work = FakeClock(), Stubborn()
    wait = Deferred.fromCoroutine(ended_within(clock, 5, work.run()))
    clock.advance(seconds)
    wait.cancel()
    assert isinstance(failure_of(wait), CancelledError) and work.cancelled
    assert not clock.getDelayedCalls()


def test_what_goes_on_after_the_wait() -> None:
    """The wait ends with the work or after a while, and the work keeps what comes of it."""
    clock, early, late = FakeClock(), Deferred[int](), Deferred[int]()
    waits = [ended_or_late(clock, 5, work) for work in (early, late, late)]
    early.errback(KeyError("no"))
    assert waits[0].called and isinstance(failure_of(early), KeyError)
    waits[2].addErrback(lambda failure: failure.trap(CancelledError) and None).cancel()
    clock.advance(5)
    assert waits[1].called and not late.called
    late.callback(7)
    assert value_of(late) == 7 and not clock.getDelayedCalls()
