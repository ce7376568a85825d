"""What the admin pages, the webhooks and the shell can see and do, as an interface that the service implements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from cachew.mirrors.identity import Identity

ACTIONS = ("fetch", "snapshot", "repack", "forget")
"""What can be asked for a repository."""


@dataclass(frozen=True, kw_only=True)
class RepositoryStatus:
    """One repository, as people want to see it. Times are seconds since the epoch, None for never.

    :param name: ``host/path``.
    :param state: the mirror's state (``empty``, ``cloning``, ``restoring``, ``ready``, ``fetching``, ``repairing``).
    :param size: bytes that the mirror occupies, None when not measured yet.
    :param refs: how many refs it has.
    :param head: the commit that HEAD names.
    :param checked: when its upstream last said what its refs are.
    :param fetched: when the last fetch into it succeeded.
    :param snapshot: when its cached snapshot was made.
    :param snapshot_size: bytes of that.
    :param used: when a client last asked for it.
    :param requests: how many requests it has answered since the start.
    :param clones_today: how often all replicas together have served clones of it since midnight UTC.
    :param stale: whether its refs are known to differ from the upstream's.
    :param error: what last went wrong, empty when nothing has since it last went right.
    """

    name: str
    state: str
    size: int | None = None
    refs: int = 0
    head: str | None = None
    checked: float | None = None
    fetched: float | None = None
    snapshot: float | None = None
    snapshot_size: int | None = None
    used: float | None = None
    requests: int = 0
    clones_today: int = 0
    stale: bool = False
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class CacheStatus:
    """A store and how full it is.

    :param capacity: its limit in bytes, 0 for none.
    :param error: what is wrong with it, empty when it works.
    """

    name: str
    objects: int
    size: int
    capacity: int
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkStatus:
    """A piece of work under way.

    :param kind: ``fetch``, ``snapshot``, ``serve``, …
    :param began: seconds since the epoch.
    """

    kind: str
    repository: str
    began: float


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The whole server at one moment.

    :param now: seconds since the epoch.
    :param started: when it started.
    :param served: git requests so far by where the answer came from.
    :param waiting: requests that wait for a git process.
    :param troubles: what does not work though the server serves, in words.
    """

    now: float
    started: float
    served: Mapping[str, int] = field(default_factory=dict)
    caches: Sequence[CacheStatus] = ()
    work: Sequence[WorkStatus] = ()
    waiting: int = 0
    troubles: Sequence[str] = ()


class Operations(Protocol):
    """The server, to those who look after it."""

    def unready(self) -> str:
        """Return why the server does not want traffic (warming up, shutting down), empty when it does."""

    def troubles(self) -> Sequence[str]:
        """Return what does not work though the server serves, in words fit for everybody."""

    def served(self) -> Mapping[str, int]:
        """Return the git requests answered so far, by where the answer came from."""

    async def overview(self) -> Overview:
        """Return the state of the server as a whole."""

    async def repositories(self) -> Sequence[RepositoryStatus]:
        """Return every repository that is known, in the order of their names."""

    async def act(self, identity: Identity, action: str) -> None:
        """Begin one of :data:`ACTIONS`; its end is not waited for.

        :raise NotFound: when no such repository is mirrored.
        :raise Busy: when it can't begin now.
        """

    async def pushed(self, identity: Identity) -> bool:
        """Take notice that something was pushed to a repository's upstream.

        :return: whether its mirror fetches now; False when there is none.
        """
