"""Changing a record, whatever others do to it meanwhile."""

from collections.abc import Mapping
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent

from cachew.plumbing.errors import Conflict, StorageUnavailable
from cachew.replicas.change import change, count_of, moment_of
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import Records
from tests.fakes.records import UnreliableRecords
from tests.fakes.settled import failure_of, value_of

NAME = "counters/one"


def count(fields: Mapping[str, Any]) -> int | None:
    return count_of(fields.get("count"))


def one_more(present: int | None, damaged: bool) -> Mapping[str, Any]:
    return {"count": (present or 0) + 1, "was_damaged": damaged}


def counting(records: Records, tries: int = 3) -> Deferred[Mapping[str, Any]]:
    return Deferred.fromCoroutine(change(records, NAME, read=count, to=one_more, tries=tries))


def put(records: Records, fields: Mapping[str, Any], version: str | None = None) -> None:
    value_of(Deferred.fromCoroutine(records.put(NAME, fields, version=version)))


class Raced(MemoryRecords):
    """Records that others change as often just before this one's put."""

    def __init__(self, races: int) -> None:
        super().__init__()
        self._races = races

    async def put(self, name: str, value: Mapping[str, Any], *, version: str | None) -> Any:
        """Put, when nobody was quicker."""
        if self._races:
            self._races -= 1
            found = await self.get(name)
            await super().put(name, {"count": 100}, version=None if found is None else found.version)
        return await super().put(name, value, version=version)


def test_a_record_is_begun_and_changed() -> None:
    """Each time from what it says."""
    records = MemoryRecords()
    assert [value_of(counting(records))["count"] for _ in range(3)] == [1, 2, 3]


def test_a_change_that_lost_a_race_is_made_again_on_what_won_it() -> None:
    """So that neither is lost."""
    assert value_of(counting(Raced(2)))["count"] == 101


def test_who_loses_all_the_time_gives_up() -> None:
    """After so many tries, with the record's name."""
    failure = failure_of(counting(Raced(3)))
    assert isinstance(failure, Conflict) and NAME in str(failure)


def test_nothing_is_written_where_nothing_is_to_change() -> None:
    """What is there is told, and nothing when nothing is."""
    records = UnreliableRecords(MemoryRecords())
    for fields in ({}, {"count": 7}):
        if fields:
            put(records, fields)
        records.hanging = True
        work = change(records, NAME, read=count, to=lambda present, damaged: None, tries=1)
        assert value_of(Deferred.fromCoroutine(work)) == fields
        records.hanging = False


def test_a_damaged_record_is_replaced_once_and_told() -> None:
    """The change knows of it; what is sound is never told to be damaged."""
    records = MemoryRecords()
    put(records, {"count": "many"})
    with capturedLogs() as events:
        first, second = (value_of(counting(records)) for _ in range(2))
    assert (first, second) == ({"count": 1, "was_damaged": True}, {"count": 2, "was_damaged": False})
    assert [formatEvent(event) for event in events] == [f"the shared record {NAME} was damaged and has been replaced"]


def test_a_storage_that_fails_is_told() -> None:
    """It isn't tried again here."""
    records = UnreliableRecords(MemoryRecords())
    records.down = True
    assert isinstance(failure_of(counting(records)), StorageUnavailable)


@pytest.mark.parametrize(("field", "number"), [(0, 0), (5, 5), (-1, None), (True, None), (1.0, None), ("1", None)])
def test_what_counts_is_a_whole_number(field: object, number: int | None) -> None:
    """And nothing that only looks like one."""
    assert count_of(field) == number


@pytest.mark.parametrize(
    ("field", "moment"),
    [(0, 0.0), (1.5, 1.5), (-1, None), (True, None), (10**400, None), (float("nan"), None), (float("inf"), None)],
)
def test_a_moment_is_one_that_a_clock_may_show(field: object, moment: float | None) -> None:
    """Neither before the epoch nor beyond all years."""
    assert moment_of(field) == moment
