"""A small JSON file that follows what is known."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.logger import Logger

from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.jsonfile import write_json
from cachew.plumbing.threads import InThread

T = TypeVar("T")

_PAUSE = 10.0
"""Seconds for which a file that could not be written is left alone, whatever changes meanwhile."""


class KeptDocument:
    """Writes down what is known when it has changed, once at a time, behind the back of whoever changes it.

    :param path: the file.
    :param what: what it says, for the log: ``which repositories are public``.
    :param content: returns it, of JSON's types.
    :param in_thread: runs the writing.
    :param background: follows it.
    :param clock: tells how long ago it failed.
    """

    log = Logger()

    def __init__(
        self,
        *,
        path: Path,
        what: str,
        content: Callable[[], Any],
        in_thread: InThread,
        background: Background,
        clock: Clock,
    ) -> None:
        self.path = path
        self._what = what
        self._content = content
        self._in_thread = in_thread
        self._background = background
        self._clock = clock
        self._changed = False
        self._writing = False
        self._failed_at = float("-inf")

    def load(self, read: Callable[[Any], T]) -> T | None:
        """Return what an earlier run has written down, None when there is nothing that can be read.

        :param read: makes it of the document.
        """
        try:
            return read(json.loads(self.path.read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self.log.warn("can't recall {what}: {path}: {error}", what=self._what, path=str(self.path), error=error)
            return None

    @property
    def behind(self) -> bool:
        """Whether it does not say yet what is known."""
        return self._changed or self._writing

    def follow(self) -> None:
        """Have the file follow what has just changed; a failure is told once, until it can be written again."""
        self._changed = True
        if not self._writing and self._clock.seconds() - self._failed_at >= _PAUSE:
            self._background.start(self.flush(), f"remembering {self._what}")

    async def flush(self) -> None:
        """Write until the file says what is known, if nobody does so already."""
        if self._writing:
            return
        self._writing = True
        try:
            while self._changed:
                self._changed = False
                await self._in_thread(write_json, self.path, self._content())
                self._failed_at = float("-inf")
        except OSError as error:
            self._changed = True
            if self._failed_at == float("-inf"):
                self.log.error("can't remember {what}: {path}: {error}", what=self._what, path=self.path, error=error)
            self._failed_at = self._clock.seconds()
        finally:
            self._writing = False
