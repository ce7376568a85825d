"""Starting child processes cheaply, and leaving none behind.

Twisted starts a child by ``posix_spawn`` as long as nothing asks for a directory or a user of its own (a fork of a
server that has grown to 2 GB takes 64 ms), so a :class:`Command` has no working directory: say ``git -C DIR``.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from typing import Any

from cachew.plumbing.child import Child, Command, Completed, WideProcess
from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.errors import Busy, ProcessFailed, ProcessTimedOut, TooLarge
from cachew.plumbing.streams import PIECE, BytesSource, Source

__all__ = ["Child", "Command", "Completed", "Processes"]

_FOR_NOW = EXHAUSTED | {errno.EAGAIN, errno.ENOMEM}


class Processes:
    """Starts children and knows all that run.

    :param reactor: a reactor that can watch pipes.
    :param grace: seconds that a child has between TERM and KILL.
    :param mark: variables in the environment of every child, by which it is known.
    """

    def __init__(self, *, reactor: Any, grace: float = 5.0, mark: Mapping[str, str] | None = None) -> None:
        self._reactor = reactor
        self._mark = dict(mark or {})
        self._grace = grace
        self._children: set[Child] = set()
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
        child = Child(
            reactor=self._reactor,
            command=command,
            stdin=stdin,
            grace=self._grace,
            silence=silence,
            ended=self._children.discard,
        )
        self._children.add(child)
        self.started += 1
        try:
            self._spawn(child, command.argv, piped=stdin is not None)
        except OSError as failure:
            self._children.discard(child)
            if stdin is not None:
                stdin.close()
            if failure.errno in _FOR_NOW:
                raise Busy(f"{command.name} can't be started: {failure.strerror}") from failure
            raise ProcessFailed(command.name, 127, failure.strerror or str(failure)) from failure
        return child

    def _spawn(self, child: Child, argv: tuple[str, ...], *, piped: bool) -> None:
        env = {**child.command.env, **self._mark}
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            WideProcess(
                self._reactor,
                os.fsencode(argv[0]),
                [os.fsencode(word) for word in argv],
                {os.fsencode(name): os.fsencode(value) for name, value in env.items()},
                None,
                child,
                childFDs={0: "w" if piped else nothing, 1: "r", 2: "r"},
            )
        finally:
            os.close(nothing)

    async def run(
        self,
        command: Command,
        *,
        stdin: bytes = b"",
        timeout: float,  # noqa: ASYNC109
        limit: int = 64 * 1024 * 1024,
        check: bool = True,
        on_stderr: Callable[[bytes], object] | None = None,
    ) -> Completed:
        """Run a child to its end and collect its output.

        However this ends, the child has ended before: a time-out, a cancel and too much output terminate it.

        :param timeout: seconds that it may take.
        :param limit: the most bytes of output.
        :param check: whether an exit code other than 0 is a failure.
        :param on_stderr: given all that it writes to standard error, of which otherwise the end is kept.
        :raise ProcessFailed: when it failed and ``check`` is set, or could not be started.
        :raise ProcessTimedOut: when it took longer than ``timeout``.
        :raise TooLarge: when it wrote more than ``limit``.
        """
        child = self.start(command, stdin=BytesSource(stdin) if stdin else None)
        child.on_stderr = on_stderr
        late = self._reactor.callLater(timeout, child.terminate)
        try:
            output = await _collect(child, limit)
        finally:
            timed_out = not late.active()
            if not timed_out:
                late.cancel()
            child.stdout.close()
            completed = await child.wait()
        stderr = completed.stderr.decode("utf-8", "replace")
        if timed_out:
            raise ProcessTimedOut(command.name, completed.code, stderr or f"no end after {timeout:g} seconds")
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
