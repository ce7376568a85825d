"""The table of all repositories: whole, or a page of those that somebody wants to see."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.mirrors.collection import Mirrors
from cachew.web.repositorylist import STATES, Choice, RepositoryList
from cachew.web.statuses import RepositoryStatus, Statuses

T = TypeVar("T")

_AT_ONCE = 50
PAGE = 25
"""Repositories on a page."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """Some repositories, and what is known of all.

    :param rows: these.
    :param choice: what was asked for, with as many left out as were.
    :param matching: how many there are of the kind that was asked for.
    :param known: how many there are.
    :param ready: how many of these serve.
    :param unseen: how many more are on disk and were not looked at since the start.
    :param mirrored: bytes that their mirrors occupy.
    :param states: how many are in which state; one may be in several.
    :param hosts: their upstreams.
    """

    rows: Sequence[RepositoryStatus] = ()
    choice: Choice = field(default_factory=Choice)
    matching: int = 0
    known: int = 0
    ready: int = 0
    unseen: int = 0
    mirrored: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    hosts: Sequence[str] = ()


class RepositoryTable:
    """Every repository that is mirrored or about to be.

    :param mirrors: the mirrors.
    :param briefs: what can be chosen by.
    :param statuses: what is shown of each.
    :param reactor: gives others their turn while all are listed.
    """

    def __init__(self, *, mirrors: Mirrors, briefs: RepositoryList, statuses: Statuses, reactor: IReactorTime) -> None:
        self._mirrors = mirrors
        self._briefs = briefs
        self._statuses = statuses
        self._reactor = reactor

    async def all(self) -> Sequence[RepositoryStatus]:
        """Return all in the order of their names once each was looked at."""
        return await self.each(lambda status: status)

    async def each(self, shown: Callable[[RepositoryStatus], T]) -> list[T]:
        """Return what is made of each, in the order of their names; others have their turn meanwhile."""
        await self._mirrors.first_looks.over()
        found: list[T] = []
        mirrors = sorted(self._mirrors.known(), key=lambda mirror: mirror.identity.name)
        for start in range(0, len(mirrors), _AT_ONCE):
            if start:
                await deferLater(self._reactor, 0)
            found += map(shown, await self._statuses.of(mirrors[start : start + _AT_ONCE]))
        return found

    async def page(self, choice: Choice, count: int = PAGE) -> Page:
        """Return some of them, and what is known of all."""
        await self._briefs.refresh()
        meant, sums = self._briefs.chosen(choice), self._briefs.sums
        first = max(0, min(choice.first, len(meant) - 1) // count * count)
        return Page(
            rows=await self._statuses.of(meant[first : first + count]),
            choice=replace(choice, first=first),
            matching=len(meant),
            known=sums.known,
            ready=sums.ready,
            unseen=len(self._mirrors.first_looks.unseen),
            mirrored=sums.mirrored,
            states={state: sums.states[state] for state in STATES},
            hosts=sorted(host for host, number in sums.hosts.items() if number > 0),
        )
