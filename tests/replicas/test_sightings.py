"""When any replica last saw something."""

import pytest
import pytest_twisted

from cachew.plumbing.errors import Conflict
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import CLOCKS_APART, Versioned
from cachew.replicas.sightings import Sightings
from tests.fakes.clock import FakeClock

NOW = 1000.0


@pytest_twisted.ensureDeferred
async def test_the_latest_counts() -> None:
    """Every replica learns the latest moment, whoever tells it and in whatever order."""
    records = MemoryRecords()
    one, two = (Sightings(what="public", records=records, clock=FakeClock(now=NOW)) for _ in range(2))
    assert await two.last("git.example/org/repo") is None
    await one.seen("git.example/org/repo", 100.0)
    await two.seen("git.example/org/repo", 90.0)
    assert await two.last("git.example/org/repo") == 100.0
    await two.seen("git.example/org/repo", 110.0)
    assert await one.last("git.example/org/repo") == 110.0
    assert await one.last("git.example/org/other") is None


@pytest_twisted.ensureDeferred
async def test_void_until_seen_again() -> None:
    """What was voided is as if it had never been seen, and what was never seen needs no record to be void."""
    records = MemoryRecords()
    sightings = Sightings(what="public", records=records, clock=FakeClock(now=NOW))
    await sightings.void("a")
    assert await records.get("public/a") is None
    await sightings.seen("a", 100.0)
    await sightings.void("a")
    assert await sightings.last("a") is None
    await sightings.seen("a", 50.0)
    assert await sightings.last("a") == 50.0


@pytest_twisted.ensureDeferred
async def test_what_others_change_meanwhile() -> None:
    """A change that lost a race is made again on what won it, but not for ever."""

    class Restless(MemoryRecords):
        def __init__(self, changes: int) -> None:
            super().__init__()
            self.changes = changes

        async def get(self, name: str) -> Versioned | None:
            found = await super().get(name)
            if self.changes:
                self.changes -= 1
                version = None if found is None else found.version
                await super().put(name, {"at": float(self.changes)}, version=version)
            return found

    sightings = Sightings(what="public", records=Restless(3), clock=FakeClock(now=NOW))
    await sightings.seen("a", 100.0)
    assert await sightings.last("a") == 100.0
    with pytest.raises(Conflict):
        await Sightings(what="public", records=Restless(100), clock=FakeClock(now=NOW)).seen("a", 200.0)


@pytest_twisted.ensureDeferred
async def test_a_moment_that_lies_ahead_is_the_present() -> None:
    """What a replica whose clock is ahead has written counts as seen now, and is not moved back by the others."""
    records = MemoryRecords()
    ahead = NOW + CLOCKS_APART
    await Sightings(what="public", records=records, clock=FakeClock(now=ahead)).seen("a", ahead)
    sightings = Sightings(what="public", records=records, clock=FakeClock(now=NOW))
    await sightings.seen("a", NOW)
    assert await sightings.last("a") == NOW
    found = await records.get("public/a")
    assert found is not None and found.value == {"at": ahead}
