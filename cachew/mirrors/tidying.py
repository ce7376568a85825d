"""Keeps the mirrors within the space and the time that the operator gives them."""

import json
from collections import Counter
from pathlib import Path

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cachew.mirrors.coalescing import holding
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import SERVING, MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.quota import MirrorUse, superfluous
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.jsonfile import write_json
from cachew.plumbing.threads import Threads


class Tidying:
    """Remembers when each mirror was last asked for and last compared, and forgets those that nobody needs.

    :param mirrors: the mirrors.
    :param file: what is remembered across restarts.
    :param threads: for looking at files.
    :param background: where what has grown is looked at.
    :param clock: what time it is.
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
        background: Background,
        clock: Clock,
        limit: int,
        forget_after: float,
    ) -> None:
        self._mirrors = mirrors
        self._file = file
        self._threads = threads
        self._clock = clock
        self.replace(limit=limit, forget_after=forget_after)
        self._background = background
        self._used: dict[str, float] = {}
        self._checked: dict[str, float] = {}
        self._requests: Counter[str] = Counter()
        self._sizes: dict[str, int] = {}
        self._grown: set[str] = set()
        self._turn = DeferredLock()
        self._changed = False

    def replace(self, *, limit: int, forget_after: float) -> None:
        """Go by these bounds from the next turn on."""
        self._limit = limit
        self._forget_after = forget_after

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
        self._sizes.pop(identity.name, None)
        self._changed = True

    async def load(self) -> None:
        """Recall what an earlier run knew."""
        self._used = {**await self._threads(_read, self._file), **self._used}
        self._checked = {**await self._threads(_read, self._checks_file), **self._checked}

    @property
    def _checks_file(self) -> Path:
        return self._file.with_name("checked.json")

    async def save(self) -> None:
        """Write down what has changed."""
        if not self._changed:
            return
        self._changed = False
        try:
            await self._threads(write_json, self._file, dict(self._used))
            await self._threads(write_json, self._checks_file, dict(self._checked))
        except BaseException:
            self._changed = True
            raise

    async def tidy(self) -> None:
        """Forget what is superfluous, then write down what is known of the rest."""
        async with holding(self._turn):
            self._sizes = {}
            await self._forget_superfluous(self._forget_after)
            await self._mirrors.remove_left()
        known = {mirror.identity.name for mirror in self._mirrors}
        self._used = {name: at for name, at in self._used.items() if name in known}
        self._checked = {name: at for name, at in self._checked.items() if name in known}
        await self.save()

    def grown(self, identity: Identity) -> None:
        """Take notice that a mirror has grown, or is there: if all are too large now, those used least go at once."""
        if not self._limit:
            return
        waiting = bool(self._grown)
        self._grown.add(identity.name)
        if not waiting:
            self._background.start(self._fit(), "fitting of all mirrors")

    async def _fit(self) -> None:
        async with holding(self._turn):
            for name in self._grown:
                self._sizes.pop(name, None)
            self._grown = set()
            await self._forget_superfluous(0)

    async def _forget_superfluous(self, forget_after: float) -> None:
        for mirror in [
            mirror for mirror in self._mirrors if mirror.life.state in SERVING
        ]:  # in doubt, it takes room too
            if mirror.identity.name not in self._sizes:
                self._sizes[mirror.identity.name] = await self._threads(mirror.place.repository.size)
        kept = [self._kept(mirror) for mirror in self._mirrors if mirror.identity.name in self._sizes]
        for identity in superfluous(kept, self._clock.now(), limit=self._limit, forget_after=forget_after):
            self.log.info("forgetting the mirror of {repository}, which is used least", repository=identity.name)
            await self._mirrors.forget(identity)

    def _kept(self, mirror: Mirror) -> MirrorUse:
        name = mirror.identity.name
        return MirrorUse(
            mirror.identity, self._sizes[name], self._used.get(name, mirror.life.last_fetch or self._clock.now())
        )


def _read(file: Path) -> dict[str, float]:
    try:
        found = json.loads(file.read_text())
        return {str(name): float(at) for name, at in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
