"""One child process: what it reads, what it writes, and its end.

Output is read in large pieces from a large pipe, because the 8 KiB of Twisted's own reader double the CPU time of a
clone. A reader that lags behind stops the child through the pipe; a reader that leaves ends it. The end of the output
is told only once the exit is known, so what a failing child leaves unfinished never looks complete.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from cachew.plumbing.childinput import ChildInput
from cachew.plumbing.childoutput import ChildOutput
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.streams import Source

STDERR_TAIL = 64 * 1024
"""How much of the end of a child's standard error is kept, in bytes."""
_LOWEST = 19
"""The niceness of whoever stands back behind all others."""
_OPTIONS_WITH_VALUE = frozenset({"-C", "-c"})


@dataclass(frozen=True)
class Command:
    """What to run.

    :param argv: the program and its arguments; a bare name is looked up in the server's own ``PATH``.
    :param env: the child's whole environment.
    :param niceness: how much it stands back behind other processes, up to 19 (nice(1)).
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    niceness: int = 0

    @property
    def name(self) -> str:
        """The program and git's subcommand, for people and logs; never the other arguments."""
        program = PurePath(self.argv[0]).name
        words = iter(self.argv[1:] if program == "git" else ())
        for word in words:
            if word in _OPTIONS_WITH_VALUE:
                next(words, None)
            elif not word.startswith("-"):
                return f"{program} {word}"
        return program


@dataclass(frozen=True)
class Completed:
    """How a child ended.

    :param code: its exit code, None when a signal ended it.
    :param signal: that signal's number.
    :param stdout: what it wrote, when that was collected.
    :param stderr: the end of what it wrote to standard error.
    """

    code: int | None
    signal: int | None
    stdout: bytes
    stderr: bytes


class Child(ProcessProtocol):
    """A running process.

    :param reactor: times the grace between TERM and KILL.
    :param command: what runs.
    :param stdin: what it reads; the child closes it.
    :param grace: seconds between TERM and KILL, which all of its session gets.
    :param silence: seconds after which it is given up when nothing comes that is waited for; None for no bound.
    :param ended: called first of all when it has ended.
    """

    transport: Any

    def __init__(
        self,
        *,
        reactor: Any,
        command: Command,
        stdin: Source | None,
        grace: float,
        silence: float | None = None,
        ended: Callable[["Child"], object],
    ) -> None:
        self.command = command
        self.stderr_tail = b""
        self.on_stderr: Callable[[bytes], object] | None = None
        self.completed: Completed | None = None
        self._reactor = reactor
        self._stdin = stdin
        self._grace = grace
        self._ended = ended
        self.output = ChildOutput(
            reactor=reactor, name=command.name, silence=silence, break_off=self._break_off, stop=self.terminate
        )
        self._feeding: Deferred[None] | None = None
        self._reason: Exception | None = None
        self._terminated = self._exited = False
        self._leader: int | None = None
        self._killing: Any = None
        self._waiters: list[Deferred[Completed]] = []

    @property
    def stdout(self) -> Source:
        """What the child writes; closing it before the end terminates the child.

        Its reader gets :class:`ProcessFailed` instead of the end when the child fails.
        """
        return self.output.source

    @property
    def pid(self) -> int | None:
        """The process id, None once the process has been reaped."""
        pid: int | None = self.transport.pid
        return pid

    def stand_back(self, niceness: int) -> None:
        """Have it, and what it will start, get less of the processors than this process (setpriority(2)).

        Where the kernel groups processes by their sessions, niceness counts within a group alone, and a child has a
        session of its own: then it is the group that stands back (sched(7), "The autogroup feature").
        """
        if (pid := self.pid) is not None:
            with contextlib.suppress(OSError):
                own = os.getpriority(os.PRIO_PROCESS, 0)
                niceness = min(own + niceness, _LOWEST)
                os.setpriority(os.PRIO_PROCESS, pid, niceness)
                Path(f"/proc/{pid}/autogroup").write_text(str(niceness))

    @property
    def failed(self) -> bool:
        """Whether it has ended with an exit status that says so, and nobody had ended it."""
        return self.completed is not None and not self._terminated and self.completed.code not in (0, None)

    def connectionMade(self) -> None:
        self._leader = self.transport.pid
        self.output.attach(self.transport.pipes)
        if self._stdin is not None:
            self._feeding = Deferred.fromCoroutine(ChildInput(self._stdin, self.transport).run())
            self._feeding.addErrback(self._feed_failed)

    def _feed_failed(self, failure: Failure) -> None:
        if not self._exited and not failure.check(CancelledError):
            self._break_off(failure.value if isinstance(failure.value, Exception) else Exception(str(failure.value)))

    def outReceived(self, data: bytes) -> None:
        self.output.received(data)

    def errReceived(self, data: bytes) -> None:
        if self.on_stderr is not None:
            self.on_stderr(data)
        self.stderr_tail = (self.stderr_tail + data)[-STDERR_TAIL:]

    def terminate(self) -> None:
        """Ask the child to end (TERM), and end it after the grace (KILL); its output is not read any further."""
        self._break_off(ProcessFailed(self.command.name, None, "it was terminated"))

    def _break_off(self, reason: Exception) -> None:
        if self._terminated or self.completed is not None:
            return
        self._terminated, self._reason = True, reason
        self.output.ended = True
        # A paused reader would never see the end of the pipe.
        self.output.resume()
        self._killing = self._reactor.callLater(self._grace, self._kill)
        _signal(self._leader, self.pid, signal.SIGTERM)

    def _kill(self) -> None:
        _signal(self._leader, self.pid, signal.SIGKILL)
        # Something that outlives the child may hold the other ends of its pipes: don't wait for it to read or write.
        for pipe in list(self.transport.pipes.values()):
            pipe.connectionLost(Failure(CONNECTION_DONE))

    def processExited(self, reason: Failure) -> None:
        self._exited = True
        if self._feeding is not None:
            self._feeding.cancel()
        if self._terminated or not reason.check(ProcessDone):
            # What it has started goes with it, though it has died itself and could end nothing.
            _signal(self._leader, self.pid, signal.SIGKILL)

    def processEnded(self, reason: Failure) -> None:
        self.output.close()
        if self._killing is not None and self._killing.active():
            self._killing.cancel()
        value: Any = reason.value
        self.completed = Completed(value.exitCode, value.signal, b"", self.stderr_tail)
        self._ended(self)
        if self._reason is None and not reason.check(ProcessDone):
            text = self.stderr_tail.decode("utf-8", "replace")
            self._reason = ProcessFailed(self.command.name, self.completed.code, text)
        # Those who wait for the exit come first: what they free is free when the reader goes on.
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self.completed)
        if self._reason is None:
            self.output.source.finish()
        else:
            self.output.source.fail(self._reason)

    async def wait(self) -> Completed:
        """Wait for the exit and for the end of both outputs.

        Nothing ends while the reader of :attr:`stdout` lags behind: read or close it first.
        """
        if self.completed is not None:
            return self.completed
        waiter: Deferred[Completed] = Deferred()
        self._waiters.append(waiter)
        return await waiter


def _signal(leader: int | None, pid: int | None, number: signal.Signals) -> None:
    """Send a signal to a process and all of its session, which may outlive its leader and keeps its number as long."""
    if leader is not None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, number)
            return
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
