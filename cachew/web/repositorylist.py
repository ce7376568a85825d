"""All repositories in brief, kept by events: what there is to count, to choose and to sort by without a look at any.

Whoever changes something that people see of a repository says so (:meth:`RepositoryList.changed`); the next page looks
at those again, and at no other. What changes with every request (when it was used, how often) is read when it is sorted
by.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.mirrors.collection import Mirrors
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.usage import MirrorUsage

ERROR, STALE = "error", "stale"
STATES = (ERROR, STALE, "suspect", "cloning", "restoring", "fetching", "ready")
"""What can be chosen by."""
BUSY_STATES = frozenset({"cloning", "restoring", "fetching", "suspect"})
"""Those in which something is done."""
SORTS = ("name", "state", "checked", "fetched", "refs", "size", "requests", "used")
"""What can be sorted by; otherwise what is broken comes first."""
_IN_ONE_TURN = 100


@dataclass(frozen=True, slots=True)
class Brief:
    """What is known of a repository for every page.

    :param mirror: its mirror.
    :param kinds: its state, and what else it can be chosen by.
    :param size: bytes of its mirror.
    :param refs: how many refs it has.
    """

    mirror: Mirror
    name: str
    kinds: tuple[str, ...]
    ready: bool
    size: int
    refs: int

    @property
    def rank(self) -> int:
        """How broken it is, the most first."""
        return min(STATES.index(kind) if kind in STATES else len(STATES) for kind in self.kinds)

    @property
    def place(self) -> tuple[int, str]:
        """Where it belongs when what is broken comes first."""
        return self.rank, self.name


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which repositories somebody wants to see, and in which order.

    :param matching: what is part of their names, in whatever case.
    :param state: one of :data:`STATES`, empty for all.
    :param host: their upstream, empty for all.
    :param sort: one of :data:`SORTS`, with a ``-`` before it for the other way round; empty for what is broken first.
    :param first: how many of these are left out.
    """

    matching: str = ""
    state: str = ""
    host: str = ""
    sort: str = ""
    first: int = 0


@dataclass
class Sums:
    """What is known of all.

    :param known: how many there are.
    :param ready: how many of these serve.
    :param mirrored: bytes that their mirrors occupy.
    :param states: how many are in which state.
    :param hosts: how many each upstream has.
    """

    known: int = 0
    ready: int = 0
    mirrored: int = 0
    states: Counter[str] = field(default_factory=Counter)
    hosts: Counter[str] = field(default_factory=Counter)

    def count(self, brief: Brief, by: int) -> None:
        """Add a repository, or take it out."""
        self.known += by
        self.ready += by * brief.ready
        self.mirrored += by * brief.size
        self.hosts[brief.mirror.identity.host] += by
        for kind in brief.kinds:
            self.states[kind] += by


class RepositoryList:
    """The list.

    :param mirrors: the mirrors.
    :param freshness: the ref gate.
    :param usage: knows when repositories were asked for.
    :param reactor: gives others their turn while very many are looked at.
    """

    def __init__(self, *, mirrors: Mirrors, freshness: Freshness, usage: MirrorUsage, reactor: IReactorTime) -> None:
        self._mirrors = mirrors
        self._freshness = freshness
        self._usage = usage
        self._reactor = reactor
        self._briefs: dict[Identity, Brief] = {}
        self._in_order: list[Brief] = []
        self._places: list[tuple[int, str]] = []
        self._changed: set[Identity] = set()
        self.sums = Sums()

    def changed(self, identity: Identity) -> None:
        """Take notice that people would see something else of a repository than before."""
        self._changed.add(identity)

    async def refresh(self) -> None:
        """Look again at what has changed."""
        looked = 0
        while self._changed:
            self._look_at(self._changed.pop())
            looked += 1
            if looked % _IN_ONE_TURN == 0:
                await deferLater(self._reactor, 0)

    def _look_at(self, identity: Identity) -> None:
        before = self._briefs.pop(identity, None)
        if before is not None:
            at = bisect_left(self._places, before.place)
            del self._in_order[at], self._places[at]
            self.sums.count(before, -1)
        mirror = self._mirrors.known_as(identity)
        if mirror is not None:
            brief = self._briefs[identity] = self._brief(mirror)
            at = bisect_left(self._places, brief.place)
            self._in_order.insert(at, brief)
            self._places.insert(at, brief.place)
            self.sums.count(brief, 1)

    def _brief(self, mirror: Mirror) -> Brief:
        identity = mirror.identity
        failure, known = self._freshness.known.failure(identity), self._freshness.known.listing(identity)
        kinds = [mirror.life.condition]
        if mirror.life.last_error or failure is not None:
            kinds.append(ERROR)
        if failure is not None or (known is not None and mirror.life.ready and mirror.refs.behind(known)):
            kinds.append(STALE)
        size = mirror.place.repository.ledger.size if mirror.life.ready else 0
        return Brief(mirror, identity.name, tuple(kinds), mirror.life.ready, size or 0, mirror.refs.summary.refs)

    def chosen(self, choice: Choice) -> list[Mirror]:
        """Return those that somebody wants to see, in his order."""
        meant = self._in_order
        if choice.matching or choice.state or choice.host:
            meant = self._narrowed(choice)
        return [brief.mirror for brief in self._sorted(meant, choice.sort)]

    def _narrowed(self, choice: Choice) -> list[Brief]:
        wanted, state, host = choice.matching.casefold(), choice.state, choice.host
        return [
            brief
            for brief in self._in_order
            if (not wanted or wanted in brief.name.casefold())
            and (not state or state in brief.kinds)
            and (not host or host == brief.mirror.identity.host)
        ]

    def _sorted(self, briefs: list[Brief], sort: str) -> list[Brief]:
        """Return those in the order of a column; they are in that of what is broken first."""
        name, backwards = sort.removeprefix("-"), sort.startswith("-")
        if name not in SORTS:
            return briefs
        by_name = sorted(briefs, key=lambda brief: brief.name)
        return sorted(by_name, key=self._keys()[name], reverse=backwards)

    def _keys(self) -> Mapping[str, Callable[[Brief], Any]]:
        """Return by what is sorted: the greatest, the latest used and the longest neglected come first."""
        usage = self._usage
        return {
            "name": lambda brief: brief.name,
            "state": lambda brief: (brief.rank, brief.kinds),
            "checked": lambda brief: usage.last_checked(brief.mirror.identity) or brief.mirror.life.last_fetch or 0.0,
            "fetched": lambda brief: brief.mirror.life.last_fetch or 0.0,
            "refs": lambda brief: -brief.refs,
            "size": lambda brief: -brief.size,
            "requests": lambda brief: -usage.requests(brief.mirror.identity),
            "used": lambda brief: -(usage.last_used(brief.mirror.identity) or 0.0),
        }
