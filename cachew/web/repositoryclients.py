"""Who has asked for each repository lately, and how often."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cachew.http.requests import StreamingRequest
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.identity import Identity
from cachew.mirrors.usage import MirrorUsage
from cachew.plumbing.clock import Clock

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


class RepositoryUse:
    """Takes note of who asks for which repository.

    :param clients: remembers whose requests they were.
    :param usage: remembers when and how often.
    :param mirrors: says which repositories there are.
    :param client_of: tells a request's client.
    """

    def __init__(
        self,
        *,
        clients: RepositoryClients,
        usage: MirrorUsage,
        mirrors: Mirrors,
        client_of: Callable[[Any], str],
    ) -> None:
        self._clients = clients
        self._usage = usage
        self._mirrors = mirrors
        self._client_of = client_of

    def note(self, identity: Identity, request: StreamingRequest) -> None:
        """Take notice of a request for a repository."""
        self._usage.used(identity)
        if self._mirrors.known_as(identity) is not None:
            self._clients.note(identity.name, self._client_of(request))
