"""What can be asked and done in the manhole, in words that need no knowledge of the server's parts."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cachew.mirrors.identity import Grammar
from cachew.plumbing.clock import Clock
from cachew.replicas.leases import Leases, Watching
from cachew.web.actions import RepositoryWork
from cachew.web.repositorytable import RepositoryTable
from cachew.web.statuses import RepositoryStatus, Statuses
from cachew.web.storecounts import CacheStatus, StoreCounts


class NamedMirror:
    """One repository's mirror: fetch(), snapshot(), repack(), scrub(), forget(), status().

    :param name: ``host/path``.
    """

    def __init__(self, name: str, *, statuses: Statuses, work: RepositoryWork, grammar: Grammar) -> None:
        self._identity = grammar.from_decoded(name)
        self._statuses = statuses
        self._work = work

    def __repr__(self) -> str:
        return f"mirror({self._identity.name!r}): {inspect.getdoc(type(self))}".partition("\n")[0]

    async def status(self) -> RepositoryStatus:
        """Return all that is known of it."""
        return await self._statuses.one(self._identity)

    async def fetch(self) -> str:
        """Fetch now; one that is not mirrored is."""
        return await self._begin("fetch")

    async def snapshot(self) -> str:
        """Make its snapshot now."""
        return await self._begin("snapshot")

    async def repack(self) -> str:
        """Repack it now."""
        return await self._begin("repack")

    async def scrub(self) -> str:
        """Read all of it now, and mend or replace what is damaged."""
        return await self._begin("scrub")

    async def forget(self) -> str:
        """Remove all that is kept of it."""
        return await self._begin("forget")

    async def _begin(self, action: str) -> str:
        await self._work.act(self._identity, action)
        return f"{action} of {self._identity.name} has begun"


class Shell:
    """The functions of the shell.

    :param statuses: what is known of a repository.
    :param table: all repositories.
    :param work: what can be done with one.
    :param stores: how full they are.
    :param leases: what replicas work on.
    :param grammar: how repositories are named.
    :param clock: what time it is.
    """

    def __init__(
        self,
        *,
        statuses: Statuses,
        table: RepositoryTable,
        work: RepositoryWork,
        stores: StoreCounts,
        leases: Leases,
        grammar: Grammar,
        clock: Clock,
    ) -> None:
        self._statuses = statuses
        self._table = table
        self._work = work
        self._stores = stores
        self._leases = leases
        self._grammar = grammar
        self._clock = clock

    def names(self) -> Mapping[str, Any]:
        """Return them by their names."""
        return {
            "repositories": self.repositories,
            "mirror": self.mirror,
            "caches": self.caches,
            "leases": self.leases,
            "why": self.why,
        }

    async def repositories(self) -> list[str]:
        """List what is mirrored, each with its state and what is wrong with it."""
        return [
            f"{one.name}: {one.state}{', stale' if one.stale else ''}{f', {one.error}' if one.error else ''}"
            for one in await self._table.all()
        ]

    def mirror(self, name: str) -> NamedMirror:
        """Return one repository's mirror: mirror("host/org/repo").fetch()."""
        return NamedMirror(name, statuses=self._statuses, work=self._work, grammar=self._grammar)

    def caches(self) -> Sequence[CacheStatus]:
        """List the stores and how full they are."""
        return self._stores.last()

    def leases(self) -> Sequence[Watching]:
        """List the work that other replicas do at present, as far as this one wanted to do it."""
        return self._leases.known()

    async def why(self, name: str) -> str:
        """Say in a paragraph what is known of a repository, and from where its clients are answered."""
        identity = self._grammar.from_decoded(name)
        known = {one.name: one for one in await self._table.all()}
        status = known.get(identity.name)
        if status is None:
            return (
                f"{identity.name} is not mirrored: the first request for it has it mirrored, and the upstream answers."
            )
        return why(status, self._clock.now())


def why(status: RepositoryStatus, now: float) -> str:
    """Return a paragraph on a repository."""
    ready = status.state in ("ready", "fetching")
    sentences = [f"{status.name} is {status.state}, its upstream was last asked {_ago(status.checked, now)}"]
    if status.error:
        sentences.append(f"what last went wrong: {status.error}")
    if ready and status.stale:
        sentences.append("its refs differ from the upstream's, or that could not be asked")
    sentences.append(
        "refs are answered from what the upstream lists, objects from the mirror or a kept pack"
        if ready
        else "clients are answered by the upstream, since the mirror does not serve"
    )
    sentences.append(
        "there is no cached snapshot"
        if status.snapshot is None
        else f"its snapshot is sent from the cache and was made {_ago(status.snapshot, now)}"
    )
    return "; ".join(sentences) + "."


def _ago(then: float | None, now: float) -> str:
    return "never" if then is None else f"{max(0.0, now - then):.0f} s ago"


def described(names: Mapping[str, object]) -> str:
    """Return what each function of the shell does, one a line."""
    functions = {name: one for name, one in names.items() if inspect.isroutine(one)}
    lines = [
        f"{_call(name, one):<34} {(inspect.getdoc(one) or '').partition(chr(10))[0]}" for name, one in functions.items()
    ]
    return "\n".join(lines)


def _call(name: str, function: Callable[..., object]) -> str:
    return f'{name}("host/org/repo")' if inspect.signature(function).parameters else f"{name}()"
