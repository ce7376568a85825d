"""The time of day as a clock that can also wake somebody up."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
class WallClock:
    """Tells epoch seconds, which mean the same after a restart, and waits by a monotonic clock.

    :param clock: the monotonic clock that waits.
    :param now: the time of day in epoch seconds.
    """

    def __init__(self, *, clock: IReactorTime, now: Callable[[], float]) -> None:
        self._clock, self._now = clock, now

    def seconds(self) -> float:
        """Return the epoch seconds."""
        return self._now()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> IDelayedCall:
        """Call something after ``delay`` seconds, see :class:`IReactorTime`."""
        return self._clock.callLater(delay, callable, *args, **kw)

    def getDelayedCalls(self) -> Any:
        """Return the calls that are pending."""
        return self._clock.getDelayedCalls()
