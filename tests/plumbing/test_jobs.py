"""Slots: how many work at once, who is next, and what happens to those who leave."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.errors import Busy
from cachew.plumbing.jobs import LONG, Slots
from tests.fakes.clock import FakeClock


class Worker:
    """Works in a slot until it is told to end."""

    def __init__(self, slots: Slots, key: str, started: list[str], *, long: bool = False) -> None:
        self.key, self.long, self.end = key, long, Deferred[None]()
        self._started = started
        self.done = Deferred.fromCoroutine(self._work(slots))
        self.done.addErrback(lambda failure: failure.trap(CancelledError))

    async def _work(self, slots: Slots) -> None:
        async with slots.take(self.key, long=self.long):
            self._started.append(self.key)
            await self.end


def test_no_more_than_the_limit_work_and_turns_go_round() -> None:
    """Whoever waits is served round-robin over the keys, not in the order of arrival."""
    slots, started = Slots(limit=1), list[str]()
    workers = [Worker(slots, key, started) for key in ("a", "a", "a", "b")]
    assert started == ["a"] and slots.waiting == 3
    for number in (0, 1, 3, 2):
        workers[number].end.callback(None)
    assert started == ["a", "a", "b", "a"]
    assert (slots.running, slots.waiting) == (0, 0)


def test_whoever_leaves_the_queue_costs_no_place() -> None:
    """A cancelled waiter gets no turn, and a cancelled worker gives his place on."""
    slots, started = Slots(limit=1), list[str]()
    first, second, third = (Worker(slots, key, started) for key in "abc")
    second.done.cancel()
    assert slots.waiting == 1
    first.done.cancel()
    assert started == ["a", "c"] and slots.running == 1
    third.end.callback(None)
    assert (slots.running, slots.waiting) == (0, 0)


def test_a_full_queue_says_so() -> None:
    """One more than may wait is refused at once."""
    slots, started = Slots(limit=1, queue_limit=1), list[str]()
    workers = [Worker(slots, "a", started), Worker(slots, "b", started)]
    refused = Deferred.fromCoroutine(slots.acquire("c"))
    refused.addErrback(lambda failure: failure.trap(Busy))
    assert refused.result is Busy
    for worker in workers:
        worker.end.callback(None)


def test_thousands_who_are_done_at_once() -> None:
    """A long queue of work that takes no time is worked off without going deeper with each piece."""
    slots, started = Slots(limit=1, queue_limit=5000), list[str]()
    workers = [Worker(slots, f"{number % 7}", started) for number in range(4000)]
    for worker in workers[1:]:
        worker.end.callback(None)
    workers[0].end.callback(None)
    assert len(started) == 4000
    assert (slots.running, slots.waiting) == (0, 0)


def test_nobody_overtakes_the_queue() -> None:
    """Who comes at the moment that a place is handed on waits behind those who wait already."""
    slots, order = Slots(limit=1), list[str]()

    async def work(key: str, then: str | None) -> None:
        async with slots.take(key):
            order.append(key)
        if then is not None:
            Deferred.fromCoroutine(work(then, None))

    first = Worker(slots, "first", [])
    for key, then in (("a", "late"), ("b", None), ("c", None)):
        Deferred.fromCoroutine(work(key, then))
    first.end.callback(None)
    assert order == ["a", "b", "c", "late"]


def test_a_failing_worker_gives_its_place_back() -> None:
    """An exception in the block frees the place."""
    slots = Slots(limit=1)

    async def fail() -> None:
        async with slots.take("a"):
            raise ValueError("broken")

    failed = Deferred.fromCoroutine(fail())
    failed.addErrback(lambda failure: failure.trap(ValueError))
    assert slots.running == 0


@pytest.mark.parametrize("limit", [1, 3])
def test_places_are_counted(limit: int) -> None:
    """As many work as there are places."""
    slots, started = Slots(limit=limit), list[str]()
    workers = [Worker(slots, "a", started) for _ in range(5)]
    assert slots.running == len(started) == limit
    for worker in workers:
        worker.end.callback(None)
    assert slots.running == 0


def test_no_key_takes_more_than_half_while_others_wait() -> None:
    """Whoever holds half of the places gets no further one before those who wait with fewer."""
    slots, started = Slots(limit=4), list[str]()
    workers = [Worker(slots, key, started) for key in ("a", "a", "b", "b", "a", "a", "c", "c")]
    assert started == ["a", "a", "b", "b"]
    workers[2].end.callback(None)
    workers[3].end.callback(None)
    assert started[4:] == ["c", "c"]
    workers[6].end.callback(None)
    assert started[6:] == ["a"]
    for number in (0, 1, 4, 5, 7):
        workers[number].end.callback(None)
    assert (slots.running, slots.waiting) == (0, 0)


def test_of_many_places_one_is_always_left_to_others() -> None:
    """A key that nobody competes with fills all places but one, where there are plenty: it may hold them for long."""
    slots, started = Slots(limit=8), list[str]()
    workers = [Worker(slots, "a", started) for _ in range(20)]
    assert len(started) == 7
    other = Worker(slots, "b", started)
    assert started[7:] == ["b"]
    for worker in [other, *workers]:
        worker.end.callback(None)
    assert (slots.running, slots.waiting) == (0, 0) and len(started) == 21


def test_one_key_leaves_room_in_the_queue() -> None:
    """A thousand waiting clients of one repository fill half of the queue; another's are not told that it is full."""
    slots, started = Slots(limit=1, queue_limit=10), list[str]()
    workers = [Worker(slots, "a", started) for _ in range(6)]
    refused = Deferred.fromCoroutine(slots.acquire("a"))
    refused.addErrback(lambda failure: failure.trap(Busy))
    assert refused.result is Busy and slots.waiting == 5
    workers += [Worker(slots, "b", started) for _ in range(5)]
    for worker in workers:
        worker.end.callback(None)
    assert started == ["a", "a", "b", "a", "b", "a", "b", "a", "b", "a", "b"]


def test_a_key_may_be_held_to_fewer_places() -> None:
    """Where that is wanted a key holds no more than so many, though others are free."""
    slots, started = Slots(limit=3, per_key=1), list[str]()
    workers = [Worker(slots, key, started) for key in ("a", "a", "b")]
    assert started == ["a", "b"]
    workers[0].end.callback(None)
    assert started == ["a", "b", "a"]
    for worker in workers[1:]:
        worker.end.callback(None)
    assert slots.running == 0


def test_whoever_leaves_lets_others_take_what_was_left_to_him() -> None:
    """A place that was left to a key whose client goes away is taken by those who held back for it."""
    slots, started = Slots(limit=2), list[str]()
    workers = [Worker(slots, key, started) for key in ("a", "b", "a", "c")]
    workers[3].done.cancel()
    workers[1].end.callback(None)
    assert started == ["a", "b", "a"]
    for worker in (workers[0], workers[2]):
        worker.end.callback(None)
    assert (slots.running, slots.waiting) == (0, 0)


def test_long_work_of_many_keys_leaves_places_to_short_work() -> None:
    """However many huge ones there are, a place is kept that only short work takes, which they don't stand before."""
    slots, started = Slots(limit=2, kept_short=1), list[str]()
    workers = [Worker(slots, key, started, long=True) for key in ("huge", "vast", "giant")]
    assert started == ["huge"] and slots.waiting == 2
    tiny = Worker(slots, "tiny", started)
    assert started == ["huge", "tiny"]
    tiny.end.callback(None)
    assert started == ["huge", "tiny"]
    for worker in workers:
        worker.end.callback(None)
    assert started == ["huge", "tiny", "vast", "giant"]
    assert (slots.running, slots.waiting) == (0, 0)


def test_short_work_of_a_key_passes_its_own_long_work() -> None:
    """What is short of a huge one doesn't wait until what is long of it has had its turn."""
    slots, started = Slots(limit=3, kept_short=1), list[str]()
    workers = [Worker(slots, key, started, long=True) for key in ("a", "b", "a")]
    short = Worker(slots, "a", started)
    assert started == ["a", "b", "a"] and slots.waiting == 1
    for worker in [short, *workers]:
        worker.end.callback(None)
    assert (slots.running, slots.waiting) == (0, 0)


def test_short_work_takes_every_place() -> None:
    """Nothing is kept from short work, and long work waits for it like anybody."""
    slots, started = Slots(limit=2, kept_short=1), list[str]()
    workers = [Worker(slots, key, started) for key in ("a", "b", "c")]
    late = Worker(slots, "huge", started, long=True)
    assert started == ["a", "b"]
    for worker in [*workers, late]:
        worker.end.callback(None)
    assert started == ["a", "b", "c", "huge"] and slots.running == 0


def test_a_single_place_is_anybodys() -> None:
    """Where there is one place long work has it too."""
    slots, started = Slots(limit=1, kept_short=1), list[str]()
    worker = Worker(slots, "huge", started, long=True)
    assert started == ["huge"]
    worker.end.callback(None)
    assert slots.running == 0


def test_work_that_turns_out_to_be_long_gives_up_the_place_that_was_kept() -> None:
    """Two that nobody knew to be huge keep a tiny one waiting for seconds, not for as long as they take."""
    clock = FakeClock()
    slots, started = Slots(limit=2, kept_short=1, reactor=clock), list[str]()
    workers = [Worker(slots, key, started) for key in ("huge", "vast", "tiny", "small")]
    known = Worker(slots, "giant", started, long=True)
    clock.advance(LONG - 1)
    assert started == ["huge", "vast"]
    clock.advance(1)
    assert started == ["huge", "vast", "tiny"]
    clock.advance(10 * LONG)
    assert started == ["huge", "vast", "tiny"], "only as many more as were kept"
    workers[0].end.callback(None)
    workers[1].end.callback(None)
    assert started[3:] == ["small"]
    for worker in (workers[2], workers[3], known):
        worker.end.callback(None)
    assert started[4:] == ["giant"]
    assert (slots.running, slots.waiting) == (0, 0) and not clock.getDelayedCalls()


@pytest.mark.parametrize("passed", [0.0, LONG])
def test_whoever_leaves_is_not_counted_as_long(passed: float) -> None:
    """A cancelled worker takes nothing of the places for long work with him, long or not by then."""
    clock = FakeClock()
    slots, started = Slots(limit=2, kept_short=1, reactor=clock), list[str]()
    worker = Worker(slots, "a", started)
    clock.advance(passed)
    worker.done.cancel()
    others = [Worker(slots, "b", started, long=True), Worker(slots, "c", started)]
    assert started == ["a", "b", "c"] and len(clock.getDelayedCalls()) == 1
    for other in others:
        other.end.callback(None)
    assert slots.running == 0 and not clock.getDelayedCalls()


def test_it_is_told_who_works_and_who_waits_and_for_how_long() -> None:
    """Of each key: how many pieces, and the age of the oldest that still goes on, whichever of them have ended."""
    clock, started = FakeClock(), list[str]()
    slots = Slots(limit=2, clock=clock)
    first = Worker(slots, "a", started)
    clock.advance(5)
    second = Worker(slots, "a", started)
    clock.advance(5)
    waiting = [Worker(slots, key, started) for key in "bcb"]
    clock.advance(1)
    assert slots.under_way == [("a", 2, 11)] and sorted(slots.queue) == [("b", 2, 1), ("c", 1, 1)]
    first.end.callback(None)
    assert ("a", 1, 6) in slots.under_way
    waiting[1].done.cancel()
    second.end.callback(None)
    for worker in (waiting[0], waiting[2]):
        worker.end.callback(None)
    assert (slots.under_way, slots.queue, slots.running) == ([], [], 0)
