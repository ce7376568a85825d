"""Several things done at once end as one would: with what failed or was given up, not with what wraps it up."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.together import all_of
from tests.fakes.settled import failure_of, value_of


async def awaited(what: "Deferred[int]") -> int:
    """Wait for something."""
    return await what


@pytest.fixture
def works() -> list["Deferred[int]"]:
    """Return three things that take time."""
    return [Deferred() for _ in range(3)]


def test_results_come_in_order(works: list["Deferred[int]"]) -> None:
    """Whatever ends first, each result is at its own place."""
    together = Deferred.fromCoroutine(all_of(awaited(work) for work in works))
    for number in (2, 0, 1):
        works[number].callback(number)
    assert value_of(together) == [0, 1, 2]


def test_the_first_failure_is_raised_as_it_is(works: list["Deferred[int]"]) -> None:
    """Who awaits it can tell what happened."""
    together = Deferred.fromCoroutine(all_of(awaited(work) for work in works))
    works[1].errback(LookupError("gone"))
    assert isinstance(failure_of(together), LookupError)


def test_who_gives_up_hears_that(works: list["Deferred[int]"]) -> None:
    """A wait that is given up ends all of the work, and as a wait that was given up."""
    together = Deferred.fromCoroutine(all_of(awaited(work) for work in works))
    together.cancel()
    assert isinstance(failure_of(together), CancelledError)
    assert all(work.called for work in works)


def test_nothing_goes_on_behind_a_failure(works: list["Deferred[int]"]) -> None:
    """The rest is given up, and the failure is raised when the last of it has ended, however many there are."""
    tidy: Deferred[None] = Deferred()

    async def tidying(work: "Deferred[int]") -> int:
        try:
            return await work
        finally:
            await tidy

    many = [*works, *(Deferred[int]() for _ in range(2000))]
    together = Deferred.fromCoroutine(all_of([tidying(Deferred()), *(awaited(work) for work in many)]))
    works[1].errback(LookupError("gone"))
    assert all(work.called for work in many) and not together.called
    tidy.callback(None)
    assert isinstance(failure_of(together), LookupError)
