"""The state directory belongs to one server at a time, and nothing of an earlier one goes on working in it.

The kernel takes the lock away from a server that is killed, but not the children: a ``git fetch`` whose server is gone
would go on writing next to what the next one does. They carry a mark in their environment and are ended at the start.
"""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

from cachew.plumbing.errors import CachewError

MARK = "CACHEW_CHILD_OF"
"""The variable in the environment of children that names the state directory."""

_PROC = Path("/proc")
_ENDING = 5.0
_PAUSE = 0.01


class StateInUse(CachewError):
    """Another server uses the state directory."""


class StateLock:
    """One server's hold on a state directory.

    :param state: the directory; it is made when there is none.
    :raise StateInUse: when another server has it.
    """

    log = Logger()

    def __init__(self, state: Path) -> None:
        self._directory: int | None = None
        status = os.fstat(self.take(state))
        self._mark = f"{status.st_dev}:{status.st_ino}"

    def take(self, state: Path) -> int:
        """Take a directory, which is made when there is none, in place of the one that was held.

        :return: its descriptor.
        :raise StateInUse: when another server has it.
        """
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        directory = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(directory)
            raise StateInUse(f"the state directory {state} is in use by another cachew") from None
        except OSError as error:
            self.log.warn("can't lock {state}: {error}; let no two servers use it", state=str(state), error=str(error))
        self.release()
        self._directory = directory
        return directory

    def holds(self, state: Path) -> bool:
        """Say whether the directory that is held is still the one of this name."""
        try:
            return self._directory is not None and os.path.samestat(os.fstat(self._directory), state.stat())
        except FileNotFoundError:
            return False

    @property
    def mark(self) -> dict[str, str]:
        """What the environment of every child holds."""
        return {MARK: self._mark}

    def end_leftovers(self) -> None:
        """End the children of a server that was killed, and wait until they are gone."""
        count = len(list(self._leftovers()))
        until = time.monotonic() + _ENDING
        while found := list(self._leftovers()):
            for pid in found:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise StateInUse(f"processes of an earlier cachew don't end: {', '.join(map(str, found))}")
            time.sleep(_PAUSE)
        if count:
            self.log.warn("ended {count} processes that a killed server had left", count=count)

    def _leftovers(self) -> Iterator[int]:
        wanted = os.fsencode(f"{MARK}={self._mark}")
        for entry in _PROC.glob("[0-9]*"):
            # Others' can't be read; those that have ended have no environment.
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)

    def release(self) -> None:
        """Let go of the directory."""
        directory, self._directory = self._directory, None
        if directory is not None:
            os.close(directory)
