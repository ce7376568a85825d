"""Looks after the state directory while the server runs: what was removed under it is made again where that can be.

Directories are made anew when something is written into them, mirrors when somebody asks for them. What is left is
here: the directory itself and its lock, without which another server could take it, and the file of the admin token.
"""

from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from cachew.plumbing.errors import CachewError
from cachew.plumbing.threads import Threads
from cachew.server.statelock import StateLock

DIRECTORIES = ("", "home", "packs", "spools", "mirrors", "scratch")
"""What has to be in a state directory."""


class StateWatch:
    """Looks after the state directory while the server runs, and makes again what was removed of it.

    :param state: the state directory.
    :param lock: the server's hold on it.
    :param restore: called in a thread for what else is made again.
    :param threads: where looking is done.
    """

    log = Logger()

    def __init__(self, *, state: Path, lock: StateLock, restore: Callable[[], None], threads: Threads) -> None:
        self._state = state
        self._lock = lock
        self._restore = restore
        self._threads = threads
        self.trouble = ""
        """What can't be made again, in words; empty when all is there."""

    async def look(self) -> None:
        """Make again what is missing, and note what can't be."""
        trouble = await self._threads(self._made_again)
        if trouble and trouble != self.trouble:
            self.log.critical("{trouble}", trouble=trouble)
        elif self.trouble and not trouble:
            self.log.warn("the state directory {state} can be used again", state=str(self._state))
        self.trouble = trouble

    def _made_again(self) -> str:
        try:
            if not self._lock.holds(self._state):
                self._lock.take(self._state)
                self.log.error(
                    "the state directory {state} was removed under the server and is made anew", state=str(self._state)
                )
            for name in DIRECTORIES:
                (self._state / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._restore()
        except OSError as error:
            return f"the state directory {self._state} was removed and can't be made again: {error.strerror}"
        except CachewError as error:
            return f"the state directory {self._state} was removed under this server: {error}"
        return ""
