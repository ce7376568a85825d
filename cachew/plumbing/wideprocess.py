"""Processes whose output is read in large pieces, or taken out of its pipe by somebody else.

What is used of Twisted here it doesn't promise: how it makes readers and starts processes.
"""

import errno
import os
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.internet.process import Process, ProcessReader

from cachew.plumbing.streams import PIECE


class _WideReader(ProcessReader):
    """Reads a pipe in large pieces, or has somebody else take what is in it."""

    def doRead(self) -> object:
        try:
            if self.name == 1 and self.proc.proto.output.diverted:
                return None if self.proc.proto.output.take(self.fd) else CONNECTION_DONE
            data = os.read(self.fd, PIECE)
        except OSError as failure:
            return None if failure.errno in (errno.EAGAIN, errno.EINTR) else CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        self.dataReceived(data)
        return None


class WideProcess(Process):
    """A process that leads a session of its own, and whose output is read in large pieces.

    :param ignored: the signals that this process ignores, which is nothing that the child should inherit.
    """

    processReaderFactory = _WideReader

    def __init__(self, *words: Any, ignored: Sequence[int], **more: Any) -> None:
        self._ignored = ignored
        super().__init__(*words, **more)

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
            setsigdef=self._ignored,
        )
        self.status = -1
        return True


def ignored_signals() -> tuple[int, ...]:
    """Return which signals this process ignores; to ask takes longer than to start a child."""
    return tuple(number for number in signal.valid_signals() if signal.getsignal(number) == signal.SIG_IGN)


def _inheritable() -> Iterator[int]:
    """Yield the descriptors that a child would get, few or none: Python itself opens no such."""
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if os.get_inheritable(number):
                yield number
        except OSError:  # the one that lists them is closed by now
            continue
