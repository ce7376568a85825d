"""Time at a test's command, and the machine's own where a test needs real processes."""

from twisted.internet.task import Clock as FakeReactorTime

from cachew.plumbing.clock import Clock


class FakeClock(FakeReactorTime, Clock):
    """Both times, and the timers of a reactor; they pass only when a test says so.

    :param now: the time of day at the beginning, in seconds since the epoch.
    """

    def __init__(self, now: float = 0.0) -> None:
        FakeReactorTime.__init__(self)
        self.ahead = now

    def now(self) -> float:
        """Return the time of day."""
        return self.ahead + self.rightNow

    def put_forward(self, seconds: float) -> None:
        """Set the time of day alone; back when negative."""
        self.ahead += seconds
