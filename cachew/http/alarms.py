"""Timers of one connection: a deadline that is moved about, and a watch for output that no longer moves."""

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Alarm:
    """At most one pending call; setting it anew forgets the old one.

    :param clock: where time comes from.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    @property
    def active(self) -> bool:
        """Whether a call is pending."""
        return self._call is not None

    def set(self, seconds: float, function: Callable[[], object]) -> None:
        """Call ``function`` in so many seconds instead of whatever was pending."""
        self.clear()
        self._call = self._clock.callLater(seconds, self._ring, function)

    def clear(self) -> None:
        """Forget the pending call, if any."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _ring(self, function: Callable[[], object]) -> None:
        self._call = None
        function()


class StallWatch:
    """Tells when output that is under way has not moved at all for some time.

    Slow is no reason: a client on a thin line may take hours. Only one that takes nothing is stalled.

    :param clock: where time comes from.
    :param timeout: seconds without movement.
    :param position: anything that compares unequal once output has moved.
    :param stalled: called once, then the watch is off.
    """

    _SAMPLES = 4

    def __init__(
        self,
        *,
        clock: IReactorTime,
        timeout: float,
        position: Callable[[], object],
        stalled: Callable[[], object],
    ) -> None:
        self._alarm = Alarm(clock)
        self._timeout = timeout
        self._position = position
        self._stalled = stalled
        self._last: object = None
        self._still = 0

    def start(self) -> None:
        """Begin to watch, unless it does already."""
        if not self._alarm.active:
            self._last, self._still = self._position(), 0
            self._again()

    def stop(self) -> None:
        """Watch no longer."""
        self._alarm.clear()

    def _again(self) -> None:
        self._alarm.set(self._timeout / self._SAMPLES, self._look)

    def _look(self) -> None:
        now = self._position()
        self._still = self._still + 1 if now == self._last else 0
        self._last = now
        if self._still >= self._SAMPLES:
            self._stalled()
        else:
            self._again()
