"""Who has asked for each repository lately, how often and when, and when it was compared with its upstream."""

import json
from collections import Counter, OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.clock import Clock
from cachew.plumbing.jsonfile import write_json
from cachew.plumbing.threads import Threads

KEPT = 20
"""Clients of one repository."""
_REPOSITORIES = 5000


@dataclass(frozen=True)
class ClientUse:
    """A client's use of a repository.

    :param client: its address.
    :param requests: how many it has sent since it was first seen.
    :param last: when it sent the last, in seconds since the epoch.
    """

    client: str
    requests: int
    last: float


class RepositoryClients:
    """Remembers the last clients of each repository; of those asked for longest ago, none.

    :param clock: tells the time of day.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._clients: OrderedDict[str, OrderedDict[str, ClientUse]] = OrderedDict()

    def note(self, name: str, client: str) -> None:
        """Take notice that a client asks for a repository."""
        known = self._clients.pop(name, None)
        if known is None:
            known = OrderedDict()
        self._clients[name] = known
        before = known.pop(client, None) or ClientUse(client, 0, 0.0)
        known[client] = replace(before, requests=before.requests + 1, last=self._clock.now())
        if len(known) > KEPT:
            known.popitem(last=False)
        if len(self._clients) > _REPOSITORIES:
            self._clients.popitem(last=False)

    def of(self, name: str) -> Sequence[ClientUse]:
        """Return a repository's clients, who asked last first."""
        return list(reversed(self._clients.get(name, {}).values()))


class MirrorUsage:
    """Remembers when each mirror was last asked for and last compared.

    :param mirrors: the mirrors.
    :param file: what is remembered across restarts.
    :param threads: for looking at files.
    :param clock: what time it is.
    :ivar clients: whose requests they were.
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
        self.clients = RepositoryClients(clock=clock)

    def note(self, identity: Identity, client: str) -> None:
        """Note that a client asks for a repository; whose request it was is remembered where there is a mirror."""
        mirror = self._mirrors.known_as(identity)
        if mirror is not None:
            self._count(mirror)
            self.clients.note(identity.name, client)

    def used(self, identity: Identity) -> None:
        """Note that somebody asks for a repository."""
        mirror = self._mirrors.find(identity)
        if mirror is not None:
            self._count(mirror)

    def _count(self, mirror: Mirror) -> None:
        if mirror.life.state is not MirrorState.EMPTY:
            name = mirror.identity.name
            self._used[name] = self._clock.now()
            self._requests[name] += 1
            self._changed = True

    def checked(self, identity: Identity, *said: object) -> None:
        """Note that a repository's upstream has just said what its refs are.

        :param said: what, which does not matter here.
        """
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
