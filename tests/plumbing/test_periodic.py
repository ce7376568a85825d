"""Periodic jobs, with a clock that is held."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from cachew.plumbing.periodic import Periodic
from tests.fakes.clock import FakeClock


class Job:
    """Counts its turns; each waits for the test."""

    def __init__(self, *, now: bool = False) -> None:
        self.clock = FakeClock()
        self.turns: list[Deferred[None]] = []
        self.service = Periodic(name="job", interval=10, work=self.work, reactor=self.clock, now=now)

    async def work(self) -> None:
        self.turns.append(Deferred())
        await self.turns[-1]


def test_turns_never_overlap() -> None:
    """A turn that takes longer than the interval delays the next one."""
    job = Job()
    job.service.startService()
    assert not job.turns
    job.clock.advance(10)
    job.clock.advance(30)
    assert len(job.turns) == 1
    job.turns[0].callback(None)
    job.clock.advance(10)
    assert len(job.turns) == 2
    job.turns[1].callback(None)
    job.service.stopService()


def test_failures_are_outlived(flush_logged_errors: Callable[..., list[Any]]) -> None:
    """A failed turn is logged and the next one comes, also when the work could not even begin."""
    job = Job(now=True)
    job.service.startService()
    job.turns[0].errback(ValueError("broken"))
    job.clock.advance(10)
    assert len(job.turns) == 2 and len(flush_logged_errors(ValueError)) == 1
    job.turns[1].callback(None)
    job.service.stopService()
    begun: list[int] = []

    def unable() -> Any:
        begun.append(1)
        raise ValueError("no coroutine")

    service = Periodic(name="unable", interval=10, work=unable, reactor=job.clock)
    service.startService()
    job.clock.pump([10, 10])
    assert len(begun) == 2 and len(flush_logged_errors(ValueError)) == 2
    service.stopService()


def test_the_end_waits_for_the_turn() -> None:
    """Stopping cancels the turn under way and ends when it has ended."""
    clock, cleaned = FakeClock(), Deferred[None]()

    async def work() -> None:
        try:
            await Deferred[None]()
        finally:
            await cleaned

    service = Periodic(name="job", interval=10, work=work, reactor=clock, now=True)
    service.startService()
    stopped = service.stopService()
    assert not stopped.called
    cleaned.callback(None)
    assert stopped.called and not clock.getDelayedCalls()


def test_stopping_between_turns() -> None:
    """Stopping while nothing is under way ends at once; so does stopping what never started."""
    job = Job()
    assert job.service.stopService().called
    job.service.startService()
    assert job.service.stopService().called and not job.clock.getDelayedCalls()
