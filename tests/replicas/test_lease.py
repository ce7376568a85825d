"""One lease that is held: what its record says, how long it is sure, and its release."""

from typing import Any

import pytest

from cachew.plumbing.errors import Conflict, StorageUnavailable
from cachew.replicas.lease import Hold, Lease, LeaseLost, record_of
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.records import Versioned
from tests.fakes.clock import FakeClock
from tests.fakes.settled import result_of

NAME, SURE = "task", 40.0


class Records(MemoryRecords):
    """Records whose answers may be lost on their way, before or after they were changed."""

    def __init__(self) -> None:
        super().__init__()
        self.lost = ""
        self.slow: FakeClock | None = None

    async def put(self, name: str, value: Any, *, version: str | None) -> Versioned:
        if self.lost == "before":
            raise StorageUnavailable("the store fails")
        put = await super().put(name, value, version=version)
        if self.slow is not None:
            self.slow.advance(10)
        if self.lost == "after":
            raise StorageUnavailable("the answer was lost")
        return put


class World:
    """A lease that was just acquired."""

    def __init__(self) -> None:
        self.records, self.clock = Records(), FakeClock()
        hold = Hold("me", "term", 0)
        put = result_of(self.records.put(record_of(NAME), vars(hold), version=None))
        self.lease = Lease(
            records=self.records,
            name=NAME,
            hold=hold,
            version=put.version,
            clock=self.clock,
            since=0.0,
            lost_after=SURE,
        )

    @property
    def record(self) -> Versioned:
        found = result_of(self.records.get(record_of(NAME)))
        assert found is not None
        return found

    def replace(self, **fields: Any) -> None:
        """Have another replica write the record."""
        before = self.record
        result_of(self.records.put(record_of(NAME), {**before.value, **fields}, version=before.version))

    def renew(self) -> None:
        result_of(self.lease.renew())


@pytest.fixture
def world() -> World:
    return World()


def test_it_is_sure_for_a_while_since_the_last_sign_of_life(world: World) -> None:
    """Which shows in its record; time passes by the holder's own clock, however the day's is set."""
    world.clock.advance(30)
    world.clock.put_forward(-86400)
    assert world.lease.left == 10
    world.renew()
    assert world.lease.left == SURE
    assert world.record.value == {"holder": "me", "term": "term", "beat": 1}
    world.clock.advance(SURE + 5)
    assert world.lease.left == 0


def test_a_sign_of_life_is_as_old_as_its_beginning(world: World) -> None:
    """Others may have seen it as soon as that."""
    world.records.slow = world.clock
    world.renew()
    assert world.lease.left == SURE - 10


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_store_that_fails_loses_no_lease_that_is_sure_still(world: World, lost: str) -> None:
    """The next sign of life meets its own trace, if the last has left one."""
    world.records.lost = lost
    world.clock.advance(10)
    world.renew()
    assert world.lease.left == SURE - 10
    world.records.lost = ""
    world.renew()
    assert world.lease.left == SURE
    assert world.record.value["beat"] == (1 if lost == "before" else 2)


def test_a_store_that_fails_for_longer_does(world: World) -> None:
    """Somebody else may have it by then."""
    world.records.lost = "before"
    world.clock.advance(SURE)
    with pytest.raises(LeaseLost, match="could not be renewed"):
        world.renew()


@pytest.mark.parametrize("fields", [{"term": "other"}, {"term": None}, {"beat": "x"}, {"holder": 5}])
def test_who_meets_another_s_record_has_lost_it(world: World, fields: dict[str, Any]) -> None:
    """Or one that is damaged, which may be another's."""
    world.replace(**fields)
    before = world.record
    with pytest.raises(LeaseLost, match="went to another"):
        world.renew()
    assert world.record == before


def test_what_is_released_is_free_at_once(world: World) -> None:
    """Nobody holds it then."""
    result_of(world.lease.release())
    assert world.record.value == {"holder": None, "term": "term", "beat": 0}


@pytest.mark.parametrize("lost", ["", "before"])
def test_a_release_takes_nothing_from_another(world: World, lost: str) -> None:
    """When it can't be done the others have it after its time."""
    if not lost:
        world.replace(term="other", holder="other")
    world.records.lost = lost
    before = world.record
    result_of(world.lease.release())
    assert world.record == before


@pytest.mark.parametrize(
    ("fields", "sound"),
    [
        ({"holder": "me", "term": "t", "beat": 1}, True),
        ({"holder": None, "term": "t", "beat": 0}, True),
        ({"term": "t", "beat": 0}, False),
        ({"holder": "me", "term": 1, "beat": 0}, False),
        ({"holder": "me", "term": "t", "beat": None}, False),
        ({}, False),
    ],
)
def test_which_records_are_sound(fields: dict[str, Any], sound: bool) -> None:
    """That nobody holds it is written down."""
    assert (Hold.read(fields) is not None) is sound


def test_records_in_memory_are_changed_by_compare_and_swap() -> None:
    """And what was read is a copy."""
    records = MemoryRecords()
    first = result_of(records.put("a", {"x": [1]}, version=None))
    for version in (None, "other"):
        with pytest.raises(Conflict):
            result_of(records.put("a", {}, version=version))
    first.value["x"].append(2)
    found = result_of(records.get("a"))
    assert found is not None
    assert (found.value, found.version) == ({"x": [1]}, first.version)
    second = result_of(records.put("a", {"x": 3}, version=first.version))
    with pytest.raises(Conflict):
        result_of(records.put("a", {}, version=first.version))
    assert second.version != first.version
    assert result_of(records.get("b")) is None
    with pytest.raises(Conflict):
        result_of(records.put("b", {}, version="1"))
