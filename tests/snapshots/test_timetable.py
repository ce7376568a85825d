"""When tasks are due on this replica."""

from cachew.snapshots.schedule import Run, Task
from cachew.snapshots.timetable import Timetable
from tests.fakes.clock import FakeClock

ONE, TWO = Task("git.example/one", "snapshot"), Task("git.example/two", "snapshot")
HOUR = 3600.0


def test_what_was_never_done_is_due() -> None:
    """So is what was done long ago; the longest overdue comes first."""
    timetable = Timetable(clock=FakeClock(100 * HOUR), seed="replica")
    runs = {ONE: Run(at=50 * HOUR, succeeded=True)}
    assert timetable.due({ONE: HOUR, TWO: HOUR}, runs, 100 * HOUR) == [TWO, ONE]
    assert timetable.due({ONE: HOUR, TWO: 0}, {ONE: Run(at=99.9 * HOUR, succeeded=True)}, 100 * HOUR) == []


def test_tells_later_too() -> None:
    """Whoever gets leave to do a task asks whether it is due still, by the clock and by what he has read since."""
    clock = FakeClock(100 * HOUR)
    is_due = Timetable(clock=clock, seed="replica").is_due(ONE, HOUR)
    assert is_due(None) and not is_due(Run(at=100 * HOUR, succeeded=True))
    clock.advance(2 * HOUR)
    assert is_due(Run(at=100 * HOUR, succeeded=True))


def test_plans_when_to_look_again() -> None:
    """A repository is looked at when its first task can be due, one without tasks not at all."""
    timetable = Timetable(clock=FakeClock(0.0), seed="replica")
    timetable.plan([ONE.repository, TWO.repository], {ONE: HOUR}, {ONE: Run(at=HOUR, succeeded=True)})
    assert 1.8 * HOUR <= timetable.earliest[ONE.repository] <= 2.2 * HOUR
    assert timetable.earliest[TWO.repository] == float("inf")
    timetable.keep([TWO.repository])
    assert list(timetable.earliest) == [TWO.repository]
