"""The secret that all replicas have."""

from typing import Any

import pytest
import pytest_twisted
from twisted.logger import capturedLogs

from cachew.plumbing.background import Background
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.secret import SharedSecret
from tests.contracts.records import replaced
from tests.fakes.clock import FakeClock
from tests.fakes.records import UnreliableRecords

FIRST, SECOND = b"1" * 32, b"2" * 32


def replica(records: UnreliableRecords, own: bytes, clock: FakeClock) -> SharedSecret:
    """Return a replica's view of it."""
    return SharedSecret(records=records, name="secret", own=own, clock=clock, background=Background())


def test_the_first_replica_gives_it() -> None:
    """Whoever comes later, or at the same time, takes the one that is there."""
    records, clock = UnreliableRecords(MemoryRecords()), FakeClock()
    one, two = replica(records, FIRST, clock), replica(records, SECOND, clock)
    assert (one(), two(), one(), replica(records, SECOND, clock)()) == (FIRST, FIRST, FIRST, FIRST)


def test_nobody_waits_for_the_records() -> None:
    """While they can't be had a replica has its own, and looks again after a while."""
    records, clock = UnreliableRecords(MemoryRecords()), FakeClock()
    assert replica(records, FIRST, clock)() == FIRST
    records.down = True
    two = replica(records, SECOND, clock)
    assert two() == SECOND
    records.down = False
    assert two() == SECOND
    clock.advance(60)
    assert two() == FIRST


NO_SECRETS: list[Any] = [{}, {"secret": "short"}, {"secret": 5}, {"secret": "x" * 64}, {"secret": ["00"] * 32}]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fields", NO_SECRETS)
async def test_a_damaged_record_is_replaced(fields: Any) -> None:
    """A record that holds no secret is given one, once."""
    records, clock = UnreliableRecords(MemoryRecords()), FakeClock()
    await records.put("secret", fields, version=None)
    with capturedLogs() as events:
        assert (replica(records, FIRST, clock)(), replica(records, SECOND, clock)()) == (FIRST, FIRST)
    assert replaced(events, "secret") == 1


@pytest_twisted.ensureDeferred
async def test_a_secret_that_is_known_outlives_its_record() -> None:
    """Whoever knows it puts it back, so that what was signed stays good; a new replica takes it."""
    records, clock = UnreliableRecords(MemoryRecords()), FakeClock()
    one = replica(records, FIRST, clock)
    assert one() == FIRST
    await damage(records)
    clock.advance(60)
    assert one() == FIRST
    assert replica(records, SECOND, clock)() == FIRST


@pytest_twisted.ensureDeferred
async def test_all_agree_again_after_a_new_replica_came_first() -> None:
    """A new one that meets the damage gives its own, and the others take that."""
    records, clock = UnreliableRecords(MemoryRecords()), FakeClock()
    one = replica(records, FIRST, clock)
    assert one() == FIRST
    await damage(records)
    assert replica(records, SECOND, clock)() == SECOND
    clock.advance(60)
    assert one() == SECOND
    records.down = True
    clock.advance(60)
    assert one() == SECOND


async def damage(records: UnreliableRecords) -> None:
    """Have the secret's record hold nothing."""
    found = await records.get("secret")
    assert found is not None
    await records.put("secret", {}, version=found.version)
