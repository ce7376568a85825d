"""The one clock: what time it is, and how much of it has passed.

Whoever reads the time is given a :class:`Clock`, called ``clock``; whoever has something done later is given the
reactor, called ``reactor`` (:class:`~twisted.internet.interfaces.IReactorTime`), and reads its monotonic seconds where
he needs no time of day. Only the outermost layer knows the machine's own clocks.
"""

import time
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


def machine_clock() -> Clock:
    """Return the machine's own clock; only the outermost layer, which the user calls, asks for it."""
    return Clock(seconds=time.monotonic, now=time.time)  # noqa: TID251
