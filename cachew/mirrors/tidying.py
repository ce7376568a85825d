"""Keeps the mirrors within the space and the time that the operator gives them."""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from twisted.logger import Logger

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import State
from cachew.mirrors.quota import Kept, superfluous
from cachew.plumbing.threads import Threads


class Tidying:
    """Remembers when each mirror was last asked for, and forgets those that nobody needs.

    :param mirrors: the mirrors.
    :param file: what is remembered across restarts.
    :param threads: for looking at files.
    :param now: the time of day in epoch seconds.
    :param limit: bytes that all mirrors may occupy; 0 for no bound.
    :param forget_after: seconds after which an unused mirror goes; 0 for never.
    """

    log = Logger()

    def __init__(
        self,
        *,
        mirrors: Mirrors,
        file: Path,
        threads: Threads,
        now: Callable[[], float],
        limit: int,
        forget_after: float,
    ) -> None:
        self._mirrors, self._file, self._threads, self._now = mirrors, file, threads, now
        self._limit, self._forget_after = limit, forget_after
        self._used: dict[str, float] = {}
        self._requests: Counter[str] = Counter()
        self._changed = False

    def used(self, identity: Identity) -> None:
        """Note that somebody asks for a repository."""
        mirror = self._mirrors.find(identity)
        if mirror is not None and mirror.state is not State.EMPTY:
            self._used[identity.name] = self._now()
            self._requests[identity.name] += 1
            self._changed = True

    def last_used(self, identity: Identity) -> float | None:
        """Return when somebody last asked for a repository, in epoch seconds."""
        return self._used.get(identity.name)

    def requests(self, identity: Identity) -> int:
        """Return how often a repository has been asked for since the start."""
        return self._requests[identity.name]

    def forget(self, identity: Identity) -> None:
        """Know nothing any more of a repository."""
        self._used.pop(identity.name, None)
        self._requests.pop(identity.name, None)
        self._changed = True

    async def load(self) -> None:
        """Recall what an earlier run knew."""
        self._used = {**await self._threads(_read, self._file), **self._used}

    async def save(self) -> None:
        """Write down what has changed."""
        if self._changed:
            self._changed = False
            await self._threads(_write, self._file, dict(self._used))

    async def tidy(self) -> None:
        """Forget what is superfluous, then write down what is known of the rest."""
        ready = [mirror for mirror in self._mirrors if mirror.ready]
        kept = []
        for mirror in ready:
            size = await self._threads(mirror.repository.size)
            used = self._used.get(mirror.identity.name, mirror.last_fetch or self._now())
            kept.append(Kept(mirror.identity, size, used))
        for identity in superfluous(kept, self._now(), limit=self._limit, forget_after=self._forget_after):
            self.log.info("forgetting the mirror of {repository}, which is used least", repository=identity.name)
            await self._mirrors.forget(identity)
        known = {mirror.identity.name for mirror in self._mirrors}
        self._used = {name: at for name, at in self._used.items() if name in known}
        await self.save()


def _read(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text())
        return {str(name): float(at) for name, at in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(file: Path, used: dict[str, float]) -> None:
    aside = file.with_suffix(".new")
    aside.write_text(json.dumps(used))
    os.replace(aside, file)
