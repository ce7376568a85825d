"""Rounds: everybody is served by one that begins after he came, and fails only with that."""

from twisted.internet.defer import CancelledError, Deferred, DeferredLock

from cachew.mirrors.coalescing import Rounds
from tests.fakes.settled import failure_of, value_of


class Work:
    """Rounds that wait for the test."""

    def __init__(self) -> None:
        self.lock = DeferredLock()
        self.begun: list[Deferred[None]] = []
        self.rounds = Rounds(lock=self.lock, work=self._round)

    async def _round(self) -> None:
        self.begun.append(Deferred())
        await self.begun[-1]

    def ask(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.rounds.run())


def test_those_who_come_later_share_the_next() -> None:
    """Whoever comes during a round is served by the next, together with all who come meanwhile."""
    work = Work()
    first, second, third = work.ask(), work.ask(), work.ask()
    work.begun[0].callback(None)
    assert first.called and not second.called and len(work.begun) == 2
    work.begun[1].callback(None)
    value_of(second)
    value_of(third)
    assert not work.rounds.under_way and not work.lock.locked


def test_all_who_wait_for_the_lock_share_a_round() -> None:
    """Until a round has begun it takes up everybody."""
    work = Work()
    work.lock.acquire()
    waiting = [work.ask() for _ in range(3)]
    assert work.rounds.under_way and not work.begun
    work.lock.release()
    work.begun[0].callback(None)
    for each in waiting:
        value_of(each)
    assert len(work.begun) == 1


def test_failures_stay_with_their_round() -> None:
    """A failure is for those whose round it was; the lock is free afterwards."""
    work = Work()
    first, second = work.ask(), work.ask()
    work.begun[0].errback(ValueError("broken"))
    assert isinstance(failure_of(first), ValueError)
    work.begun[1].callback(None)
    value_of(second)
    assert not work.lock.locked


def test_leaving() -> None:
    """Whoever leaves ends his own wait only; a round that nobody waits for goes on to its end."""
    work = Work()
    first, second = work.ask(), work.ask()
    for each in (second, first):
        each.cancel()
        assert isinstance(failure_of(each), CancelledError)
    assert work.rounds.under_way
    work.begun[0].callback(None)
    assert not work.rounds.under_way and len(work.begun) == 1
