"""The secret that all replicas have."""

import pytest_twisted
from twisted.internet.task import Clock

from cachew.plumbing.background import Background
from cachew.replicas.memory import MemoryRecords
from cachew.replicas.secret import SharedSecret
from tests.fakes.records import UnreliableRecords

FIRST, SECOND = b"1" * 32, b"2" * 32


def replica(records: UnreliableRecords, own: bytes, clock: Clock) -> SharedSecret:
    """Return a replica's view of it."""
    return SharedSecret(records=records, name="secret", own=own, seconds=clock.seconds, background=Background())


def test_the_first_replica_gives_it() -> None:
    """Whoever comes later, or at the same time, takes the one that is there."""
    records, clock = UnreliableRecords(MemoryRecords()), Clock()
    one, two = replica(records, FIRST, clock), replica(records, SECOND, clock)
    assert (one(), two(), one(), replica(records, SECOND, clock)()) == (FIRST, FIRST, FIRST, FIRST)


def test_nobody_waits_for_the_records() -> None:
    """While they can't be had a replica has its own, and looks again after a while."""
    records, clock = UnreliableRecords(MemoryRecords()), Clock()
    assert replica(records, FIRST, clock)() == FIRST
    records.down = True
    two = replica(records, SECOND, clock)
    assert two() == SECOND
    records.down = False
    assert two() == SECOND
    clock.advance(60)
    assert two() == FIRST


@pytest_twisted.ensureDeferred
async def test_a_broken_record_is_replaced() -> None:
    """A record that holds no secret is given one."""
    records, clock = UnreliableRecords(MemoryRecords()), Clock()
    await records.put("secret", {"secret": "short"}, version=None)
    assert (replica(records, FIRST, clock)(), replica(records, SECOND, clock)()) == (FIRST, FIRST)
