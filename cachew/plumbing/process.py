"""Starting child processes cheaply, and leaving none behind.

Twisted starts a child by ``posix_spawn`` as long as nothing asks for a directory or a user of its own (a fork of a
server that has grown to 2 GB takes 64 ms), so a :class:`Command` has no working directory: say ``git -C DIR``.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from typing import Any

from cachew.plumbing import tracing
from cachew.plumbing.activity import NOTHING_KNOWN, work_of_session
from cachew.plumbing.child import Child, Command, Completed
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.diskspace import NO_ROOM
from cachew.plumbing.errors import Busy, ProcessFailed, ProcessTimedOut, TooLarge
from cachew.plumbing.streams import PIECE, BytesSource, Source
from cachew.plumbing.wideprocess import WideProcess, ignored_signals

_STALLED = 15.0
_BETWEEN_LOOKS = 5.0
_FOR_NOW = EXHAUSTED | {errno.EAGAIN, errno.ENOMEM}


class Processes:
    """Starts children and knows all that run.

    :param reactor: a reactor that can watch pipes.
    :param grace: seconds that a child has between TERM and KILL.
    :param mark: variables in the environment of every child, by which it is known.
    :param work: tells how much the session of a child has done.
    :param stalled: seconds without any work after which a child is given up that waits for nobody, twice as long at
        most.
    :param looks: seconds between two looks at the room that a child still has.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        grace: float = 5.0,
        mark: Mapping[str, str] | None = None,
        work: Callable[[int], int] = work_of_session,
        stalled: float = _STALLED,
        looks: float = _BETWEEN_LOOKS,
    ) -> None:
        self._reactor = reactor
        self._stalled = stalled
        self._looks = looks
        self._work = work
        self._mark = dict(mark or {})
        self._grace = grace
        self._children: set[Child] = set()
        self._ignored = ignored_signals()
        self._stopped = False
        self.started = 0

    @property
    def running(self) -> int:
        """How many children have not ended."""
        return len(self._children)

    def start(self, command: Command, *, stdin: Source | None = None, silence: float | None = None) -> Child:
        """Start a child whose output streams, in a session of its own: signals reach everything that it starts.

        :param stdin: what it reads, which it owns from here on; None means nothing.
        :param silence: seconds after which it is given up when nothing comes that its reader waits for.
        :raise ProcessFailed: when the program can't be started.
        :raise Busy: when the machine has no room for it now, and after :meth:`stop`.
        """
        if self._stopped:
            if stdin is not None:
                stdin.close()
            raise Busy("the server is stopping")
        span = tracing.begin(command.name)
        child = Child(
            reactor=self._reactor,
            command=command,
            stdin=stdin,
            grace=self._grace,
            silence=silence,
            ended=lambda child: self._ended(child, span),
        )
        self._children.add(child)
        self.started += 1
        try:
            self._spawn(child, command.argv, piped=stdin is not None)
        except Exception as failure:
            self._children.discard(child)
            span.end(failed=getattr(failure, "strerror", None) or type(failure).__name__)
            if stdin is not None:
                stdin.close()
            if not isinstance(failure, OSError):
                raise
            if failure.errno in _FOR_NOW:
                raise Busy(f"{command.name} can't be started: {failure.strerror}") from failure
            raise ProcessFailed(command.name, 127, failure.strerror or str(failure)) from failure
        if command.niceness:
            child.stand_back(command.niceness)
        return child

    def _ended(self, child: Child, span: tracing.Span) -> None:
        self._children.discard(child)
        span.end()

    def _spawn(self, child: Child, argv: tuple[str, ...], *, piped: bool) -> None:
        env = {**child.command.env, **self._mark}
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            WideProcess(
                self._reactor,
                argv[0],
                list(argv),
                env,
                None,
                child,
                childFDs={0: "w" if piped else nothing, 1: "r", 2: "r"},
                ignored=self._ignored,
            )
        finally:
            os.close(nothing)

    async def run(
        self,
        command: Command,
        *,
        stdin: bytes | Source = b"",
        timeout: float,  # noqa: ASYNC109
        limit: int = 64 * 1024 * 1024,
        check: bool = True,
        on_stderr: Callable[[bytes], object] | None = None,
        waits: bool = False,
        room: Callable[[], bool] | None = None,
    ) -> Completed:
        """Run a child to its end and collect its output.

        However this ends, the child has ended before: a time-out, a cancel and too much output terminate it.

        :param stdin: what it reads; a source is closed in the end.
        :param timeout: seconds that it may take.
        :param limit: the most bytes of output.
        :param check: whether an exit code other than 0 is a failure.
        :param on_stderr: given all that it writes to standard error, of which otherwise the end is kept.
        :param waits: whether it waits for others, so that it may do nothing for long.
        :param room: tells now and then whether what it writes still has room on its disk.
        :raise ProcessFailed: when it failed and ``check`` is set, or could not be started.
        :raise ProcessTimedOut: when it took longer than ``timeout``, was stopped, or had no room any more, which it
            says as git would.
        :raise TooLarge: when it wrote more than ``limit``.
        """
        source = stdin if not isinstance(stdin, bytes) else BytesSource(stdin) if stdin else None
        child = self.start(command, stdin=source)
        child.on_stderr = on_stderr
        stalled = None if waits else self._stalled
        watch = _Watch(reactor=self._reactor, child=child, timeout=timeout, stalled=stalled, work=self._work)
        if room is not None:
            watch.look_at_room(room, self._looks)
        try:
            output = await _collect(child, limit)
        finally:
            watch.end()
            child.stdout.close()
            completed = await child.wait()
        stderr = completed.stderr.decode("utf-8", "replace")
        if watch.verdict:
            words = watch.verdict if watch.verdict == NO_ROOM else stderr or watch.verdict
            raise ProcessTimedOut(command.name, completed.code, words)
        if check and completed.code != 0:
            raise ProcessFailed(command.name, completed.code, stderr)
        return Completed(completed.code, completed.signal, output, completed.stderr)

    async def stop(self) -> None:
        """Start nothing more, terminate every child and wait for all of them."""
        self._stopped = True
        children = list(self._children)
        for child in children:
            child.terminate()
        for child in children:
            await child.wait()


class _Watch:
    """Gives a child up that takes too long, or does nothing.

    :ivar verdict: why it was given up; empty when it was not.
    """

    def __init__(
        self, *, reactor: Any, child: Child, timeout: float, stalled: float | None, work: Callable[[int], int]
    ) -> None:
        self._reactor = reactor
        self._child = child
        self._work = work
        self._done = -1
        self.verdict = ""
        self._calls = {"end": reactor.callLater(timeout, self._give_up, f"no end after {timeout:g} seconds")}
        if stalled is not None:
            self._look_again(stalled)

    def _look_again(self, stalled: float) -> None:
        self._calls["work"] = self._reactor.callLater(stalled, self._look, stalled)

    def _look(self, stalled: float) -> None:
        if (pid := self._child.pid) is None:
            return
        before, self._done = self._done, self._work(pid)
        if before == self._done != NOTHING_KNOWN:
            self._give_up(f"it did nothing for {stalled:g} seconds")
        else:
            self._look_again(stalled)

    def look_at_room(self, room: Callable[[], bool], every: float) -> None:
        """Give it up, too, when there is no room any more; what is small comes through before the first look."""
        self._calls["room"] = self._reactor.callLater(every, self._look_at_room, room, every)

    def _look_at_room(self, room: Callable[[], bool], every: float) -> None:
        if room():
            self.look_at_room(room, every)
        else:
            self._give_up(NO_ROOM)

    def _give_up(self, verdict: str) -> None:
        self.verdict = verdict
        self._child.terminate()

    def end(self) -> None:
        """Watch no more."""
        for call in self._calls.values():
            if call.active():
                call.cancel()


async def _collect(child: Child, limit: int) -> bytes:
    pieces, total = [], 0
    # How it ended is judged by the exit status.
    with contextlib.suppress(ProcessFailed):
        while piece := await child.stdout.read(PIECE):
            pieces.append(piece)
            total += len(piece)
            if total > limit:
                raise TooLarge(limit, f"the output of {child.command.name}")
    return b"".join(pieces)
