"""Replicas that tell each other how they are."""

from typing import Any

from twisted.internet.defer import Deferred

from cachew.replicas.fleet import BEAT, Fleet
from cachew.replicas.memoryrecords import MemoryRecords
from tests.fakes.clock import FakeClock
from tests.fakes.records import UnreliableRecords
from tests.fakes.settled import failure_of, value_of

DAY = 86_400


class Group:
    """Replicas by their names."""

    def __init__(self, *names: str) -> None:
        self.clock, self.records = FakeClock(1000 * DAY), UnreliableRecords(MemoryRecords())
        self.reports: dict[str, dict[str, Any]] = {name: {"version": "1"} for name in names}
        self.fleets = {name: self.fleet(name) for name in names}

    def fleet(self, name: str) -> Fleet:
        async def report() -> dict[str, Any]:
            return self.reports[name]

        return Fleet(records=self.records, name=name, report=report, clock=self.clock, reactor=self.clock)

    def beat(self, *names: str) -> None:
        for name in names:
            value_of(Deferred.fromCoroutine(self.fleets[name].beat()))

    def seen_by(self, name: str) -> list[str]:
        return [replica.name for replica in value_of(Deferred.fromCoroutine(self.fleets[name].others()))]


def test_each_sees_what_the_others_said_last() -> None:
    """Reports are seen with their time, in the order of the names; one's own comes from itself."""
    group = Group("a:/s", "b:/s", "c:/s")
    group.beat("c:/s", "a:/s", "b:/s")
    group.clock.advance(BEAT)
    group.reports["c:/s"] = {"version": "2"}
    group.beat("c:/s")
    assert group.seen_by("a:/s") == ["b:/s", "c:/s"]
    last = value_of(Deferred.fromCoroutine(group.fleets["a:/s"].others()))[1]
    assert (last.report, last.at) == ({"version": "2"}, 1000 * DAY + BEAT)
    present = value_of(Deferred.fromCoroutine(group.fleets["a:/s"].present()))
    assert (present.name, present.at) == ("a:/s", 1000 * DAY + BEAT)


def test_one_that_is_silent_for_a_day_is_left_out() -> None:
    """A replica that is gone is shown for a day; who stays signs himself in again now and then."""
    group = Group("a", "b")
    group.beat("a", "b")
    group.clock.advance(DAY - 60)
    group.beat("a")
    assert group.seen_by("a") == ["b"]
    group.clock.advance(120)
    group.beat("a")
    assert group.seen_by("a") == []
    group.beat("b")
    assert group.seen_by("a") == ["b"] and group.seen_by("b") == ["a"]


def test_what_is_damaged_is_left_out_and_mended() -> None:
    """Records that somebody has written over hide a replica until its next report, and nothing else."""
    group = Group("a", "b", "c")
    group.beat("a", "b", "c")
    for name in ("fleet/replica/b", "fleet/members"):
        found = value_of(Deferred.fromCoroutine(group.records.get(name)))
        assert found is not None
        value_of(Deferred.fromCoroutine(group.records.put(name, {"x": 1}, version=found.version)))
    assert group.seen_by("a") == []
    group.beat("b", "c")
    assert group.seen_by("a") == ["b", "c"]


def test_a_store_that_fails_is_told_and_waited_for_shortly() -> None:
    """While the store is down a report is lost and nothing else; who asks for the others is told why, and soon."""
    group = Group("a", "b")
    group.beat("a", "b")
    group.records.down = True
    group.beat("a")
    assert "down" in str(failure_of(Deferred.fromCoroutine(group.fleets["a"].others())))
    group.records.down, group.records.silent = False, True
    asked = Deferred.fromCoroutine(group.fleets["a"].others())
    group.clock.advance(3)
    assert "does not answer" in str(failure_of(asked))
