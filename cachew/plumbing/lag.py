"""How late the reactor comes to what is due, and whether that is its own fault or that of a busy machine."""

import os
from collections.abc import Callable
from contextlib import suppress

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

_PAUSE = 0.02
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

    def close(self) -> None:
        """Let go of the descriptor."""
        if self._descriptor != -1:
            os.close(self._descriptor)


class LagWatch(Service):
    """Asks to be called fifty times a second and tells how late that was.

    :param reactor: the reactor, whose lag it is.
    :param observe: told of each lag the seconds that its thread waited for a processor, and the other seconds.
    """

    def __init__(self, *, reactor: IReactorTime, observe: Callable[[float, float], object]) -> None:
        self._reactor, self._observe = reactor, observe
        self._due = self._waited = 0.0
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
        self._due = self._reactor.seconds() + _PAUSE
        self._waited = self._processor.seconds()
        self._call = self._reactor.callLater(_PAUSE, self._turn)

    def _turn(self) -> None:
        lag = self._reactor.seconds() - self._due
        waited = min(self._processor.seconds() - self._waited, lag)
        self._observe(waited, lag - waited)
        self._wait()
