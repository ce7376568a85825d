"""The pipe that a child process writes to: read, or taken out of by somebody else, paused, and watched for silence."""

import contextlib
import fcntl
from collections.abc import Callable
from typing import Any

from cachew.plumbing.errors import ProcessTimedOut
from cachew.plumbing.streams import PushSource

PIPE_SIZE = 1024 * 1024
"""The size asked for a child's output pipe, in bytes."""
_WORTH_A_PAUSE = 64 * 1024
_PAUSE = 0.002
"""Seconds in which the pipe of a child that writes much fills again: one turn for a dozen of its writes."""
_SIGN_OF_LIFE = 5
"""More bytes than this at once are a sign of life: upload-pack sends so many every five seconds while it waits for
pack-objects, which may have stopped (``uploadpack.keepAlive`` in git-config(1))."""


class ChildOutput:
    """What a child writes, and how long it has written nothing.

    :param reactor: the reactor.
    :param name: what the child is called.
    :param silence: seconds after which the child is given up when nothing comes that is waited for; None for no bound.
    :param break_off: gives the child up, for a reason.
    :param stop: ends the child whose output nobody wants any more.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        name: str,
        silence: float | None,
        break_off: Callable[[Exception], object],
        stop: Callable[[], object],
    ) -> None:
        self.source = PushSource(pause=self.pause, resume=self.resume, stop=stop)
        self.ended = False
        """Whether what comes is for nobody any more."""
        self._reactor = reactor
        self._name = name
        self._silence = silence
        self._break_off = break_off
        self._pipes: dict[int, Any] = {}
        self._listening: Any = None
        self._pausing: Any = None
        self._into: Callable[[int], int] | None = None

    def attach(self, pipes: dict[int, Any]) -> None:
        """Begin, now that the child has its pipes."""
        self._pipes = pipes
        # Where the user's budget for pipes is used up, the default size works too, only slower.
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipes[1].fileno(), fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        self._listen()

    def _listen(self) -> None:
        """Wait for a sign of life from now on."""
        if self._silence is None or self.ended:
            return
        if self._listening is not None and self._listening.active():
            self._listening.reset(self._silence)
        else:
            self._listening = self._reactor.callLater(self._silence, self._fell_silent)

    def _fell_silent(self) -> None:
        words = f"it gave nothing for {self._silence:g} seconds"
        self._break_off(ProcessTimedOut(self._name, None, words))

    def received(self, data: bytes) -> None:
        """Take what was read."""
        if len(data) > _SIGN_OF_LIFE:
            self._listen()
        if not self.ended:
            self.source.data(data)

    @property
    def diverted(self) -> bool:
        """Whether output is taken out of its pipe by somebody else."""
        return self._into is not None and not self.ended

    def divert(self, into: Callable[[int], int]) -> bytes:
        """Have further output taken out of its pipe; see :class:`~cachew.plumbing.production.PipedSource`."""
        self._into = into
        return self.source.take_all()

    def take(self, pipe: int) -> int:
        """Have somebody take what is in the pipe.

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
        self.pause()
        self._pausing = self._reactor.callLater(_PAUSE, self._take_on)
        return taken

    def _take_on(self) -> None:
        """Take again after a pause, though nothing may have come: whoever takes has to know that."""
        self.resume()
        if self.diverted and 1 in self._pipes:
            with contextlib.suppress(BlockingIOError):
                self.take(self._pipes[1].fileno())

    def pause(self) -> None:
        """Read no more for now."""
        if self._listening is not None and self._listening.active():
            self._listening.cancel()
        if 1 in self._pipes:
            self._pipes[1].stopReading()

    def resume(self) -> None:
        """Read on."""
        self._listen()
        if 1 in self._pipes:
            self._pipes[1].startReading()

    def close(self) -> None:
        """Wait for nothing any more."""
        self.ended = True
        for call in (self._pausing, self._listening):
            if call is not None and call.active():
                call.cancel()
