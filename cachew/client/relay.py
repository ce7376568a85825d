"""Stands between git and git's own http helper: passes on what git says, and lets the helper answer git directly.

So nothing that the helper does is done twice or in another way. What it receives never passes through here: it writes
to git's own pipe. What git says to it is looked at line by line until the first command that brings objects, and is
moved by the kernel from then on. Every fetch waits for this module's imports, so there are hardly any.
"""

import os
import sys

TYPE_CHECKING = False  # what typing says, which takes as long to import as everything else
if TYPE_CHECKING:
    import signal
    from types import FrameType
    from typing import Any
else:
    # Without the enumerations of the public module, which take longer to import than Python to start.
    import _signal as signal

_PIECE = 64 * 1024
_MUCH = 1024 * 1024
_SOON = 0.01
"""Seconds after which a stop that has been dropped is raised again."""
_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Stopped(BaseException):
    """A signal has ended this process.

    :param number: which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class HelperEnded(BaseException):
    """Git's own helper has ended before git has."""


class Relay:
    """Git's own helper, started, and the way to it.

    :param program: its name, ``git-remote-http`` or ``git-remote-https``.
    :param arguments: the remote's name and the plain address.
    :param environ: the environment that git has given us.
    """

    def __init__(self, *, program: str, arguments: "list[bytes]", environ: "os._Environ[str]") -> None:
        self._program = program
        self._arguments = arguments
        self._environ = environ
        self._to_helper = -1
        self._helper = 0
        self._status = -1
        self._ending = False
        self._given_up = False
        self._dropped: BaseException | None = None
        self._buffer = b""

    def start(self) -> None:
        """Start the helper, and have every signal that ends this process end it too.

        :raise OSError: when there is none.
        """
        reading, self._to_helper = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, reading, 0)]
        words = [os.fsencode(self._program), *self._arguments]
        self._helper = os.posix_spawnp(
            self._program, words, self._environ, file_actions=actions, setsigdef=[signal.SIGPIPE]
        )
        os.close(reading)
        # Git must see the end of its output when the helper ends.
        os.dup2(2, 1)
        for number in _PASSED_ON:
            # What nohup or a shell's background has had ignored stays so.
            if signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._stop)
        sys.unraisablehook = self._note_dropped
        signal.signal(signal.SIGALRM, self._raise_dropped)
        # Git waits for the end of our output, which the process that has started us holds open until we end.
        signal.signal(signal.SIGCHLD, self._child_ended)
        self._child_ended(signal.SIGCHLD, None)

    def next_line(self) -> "bytes | None":
        """Return git's next line, which is passed on by :meth:`pass_on`; None at the end."""
        while b"\n" not in self._buffer:
            piece = os.read(0, _PIECE)
            if not piece:
                return None
            self._buffer += piece
        return self._buffer.partition(b"\n")[0]

    def pass_on(self) -> None:
        """Pass on the line that was read last."""
        line, end, self._buffer = self._buffer.partition(b"\n")
        self._write(line + end)

    def rest(self) -> None:
        """Pass on whatever else git says, until it has no more to say or the helper has ended."""
        self._write(self._buffer)
        try:
            while os.splice(0, self._to_helper, _MUCH):
                pass
        except BrokenPipeError:
            return
        except (OSError, AttributeError):
            # Not a system, or not a pipe, that the kernel moves bytes for.
            while piece := os.read(0, _PIECE):
                self._write(piece)

    def ended(self) -> int:
        """Let the helper come to its end and return its exit status, as a shell would tell it."""
        self._ending = True
        os.close(self._to_helper)
        if self._status == -1:
            self._status = os.waitpid(self._helper, 0)[1]
        status = self._status
        return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._to_helper, data) :]
        except BrokenPipeError:
            return

    def _child_ended(self, number: int, _: "FrameType | None") -> None:
        if self._ending or self._given_up:
            return
        # Other children are waited for by whoever has started them.
        ended, status = os.waitpid(self._helper, os.WNOHANG)
        if ended:
            self._status, self._ending = status, True
            self._given_up = True
            raise HelperEnded

    def _note_dropped(self, unraisable: "Any") -> None:
        """Have a stop raised again that came within a destructor or a callback, where Python drops what is raised."""
        if isinstance(unraisable.exc_value, (Stopped, HelperEnded)):
            self._dropped = unraisable.exc_value
            signal.setitimer(signal.ITIMER_REAL, _SOON)
        else:
            sys.__unraisablehook__(unraisable)

    def _raise_dropped(self, number: int, _: "FrameType | None") -> None:
        dropped, self._dropped = self._dropped, None
        if dropped is not None:
            raise dropped.with_traceback(None)

    def _stop(self, number: int, _: "FrameType | None") -> None:
        if self._given_up:
            # What tidies up now must not be broken off by a second signal, or by the end of the helper.
            return
        self._given_up = True
        try:
            os.kill(self._helper, number)
        except ProcessLookupError:
            raise Stopped(number) from None
        raise Stopped(number)
