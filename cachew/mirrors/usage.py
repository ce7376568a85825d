"""When mirrors were last asked for and compared with their upstreams, remembered across restarts."""

import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.plumbing.clock import Clock
from cachew.plumbing.jsonfile import write_json
from cachew.plumbing.threads import Threads


class MirrorUsage:
    """Remembers when each mirror was last asked for and last compared.

    :param mirrors: the mirrors.
    :param file: what is remembered across restarts.
    :param threads: for looking at files.
    :param clock: what time it is.
    """

    def __init__(self, *, mirrors: Mirrors, file: Path, threads: Threads, clock: Clock) -> None:
        self._mirrors = mirrors
        self._file = file
        self._checks = file.with_name("checked.json")
        self._threads = threads
        self._clock = clock
        self._used: dict[str, float] = {}
        self._checked: dict[str, float] = {}
        self._requests: Counter[str] = Counter()
        self._changed = False

    def used(self, identity: Identity) -> None:
        """Note that somebody asks for a repository."""
        mirror = self._mirrors.find(identity)
        if mirror is not None and mirror.life.state is not MirrorState.EMPTY:
            self._used[identity.name] = self._clock.now()
            self._requests[identity.name] += 1
            self._changed = True

    def checked(self, identity: Identity) -> None:
        """Note that a repository's upstream has just said what its refs are."""
        mirror = self._mirrors.find(identity)
        if mirror is not None and mirror.life.state is not MirrorState.EMPTY:
            self._checked[identity.name] = self._clock.now()
            self._changed = True

    def last_checked(self, identity: Identity) -> float | None:
        """Return when a repository's upstream last said what its refs are, in epoch seconds."""
        return self._checked.get(identity.name)

    def last_used(self, identity: Identity) -> float | None:
        """Return when somebody last asked for a repository, in epoch seconds."""
        return self._used.get(identity.name)

    def requests(self, identity: Identity) -> int:
        """Return how often a repository has been asked for since the start."""
        return self._requests[identity.name]

    def forget(self, identity: Identity) -> None:
        """Know nothing any more of a repository."""
        self._used.pop(identity.name, None)
        self._checked.pop(identity.name, None)
        self._requests.pop(identity.name, None)
        self._changed = True

    async def load(self) -> None:
        """Recall what an earlier run knew."""
        self._used = {**await self._threads(_read, self._file), **self._used}
        self._checked = {**await self._threads(_read, self._checks), **self._checked}

    async def save(self) -> None:
        """Write down what has changed."""
        if not self._changed:
            return
        self._changed = False
        try:
            await self._threads(write_json, self._file, dict(self._used))
            await self._threads(write_json, self._checks, dict(self._checked))
        except BaseException:
            self._changed = True
            raise

    def keep_only(self, names: Collection[str]) -> None:
        """Know nothing any more of other repositories."""
        self._used = {name: at for name, at in self._used.items() if name in names}
        self._checked = {name: at for name, at in self._checked.items() if name in names}


def _read(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text())
        return {str(name): float(at) for name, at in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
