"""The one clock: what time it is, and how much of it has passed.

Whoever reads the time is given a :class:`Clock`, called ``clock``; whoever has something done later is given the
reactor, called ``reactor`` (:class:`~twisted.internet.interfaces.IReactorTime`), and reads its monotonic seconds where
he needs no time of day. Only the outermost layer knows the machine's own clocks.
"""

from collections.abc import Callable


class Clock:
    """Tells the time in both ways.

    :param seconds: gives monotonic seconds, which nobody puts forward or back; the reactor's where there is one.
    :param now: gives the time of day in seconds since the epoch.
    """

    def __init__(self, *, seconds: Callable[[], float], now: Callable[[], float]) -> None:
        self.seconds = seconds
        """Returns monotonic seconds: for ages, pauses and limits within one run of the server."""
        self.now = now
        """Returns the seconds since the epoch: for what is shown, or outlives a restart."""
