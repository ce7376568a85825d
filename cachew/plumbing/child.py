"""One child process: what it reads, what it writes, and its end.

Output is read in large pieces from a large pipe, because the 8 KiB of Twisted's own reader double the CPU time of a
clone. A reader that lags behind stops the child through the pipe; a reader that leaves ends it. The end of the output
is told only once the exit is known, so what a failing child leaves unfinished never looks complete.
"""

import contextlib
import errno
import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.process import Process, ProcessReader
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from cachew.plumbing.errors import ProcessFailed, ProcessTimedOut
from cachew.plumbing.streams import PIECE, PushSource, Source

PIPE_SIZE = 1024 * 1024
"""The size asked for a child's output pipe, in bytes."""
_WORTH_A_PAUSE = 64 * 1024
_PAUSE = 0.002
"""Seconds in which the pipe of a child that writes much fills again: one turn for a dozen of its writes."""
STDERR_TAIL = 64 * 1024
"""How much of the end of a child's standard error is kept, in bytes."""
_SIGN_OF_LIFE = 5
"""More bytes than this at once are a sign of life: upload-pack sends so many every five seconds while it waits for
pack-objects, which may have stopped (``uploadpack.keepAlive`` in git-config(1))."""
_OPTIONS_WITH_VALUE = frozenset({"-C", "-c"})


@dataclass(frozen=True)
class Command:
    """What to run.

    :param argv: the program and its arguments; a bare name is looked up in the server's own ``PATH``.
    :param env: the child's whole environment.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]

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


class _WideReader(ProcessReader):
    """Reads a pipe in large pieces, or has somebody else take what is in it."""

    def doRead(self) -> object:
        try:
            if self.name == 1 and self.proc.proto.diverted:
                return None if self.proc.proto.take_output(self.fd) else CONNECTION_DONE
            data = os.read(self.fd, PIECE)
        except OSError as failure:
            return None if failure.errno in (errno.EAGAIN, errno.EINTR) else CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.dataReceived(data)
        return None


class WideProcess(Process):
    """A process that leads a session of its own, and whose output is read in large pieces."""

    processReaderFactory = _WideReader

    def _trySpawnInsteadOfFork(
        self, path: Any, uid: Any, gid: Any, executable: Any, args: Any, environment: Any, kwargs: Any
    ) -> bool:
        # Twisted's own knows no sessions.
        taken = kwargs["fdmap"]
        if min(taken.values()) <= max(taken):  # this server has no standard output or input itself
            return bool(super()._trySpawnInsteadOfFork(path, uid, gid, executable, args, environment, kwargs))
        self.pid = os.posix_spawnp(
            executable,
            args,
            environment,
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in taken.items()),
                *((os.POSIX_SPAWN_CLOSE, other) for other in _inheritable() if other not in taken),
            ],
            setsid=True,
            setsigdef=[number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN],
        )
        self.status = -1
        return True


def _inheritable() -> Iterator[int]:
    """Yield the descriptors that a child would get, few or none: Python itself opens no such."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them is closed by now
            if os.get_inheritable(int(name)):
                yield int(name)


@implementer(IPushProducer)
class _Feed:
    """Copies a source into a child's standard input as fast as the child reads."""

    def __init__(self, source: Source, transport: Any) -> None:
        self._source, self._transport = source, transport
        self._room: Deferred[None] | None = None
        self._stopped = False

    async def run(self) -> None:
        """Copy until the source ends or the child closes its input.

        :raise Exception: the source's failure.
        """
        self._transport.registerProducer(self, True)
        try:
            while not self._stopped and (piece := await self._source.read(PIECE)):
                self._transport.write(piece)
                if self._room is not None:
                    await self._room
        finally:
            self._source.close()
            self._transport.unregisterProducer()
            self._transport.closeStdin()

    def pauseProducing(self) -> None:
        self._room = self._room or Deferred()

    def resumeProducing(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        self._stopped = True
        self._source.close()
        self.resumeProducing()


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
        self._silence = silence
        self._ended = ended
        self._output = PushSource(pause=self._pause, resume=self._resume, stop=self.terminate)
        self._feeding: Deferred[None] | None = None
        self._reason: Exception | None = None
        self._terminated = self._exited = False
        self._leader: int | None = None
        self._killing: Any = None
        self._listening: Any = None
        self._into: Callable[[int], int] | None = None
        self._pausing: Any = None
        self._waiters: list[Deferred[Completed]] = []

    @property
    def stdout(self) -> Source:
        """What the child writes; closing it before the end terminates the child.

        Its reader gets :class:`ProcessFailed` instead of the end when the child fails.
        """
        return self._output

    @property
    def pid(self) -> int | None:
        """The process id, None once the process has been reaped."""
        pid: int | None = self.transport.pid
        return pid

    def stand_back(self, niceness: int) -> None:
        """Have it, and what it will start, get less of the processors than others (setpriority(2))."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, pid, niceness)

    @property
    def failed(self) -> bool:
        """Whether it has ended with an exit status that says so, and nobody had ended it."""
        return self.completed is not None and not self._terminated and self.completed.code not in (0, None)

    def connectionMade(self) -> None:
        self._leader = self.transport.pid
        # Where the user's budget for pipes is used up, the default size works too, only slower.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.transport.pipes[1].fileno(), fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._listen()
        if self._stdin is not None:
            self._feeding = Deferred.fromCoroutine(_Feed(self._stdin, self.transport).run())
            self._feeding.addErrback(self._feed_failed)

    def _feed_failed(self, failure: Failure) -> None:
        if not self._exited and not failure.check(CancelledError):
            self._break_off(failure.value if isinstance(failure.value, Exception) else Exception(str(failure.value)))

    def _listen(self) -> None:
        """Wait for a sign of life from now on."""
        if self._silence is None or self._terminated or self.completed is not None:
            return
        if self._listening is not None and self._listening.active():
            self._listening.reset(self._silence)
        else:
            self._listening = self._reactor.callLater(self._silence, self._fell_silent)

    def _fell_silent(self) -> None:
        words = f"it gave nothing for {self._silence:g} seconds"
        self._break_off(ProcessTimedOut(self.command.name, None, words))

    def outReceived(self, data: bytes) -> None:
        if len(data) > _SIGN_OF_LIFE:
            self._listen()
        if not self._terminated:
            self._output.data(data)

    @property
    def diverted(self) -> bool:
        """Whether output is taken out of its pipe by somebody else."""
        return self._into is not None and not self._terminated

    def divert(self, into: Callable[[int], int]) -> bytes:
        """Have further output taken out of its pipe; see :class:`~cachew.plumbing.streams.PipedSource`."""
        self._into = into
        return self._output.take_all()

    def take_output(self, pipe: int) -> int:
        """Have somebody take what is in the output's pipe.

        :return: how much that was, 0 at the pipe's end.
        :raise BlockingIOError: when the pipe has been emptied.
        """
        assert self._into is not None
        taken = 0
        while taken < _WORTH_A_PAUSE:
            try:
                count = self._into(pipe)
            except BlockingIOError:
                raise
            except Exception as failure:
                self._break_off(failure)
                return 1  # the end is still to come
            if not count:
                return taken
            taken += count
            if count > _SIGN_OF_LIFE:
                self._listen()
        self._pause()
        self._pausing = self._reactor.callLater(_PAUSE, self._take_on)
        return taken

    def _take_on(self) -> None:
        """Take again after a pause, though nothing may have come: whoever takes has to know that."""
        self._resume()
        if self.diverted and 1 in self.transport.pipes:
            with contextlib.suppress(BlockingIOError):
                self.take_output(self.transport.pipes[1].fileno())

    def errReceived(self, data: bytes) -> None:
        if self.on_stderr is not None:
            self.on_stderr(data)
        self.stderr_tail = (self.stderr_tail + data)[-STDERR_TAIL:]

    def _pause(self) -> None:
        if self._listening is not None and self._listening.active():
            self._listening.cancel()
        if 1 in self.transport.pipes:
            self.transport.pipes[1].stopReading()

    def _resume(self) -> None:
        self._listen()
        if 1 in self.transport.pipes:
            self.transport.pipes[1].startReading()

    def terminate(self) -> None:
        """Ask the child to end (TERM), and end it after the grace (KILL); its output is not read any further."""
        self._break_off(ProcessFailed(self.command.name, None, "it was terminated"))

    def _break_off(self, reason: Exception) -> None:
        if self._terminated or self.completed is not None:
            return
        self._terminated, self._reason = True, reason
        # A paused reader would never see the end of the pipe.
        self._resume()
        self._killing = self._reactor.callLater(self._grace, self._kill)
        self._signal(signal.SIGTERM)

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        # Something that outlives the child may hold the other ends of its pipes: don't wait for it to read or write.
        for pipe in list(self.transport.pipes.values()):
            pipe.connectionLost(Failure(CONNECTION_DONE))

    def _signal(self, number: signal.Signals) -> None:
        if self._leader is not None:
            # The session may outlive its leader, and keeps its number for as long.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader, number)
                return
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def processExited(self, reason: Failure) -> None:
        self._exited = True
        if self._feeding is not None:
            self._feeding.cancel()
        if self._terminated or not reason.check(ProcessDone):
            # What it has started goes with it, though it has died itself and could end nothing.
            self._signal(signal.SIGKILL)

    def processEnded(self, reason: Failure) -> None:
        for call in (self._killing, self._pausing, self._listening):
            if call is not None and call.active():
                call.cancel()
        value: Any = reason.value
        self.completed = Completed(value.exitCode, value.signal, b"", self.stderr_tail)
        self._ended(self)
        if self._reason is None and not reason.check(ProcessDone):
            self._reason = self._failure()
        # Those who wait for the exit come first: what they free is free when the reader goes on.
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(self.completed)
        if self._reason is None:
            self._output.finish()
        else:
            self._output.fail(self._reason)

    def _failure(self) -> ProcessFailed:
        completed = self.completed
        code = None if completed is None else completed.code
        return ProcessFailed(self.command.name, code, self.stderr_tail.decode("utf-8", "replace"))

    async def wait(self) -> Completed:
        """Wait for the exit and for the end of both outputs.

        Nothing ends while the reader of :attr:`stdout` lags behind: read or close it first.
        """
        if self.completed is not None:
            return self.completed
        waiter: Deferred[Completed] = Deferred()
        self._waiters.append(waiter)
        return await waiter
