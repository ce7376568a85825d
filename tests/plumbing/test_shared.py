"""Work that many ask for and one does."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.shared import Shared, first_of
from tests.fakes.settled import failure_of, value_of


class Work:
    """Work that ends when the test says so."""

    def __init__(self) -> None:
        self.running: list[Deferred[str]] = []
        self.cancelled = 0

    def __call__(self) -> Coroutine[Any, Any, str]:
        return self._run()

    async def _run(self) -> str:
        self.running.append(Deferred())
        try:
            return await self.running[-1]
        except CancelledError:
            self.cancelled += 1
            raise


def ask(shared: Shared[str, str], work: Callable[[], Coroutine[Any, Any, str]]) -> Deferred[str]:
    return Deferred.fromCoroutine(shared.run("key", work))


def ended(deferred: Deferred[str]) -> type[BaseException]:
    """Return how a waiter failed."""
    return type(failure_of(deferred))


def test_one_run_for_all() -> None:
    """All who ask while it runs get its result; whoever asks later starts another."""
    shared, work = Shared[str, str](), Work()
    waiters = [ask(shared, work) for _ in range(3)]
    assert len(work.running) == 1 and "key" in shared
    work.running[0].callback("done")
    assert [value_of(waiter) for waiter in waiters] == ["done"] * 3
    assert "key" not in shared
    ask(shared, work)
    assert len(work.running) == 2
    work.running[1].callback("done")


def test_one_failure_for_all() -> None:
    """All who ask while it runs get its failure."""
    shared, work = Shared[str, str](), Work()
    waiters = [ask(shared, work) for _ in range(3)]
    work.running[0].errback(ValueError("broken"))
    assert [ended(waiter) for waiter in waiters] == [ValueError] * 3


def test_each_leaves_alone() -> None:
    """A waiter's cancel is its own; the others get the result."""
    shared, work = Shared[str, str](), Work()
    first, second = ask(shared, work), ask(shared, work)
    first.cancel()
    assert ended(first) is CancelledError
    work.running[0].callback("done")
    assert value_of(second) == "done"


@pytest.mark.parametrize("keep", [True, False])
def test_work_that_nobody_waits_for(keep: bool) -> None:
    """When the last has left, work is cancelled unless it is to be kept; what is kept can be joined again."""
    shared, work = Shared[str, str](keep=keep), Work()
    first = ask(shared, work)
    first.cancel()
    assert ended(first) is CancelledError
    assert work.cancelled == (0 if keep else 1) and ("key" in shared) is keep
    again = ask(shared, work)
    assert len(work.running) == (1 if keep else 2)
    work.running[-1].callback("done")
    assert value_of(again) == "done"


def test_cancelled_work_does_not_end_its_successor() -> None:
    """Work that is slow to end when cancelled leaves the run that has begun since alone."""
    shared, work = Shared[str, str](), Work()
    slow: Deferred[None] = Deferred()

    async def stubborn() -> str:
        try:
            return await Deferred[str]()
        finally:
            await slow

    first = ask(shared, stubborn)
    first.cancel()
    second = ask(shared, work)
    slow.callback(None)
    assert "key" in shared
    work.running[0].callback("done")
    assert value_of(second) == "done" and ended(first) is CancelledError


def test_cancelling_everything() -> None:
    """All work is cancelled, and its waiters know."""
    shared, work = Shared[str, str](keep=True), Work()
    waiter = ask(shared, work)
    shared.cancel_all()
    assert ended(waiter) is CancelledError and work.cancelled == 1


def test_a_waiter_may_ask_again_at_once() -> None:
    """Whoever asks as soon as it has its result starts new work."""
    shared, work = Shared[str, str](), Work()

    async def twice() -> str:
        return await shared.run("key", work) + await shared.run("key", work)

    both = Deferred.fromCoroutine(twice())
    work.running[0].callback("a")
    work.running[1].callback("b")
    assert value_of(both) == "ab"


@pytest.mark.parametrize("well", [True, False])
def test_the_first_of_several(well: bool) -> None:
    """The wait ends with the first end, good or bad, and the others are cancelled."""
    works: list[Deferred[None]] = [Deferred(), Deferred()]
    waiting = Deferred.fromCoroutine(first_of(*works))
    assert not waiting.called
    if well:
        works[1].callback(None)
    else:
        works[1].errback(ValueError("no"))
    assert value_of(waiting) is None
    assert works[0].called


def test_nobody_waits_for_the_first_any_more() -> None:
    """Who gives up waiting is told so, and the works are cancelled."""
    works: list[Deferred[None]] = [Deferred(), Deferred()]
    waiting = Deferred.fromCoroutine(first_of(*works))
    waiting.cancel()
    assert isinstance(failure_of(waiting), CancelledError)
    assert all(work.called for work in works)
