"""How late the reactor comes to what is due, and whether that is its own fault or that of a busy machine."""

import os
import time
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.interfaces import IDelayedCall, IReactorTime

_PAUSE = 0.02
_LONGEST_PAUSE = 0.32
_WORK = 0.002
"""Seconds of work of its own in a pause from which the reactor counts as busy."""
_NANOSECOND = 1e-9


class ProcessorWait:
    """How long the thread that makes this has waited for a processor; see "proc-schedstat" in Linux's documentation."""

    def __init__(self) -> None:
        self._descriptor = -1
        with suppress(OSError):  # not on this system: nothing is known then
            self._descriptor = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def times(self) -> tuple[float, float]:
        """Return the seconds up to now that the thread has had one, and has waited; all and none where not known."""
        if self._descriptor == -1:
            return time.monotonic(), 0.0
        worked, waited, _ = os.pread(self._descriptor, 100, 0).split()
        return int(worked) * _NANOSECOND, int(waited) * _NANOSECOND

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._descriptor != -1:
            os.close(self._descriptor)


class LagWatch:
    """Asks to be called fifty times a second and tells how late that was; ever more seldom while nothing goes on.

    :param reactor: the reactor, whose lag it is.
    :param observe: told of each lag the seconds that its thread waited for a processor, and the other seconds.
    :param longest_pause: the most seconds between two calls.
    """

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        observe: Callable[[float, float], object],
        longest_pause: float = _LONGEST_PAUSE,
    ) -> None:
        self._reactor, self._observe = reactor, observe
        self._longest_pause = min(longest_pause, _LONGEST_PAUSE)
        self._due = self._waited = self._worked = 0.0
        self._pause = _PAUSE
        self._processor: ProcessorWait
        self._call: IDelayedCall

    def start(self) -> None:
        """Begin; to be called in the reactor's thread."""
        self._processor = ProcessorWait()
        self._wait(*self._processor.times())

    def stop(self) -> None:
        """End."""
        self._call.cancel()
        self._processor.close()

    def _wait(self, worked: float, waited: float) -> None:
        # A LoopingCall would not tell when it was due.
        idle, self._worked, self._waited = worked - self._worked < _WORK, worked, waited
        self._pause = min(2 * self._pause if idle else _PAUSE, self._longest_pause)
        self._due = self._reactor.seconds() + self._pause
        self._call = self._reactor.callLater(self._pause, self._turn)

    def _turn(self) -> None:
        lag = self._reactor.seconds() - self._due
        worked, waited_in_all = self._processor.times()
        waited = min(waited_in_all - self._waited, lag)
        self._observe(waited, lag - waited)
        self._wait(worked, waited_in_all)
