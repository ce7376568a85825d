"""What a test may not leave behind, and how it is found out.

pytest-twisted keeps one reactor for all tests, so whatever a test forgets (a timer, a socket, a child process, a
failure that nobody looked at) would show up in some later test. :class:`Watch` looks before and after each test, names
what is left over and takes it away, so that the guilty test fails and only that one.
"""

import contextlib
import gc
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from select import select
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, LogPublisher, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from cachew.plumbing.diskspace import content_of

GRACE = (0.0,) * 10 + (0.01,) * 30 + (0.1,) * 25
"""Pauses, in seconds, in which sockets may close and children be reaped before they count as left over."""

FlushLoggedErrors = Callable[..., list[Failure]]
"""The type of the fixture ``flush_logged_errors``."""


@implementer(ILogObserver)
class FailureLog:
    """Observes the log and keeps every event that carries a failure."""

    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        """Take an event from the publisher."""
        if event.get("log_failure") is not None or event.get("isError"):
            self.events.append(event)

    def flush(self, *types: type[BaseException]) -> list[Failure]:
        """Forget and return the failures logged so far.

        :param types: the exceptions to take; none means all.
        :return: the failures, oldest first.
        """
        gc.collect()  # a Deferred in a cycle reports its unhandled error only when it is collected
        taken: list[LogEvent] = []
        left: list[LogEvent] = []
        for event in self.events:
            failure = event.get("log_failure")
            wanted = not types or (failure is not None and failure.check(*types))
            (taken if wanted else left).append(event)
        self.events[:] = left
        return [event["log_failure"] for event in taken if event.get("log_failure") is not None]


class Watch:
    """Compares the process before and after one test.

    :param reactor: the reactor that the tests share.
    :param publisher: the log to observe.
    """

    def __init__(self, *, reactor: Any, publisher: LogPublisher) -> None:
        self.failures = FailureLog()
        self._reactor = reactor
        self._publisher = publisher
        self._timers: set[int] = set()
        self._selectables: set[int] = set()
        self._children: set[int] = set()

    def begin(self) -> None:
        """Note what is there already: servers of wider fixtures, the reactor's own waker."""
        self._timers = {id(call) for call in self._reactor.getDelayedCalls()}
        self._selectables = {id(one) for one in self._all_selectables()}
        self._children = set(child_processes())
        self._publisher.addObserver(self.failures)
        gc.collect()  # what the test before was given is free only now
        gc.freeze()  # what is left lives on: the next collection need not look at it

    def settle(self, wait: Callable[[Deferred[None]], object], grace: Sequence[float]) -> None:
        """Let the reactor turn until nothing is left over or the grace is used up.

        :param wait: runs the reactor until a Deferred has fired.
        :param grace: pauses, in seconds.
        """
        for pause in grace:
            if self._clean():
                return
            wait(deferLater(self._reactor, pause, lambda: None))

    def end(self) -> list[str]:
        """Stop observing and take away what is left over.

        :return: a line for each thing that the test left behind.
        """
        gc.collect()
        self._publisher.removeObserver(self.failures)
        left = [f"logged failure: {describe(event)}" for event in self.failures.events]
        left += [f"delayed call: {call}" for call in self._new_timers()]
        left += [f"open socket or pipe: {one}" for one in self._new_selectables()]
        left += [f"running child process: {name_of(pid)}" for pid in self._new_children()]
        self._sweep()
        return left

    def _clean(self) -> bool:
        return not (self._new_timers() or self._new_selectables() or self._new_children())

    def _all_selectables(self) -> list[Any]:
        return list({id(one): one for one in [*self._reactor.getReaders(), *self._reactor.getWriters()]}.values())

    def _new_timers(self) -> list[Any]:
        return [call for call in self._reactor.getDelayedCalls() if id(call) not in self._timers]

    def _new_selectables(self) -> list[Any]:
        internal = {id(one) for one in self._reactor._internalReaders}
        return [one for one in self._all_selectables() if id(one) not in self._selectables | internal]

    def _new_children(self) -> list[int]:
        return [pid for pid in child_processes() if pid not in self._children]

    def _sweep(self) -> None:
        for call in self._new_timers():
            call.cancel()
        for one in self._new_selectables():
            self._reactor.removeReader(one)
            self._reactor.removeWriter(one)
            with contextlib.suppress(Exception):
                one.connectionLost(Failure(ConnectionAborted()))
        for pid in self._new_children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def describe(event: LogEvent) -> str:
    """Return an event's text and, when it has one, its failure's traceback."""
    failure = event.get("log_failure")
    return formatEvent(event) + ("\n" + failure.getTraceback() if failure is not None else "")


def child_processes() -> Iterator[int]:
    """Yield the ids of this process's living children; one that has exited and waits to be reaped is not living."""
    for pid in children_of("self"):
        if state_of(pid) not in ("Z", "X"):
            yield pid


def children_of(process: int | str) -> Iterator[int]:
    """Yield the ids of a process's children, dead ones too; none when it is gone.

    Every test asks, and some twenty times a second: hence no paths and files of Python's.

    Source: proc(5), ``/proc/pid/task/tid/children``.
    """
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f"/proc/{process}/task"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield from map(int, content_of(f"/proc/{process}/task/{task}/children").split())


def state_of(pid: int) -> str:
    """Return a process's state letter, ``X`` (dead) when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


def has_ended(pid: int, seconds: float = 10) -> bool:
    """Wait until a process has ended, whoever its parent is; say whether it has. One that is killed takes a moment."""
    with contextlib.suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            return bool(select([descriptor], [], [], seconds)[0])
        finally:
            os.close(descriptor)
    return True


def name_of(pid: int) -> str:
    """Return a process's command line for a message."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        words = []
    return f"{pid} {b' '.join(words).decode(errors='replace')}".strip()
