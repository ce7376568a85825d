"""What bounds a connection: the count of connections, and the timers of each."""

from cachew.http.limits import Limits
from cachew.http.outgoing import Alarm, OutputWatch
from cachew.http.site import Census
from tests.fakes.clock import FakeClock


def test_census() -> None:
    """One address can't take all places, and a place that is left can be taken again."""
    census = Census(Limits(connections=3, connections_per_address=2))
    assert [census.admit("a"), census.admit("a"), census.admit("a")] == [True, True, False]
    assert [census.admit("b"), census.admit("c")] == [True, False]
    census.leave("a")
    assert census.admit("c")
    assert census.total == 3


def test_alarm_is_moved() -> None:
    """Setting an alarm anew forgets the old call, and clearing forgets any."""
    clock, rung = FakeClock(), list[str]()
    alarm = Alarm(clock)
    alarm.set(1, lambda: rung.append("first"))
    alarm.set(2, lambda: rung.append("second"))
    clock.advance(3)
    alarm.set(1, lambda: rung.append("third"))
    alarm.clear()
    clock.advance(3)
    assert rung == ["second"]
    assert not clock.getDelayedCalls()


def test_stall() -> None:
    """Output that moves ever so little is slow; output that doesn't move for the whole time is stalled, once."""
    clock, stalled, position = FakeClock(), list[float](), [0]
    watch = OutputWatch(
        reactor=clock, timeout=40, position=lambda: position[0], stalled=lambda: stalled.append(clock.seconds())
    )
    watch.start()
    for _ in range(10):
        clock.pump([10, 10, 10])
        position[0] += 1
    watch.start()
    assert stalled == []
    clock.pump([10] * 8)
    assert stalled == [350.0]
    assert not clock.getDelayedCalls()


def test_stopped_watch() -> None:
    """A watch that was stopped tells nothing."""
    clock, stalled = FakeClock(), list[bool]()
    watch = OutputWatch(reactor=clock, timeout=4, position=lambda: 0, stalled=lambda: stalled.append(True))
    watch.start()
    clock.pump([1, 1])
    watch.stop()
    clock.pump([1] * 9)
    assert stalled == []
