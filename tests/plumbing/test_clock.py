"""The one clock."""

from cachew.plumbing.clock import Clock, machine_clock
from tests.fakes.clock import FakeClock


def test_both_times_come_from_where_they_are_told() -> None:
    """Seconds are those that pass, now is the time of day."""
    clock = Clock(seconds=lambda: 5.0, now=lambda: 1_700_000_000.0)
    assert (clock.seconds(), clock.now()) == (5.0, 1_700_000_000.0)


def test_the_time_of_day_can_be_set_without_any_time_passing() -> None:
    """The test double keeps the two apart as a machine does."""
    clock = FakeClock(now=1000.0)
    clock.advance(5)
    clock.put_forward(-100)
    assert (clock.seconds(), clock.now()) == (5.0, 905.0)


def test_the_machines_seconds_never_go_back() -> None:
    """Its seconds are monotonic and its time of day is one of this century."""
    clock = machine_clock()
    assert clock.seconds() <= clock.seconds()
    assert clock.now() > 1_700_000_000
