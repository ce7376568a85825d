"""How late the reactor comes to what is due, and whether that is its own fault or that of a busy machine."""

import os
import time
from collections.abc import Callable
from contextlib import suppress

from twisted.application.service import Service
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

    def seconds(self) -> float:
        """Return the seconds up to now, 0 where that is not known."""
        if self._descriptor == -1:
            return 0.0
        return int(os.pread(self._descriptor, 100, 0).split()[1]) * _NANOSECOND

    def worked(self) -> float:
        """Return the seconds that the thread has had one; all of them where that is not known."""
        if self._descriptor == -1:
            return time.monotonic()
        return int(os.pread(self._descriptor, 100, 0).split()[0]) * _NANOSECOND

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._descriptor != -1:
            os.close(self._descriptor)


class LagWatch(Service):
    """Asks to be called fifty times a second and tells how late that was; three times a second while nothing goes on.

    :param reactor: the reactor, whose lag it is.
    :param observe: told of each lag the seconds that its thread waited for a processor, and the other seconds.
    """

    def __init__(self, *, reactor: IReactorTime, observe: Callable[[float, float], object]) -> None:
        self._reactor, self._observe = reactor, observe
        self._due = self._waited = self._worked = 0.0
        self._pause = _PAUSE
        self._processor: ProcessorWait
        self._call: IDelayedCall

    def startService(self) -> None:
        """Begin; to be called in the reactor's thread."""
        super().startService()
        self._processor = ProcessorWait()
        self._wait()

    def stopService(self) -> None:
        """End."""
        super().stopService()
        self._call.cancel()
        self._processor.close()

    def _wait(self) -> None:
        # A LoopingCall would not tell when it was due.
        worked = self._processor.worked()
        idle, self._worked = worked - self._worked < _WORK, worked
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if idle else _PAUSE
        self._due = self._reactor.seconds() + self._pause
        self._waited = self._processor.seconds()
        self._call = self._reactor.callLater(self._pause, self._turn)

    def _turn(self) -> None:
        lag = self._reactor.seconds() - self._due
        waited = min(self._processor.seconds() - self._waited, lag)
        self._observe(waited, lag - waited)
        self._wait()
