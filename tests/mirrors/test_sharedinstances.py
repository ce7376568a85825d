"""What replicas know together of the present instances, with a store that fails when the test says so."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.instance import InstanceState, Voice
from cachew.mirrors.sharedinstances import SharedInstances
from cachew.plumbing.errors import Conflict, StorageUnavailable
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import escaped
from tests.fakes.clock import FakeClock
from tests.fakes.records import UnreliableRecords
from tests.fakes.settled import failure_of, value_of

NAME = "git.example/org/repo"
ONE, TWO = InstanceState("1", frozenset({Voice.OWN})), InstanceState("2")


class Replica:
    """One replica's view of the store."""

    def __init__(self, records: UnreliableRecords) -> None:
        self.clock = FakeClock()
        self.clock.advance(100)
        self.shared = SharedInstances(records=records, reactor=self.clock)

    def read(self) -> Deferred[InstanceState | None]:
        return Deferred.fromCoroutine(self.shared.read(NAME))

    def write(self, state: InstanceState) -> Deferred[None]:
        return Deferred.fromCoroutine(self.shared.write(NAME, state))


@pytest.fixture
def records() -> UnreliableRecords:
    """The store."""
    return UnreliableRecords(MemoryRecords())


def test_what_one_writes_another_reads(records: UnreliableRecords) -> None:
    """Nothing is known of what nobody has written."""
    one, two = Replica(records), Replica(records)
    assert value_of(one.read()) is None
    value_of(one.write(ONE))
    assert value_of(two.read()) == ONE and value_of(one.read()) == ONE


def test_only_what_was_read_is_replaced(records: UnreliableRecords) -> None:
    """Who knows something older is told so, and nothing is changed; once he has read it he may."""
    one, two = Replica(records), Replica(records)
    value_of(one.write(ONE))
    assert isinstance(failure_of(two.write(TWO)), Conflict) and value_of(one.read()) == ONE
    value_of(two.read())
    value_of(two.write(TWO))
    assert isinstance(failure_of(one.write(ONE)), Conflict) and value_of(one.read()) == TWO


def test_a_damaged_record_says_that_the_instance_has_ended(records: UnreliableRecords) -> None:
    """Nothing that was made of it is served then; it can be replaced."""
    value_of(Deferred.fromCoroutine(records.put(f"instances/{escaped(NAME)}", {"id": "1"}, version=None)))
    replica = Replica(records)
    assert value_of(replica.read()) == InstanceState()
    value_of(replica.write(TWO))
    assert value_of(replica.read()) == TWO


def test_how_old_what_is_known_is(records: UnreliableRecords) -> None:
    """Counted from when it was asked for, read or written; what failed makes nothing younger."""
    replica = Replica(records)
    assert replica.shared.age(NAME) == float("inf")
    value_of(replica.read())
    replica.clock.advance(4)
    assert replica.shared.age(NAME) == 4
    records.down = True
    assert isinstance(failure_of(replica.read()), StorageUnavailable) and replica.shared.age(NAME) == 4
    records.down = False
    value_of(replica.write(ONE))
    assert replica.shared.age(NAME) == 0


def test_a_store_that_does_not_answer_is_not_waited_for(records: UnreliableRecords) -> None:
    """After some seconds it counts as one that failed."""
    records.silent = records.hanging = True
    asks: list[Callable[[Replica], Deferred[Any]]] = [Replica.read, lambda replica: replica.write(ONE)]
    for ask in asks:
        replica = Replica(records)
        work = ask(replica)
        replica.clock.advance(4.9)
        assert not work.called
        replica.clock.advance(0.2)
        assert isinstance(failure_of(work), StorageUnavailable)
        assert replica.shared.age(NAME) == float("inf") and not replica.clock.getDelayedCalls()


def test_a_write_whose_answer_was_lost_may_have_been_made(records: UnreliableRecords) -> None:
    """Who tries again is told that something else is there, and reads what it is: his own."""
    replica = Replica(records)
    records.lost_answers = 1
    assert isinstance(failure_of(replica.write(ONE)), StorageUnavailable)
    assert isinstance(failure_of(replica.write(ONE)), Conflict)
    assert value_of(replica.read()) == ONE
    value_of(replica.write(TWO))


def test_a_store_that_does_not_answer_is_left_alone_for_a_moment(records: UnreliableRecords) -> None:
    """Of all that one request asks the first question waits; five seconds later the store is asked again."""
    replica = Replica(records)
    records.silent = True
    waiting = replica.read()
    replica.clock.advance(5)
    assert isinstance(failure_of(waiting), StorageUnavailable)
    records.silent = False
    assert "lately" in str(failure_of(replica.read())) and "lately" in str(failure_of(replica.write(ONE)))
    replica.clock.advance(5)
    assert value_of(replica.read()) is None
    records.down = True
    assert isinstance(failure_of(replica.read()), StorageUnavailable)
    records.down = False
    assert value_of(replica.read()) is None
