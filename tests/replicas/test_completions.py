"""Counters and completions."""

import pytest
import pytest_twisted

from cachew.plumbing.errors import Conflict
from cachew.replicas.completions import Completion, TaskCompletions
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import Records, Versioned
from tests.fakes.clock import FakeClock


@pytest_twisted.ensureDeferred
async def test_tells_what_was_completed_last() -> None:
    """The last completion is known to every replica, with its number, its time and what was said of it."""
    clock, records = FakeClock(100.0), MemoryRecords()
    one, two = TaskCompletions(records=records, clock=clock), TaskCompletions(records=records, clock=clock)
    assert await two.last("snapshot/a") is None
    first = await one.completed("snapshot/a", since=None, commit="1234")
    clock.advance(5)
    done = await two.completed("snapshot/a", since=first, commit="5678")
    assert await one.last("snapshot/a") == done == Completion(2, 105.0, {"commit": "5678"})


@pytest_twisted.ensureDeferred
async def test_who_comes_too_late_completes_nothing() -> None:
    """What another replica has completed since the work was begun is not completed a second time."""
    records = MemoryRecords()
    one, two = (TaskCompletions(records=records, clock=FakeClock(at)) for at in (100.0, 200.0))
    first = await two.completed("snapshot/a", since=None)
    with pytest.raises(Conflict):
        await one.completed("snapshot/a", since=None)
    second = await two.completed("snapshot/a", since=first)
    with pytest.raises(Conflict):
        await one.completed("snapshot/a", since=first)
    assert await one.last("snapshot/a") == second


@pytest_twisted.ensureDeferred
async def test_gives_up_when_others_never_rest() -> None:
    """A record that is different at every try is not tried for ever."""

    class Restless(MemoryRecords):
        async def get(self, name: str) -> Versioned | None:
            found = await super().get(name)
            await super().put(name, {"count": 0}, version=None if found is None else found.version)
            return found

    restless: Records = Restless()
    with pytest.raises(Conflict):
        await TaskCompletions(records=restless, clock=FakeClock(now=1_700_000_000.0)).count("n")
