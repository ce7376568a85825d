"""All repositories in brief: looked at when they change, counted, chosen and sorted; mirrors are played."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.web.repositorylist import Choice, RepositoryList
from cachew.web.repositorytable import RepositoryTable
from tests.fakes.clock import FakeClock
from tests.fakes.settled import result_of, value_of

DOWN = RuntimeError("is down")


class World:
    """Mirrors, and what is known of them."""

    def __init__(self, *names: str) -> None:
        self.clock = FakeClock()
        self.mirrors: dict[Identity, Any] = {}
        self.failures: dict[Identity, Exception] = {}
        self.used: dict[Identity, float] = {}
        self.looked: list[str] = []
        self.first_looks = self
        self.unseen: list[Identity] = []
        known = SimpleNamespace(failure=self.failures.get, listing=lambda identity: None)
        usage = SimpleNamespace(
            last_checked=lambda identity: None,
            requests=lambda identity: 0,
            last_used=self.used.get,
        )
        self.list = RepositoryList(
            mirrors=cast(Any, self),
            freshness=cast(Any, SimpleNamespace(known=known)),
            usage=cast(Any, usage),
            reactor=self.clock,
        )
        self.table = RepositoryTable(
            mirrors=cast(Any, self), briefs=self.list, statuses=cast(Any, self), reactor=self.clock
        )
        for name in names:
            self.put(name)

    def put(
        self, name: str, *, size: int = 10, condition: str = "ready", error: str = "", fetched: float = 0.0
    ) -> None:
        """Let a repository be so from now on."""
        identity = Identity(*name.split("/", 1))
        ready = condition == "ready"
        self.mirrors[identity] = SimpleNamespace(
            identity=identity,
            life=SimpleNamespace(condition=condition, last_error=error, ready=ready, last_fetch=fetched),
            place=SimpleNamespace(repository=SimpleNamespace(ledger=SimpleNamespace(size=size))),
            refs=SimpleNamespace(summary=SimpleNamespace(refs=size), behind=lambda listing: False),
        )
        self.list.changed(identity)

    def drop(self, name: str) -> None:
        """Let there be no such repository any more."""
        identity = Identity(*name.split("/", 1))
        del self.mirrors[identity]
        self.list.changed(identity)

    async def over(self) -> None:
        """Everything was looked at since the start."""

    def known_as(self, identity: Identity) -> Any:
        self.looked.append(identity.name)
        return self.mirrors.get(identity)

    def known(self) -> list[Any]:
        return list(self.mirrors.values())

    async def of(self, mirrors: list[Any]) -> list[str]:
        """Return what is shown of some."""
        return [mirror.identity.name for mirror in mirrors]

    def chosen(self, **choice: Any) -> list[str]:
        result_of(self.list.refresh())
        return [mirror.identity.name for mirror in self.list.chosen(Choice(**choice))]

    def page(self, count: int, **choice: Any) -> Any:
        return result_of(self.table.page(Choice(**choice), count))


def test_what_is_broken_comes_first() -> None:
    """Then by name."""
    world = World("h/b", "h/a")
    world.put("h/z", error="no")
    world.put("h/y", condition="cloning")
    assert world.chosen() == ["h/z", "h/y", "h/a", "h/b"]


def test_only_what_has_changed_is_looked_at() -> None:
    """However many there are, and each once."""
    world = World("h/a", "h/b")
    world.chosen()
    world.looked.clear()
    world.put("h/a", size=20)
    world.put("h/a", size=30)
    world.chosen()
    world.chosen()
    assert world.looked == ["h/a"]


def test_sums_follow_what_changes() -> None:
    """Also what goes, and goes twice."""
    world = World("h/a", "h/b", "i/c")
    world.chosen()
    world.put("h/a", size=50, condition="suspect", error="x")
    world.drop("i/c")
    world.list.changed(Identity("i", "c"))
    world.list.changed(Identity("i", "never"))
    page = world.page(25)
    assert (page.known, page.ready, page.mirrored, page.hosts) == (2, 1, 10, ["h"])
    assert {state: count for state, count in page.states.items() if count} == {"error": 1, "suspect": 1, "ready": 1}
    for name in ("h/a", "h/b"):
        world.drop(name)
    page = world.page(25)
    assert (page.known, page.ready, page.mirrored, page.hosts, list(page.rows)) == (0, 0, 0, [], [])


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ({"matching": "B"}, ["h/b"]),
        ({"state": "cloning"}, ["i/c"]),
        ({"host": "h"}, ["h/a", "h/b"]),
        ({"host": "h", "matching": "a", "state": "ready"}, ["h/a"]),
        ({"state": "nothing"}, []),
        ({"matching": "h/"}, ["h/a", "h/b"]),
    ],
)
def test_what_somebody_wants_to_see(choice: dict[str, str], found: list[str]) -> None:
    """All of what is asked for has to be so."""
    world = World("h/a", "h/b")
    world.put("i/c", condition="cloning")
    assert world.chosen(**choice) == found


@pytest.mark.parametrize(
    ("sort", "found"),
    [
        ("name", "abc"),
        ("-name", "cba"),
        ("size", "bca"),
        ("-size", "acb"),
        ("fetched", "acb"),
        ("used", "cab"),
        ("state", "cab"),
        ("nonsense", "cab"),
        ("-", "cab"),
    ],
)
def test_the_order_that_somebody_wants(sort: str, found: str) -> None:
    """The greatest and the latest used come first, and what is alike by its name."""
    world = World()
    world.put("h/a", size=1, fetched=1)
    world.put("h/b", size=3, fetched=3)
    world.put("h/c", size=2, fetched=2, condition="fetching")
    world.put("h/c", size=2, fetched=2, error="x")
    world.used[Identity("h", "c")] = 5.0
    assert "".join(name[-1] for name in world.chosen(sort=sort)) == found


@pytest.mark.parametrize(
    ("first", "begins", "rows"), [(0, 0, 10), (9, 0, 10), (10, 10, 10), (29, 20, 5), (10**9, 20, 5), (-5, 0, 10)]
)
def test_a_page_begins_where_pages_begin(first: int, begins: int, rows: int) -> None:
    """Wherever somebody says that it does; the last is shown to who asks for what is behind it."""
    world = World(*(f"h/{number:02}" for number in range(25)))
    page = world.page(10, first=first)
    assert (page.choice.first, len(page.rows), page.matching) == (begins, rows, 25)
    assert page.rows[0] == f"h/{begins:02}"


def test_others_have_their_turn_while_very_many_are_looked_at() -> None:
    """And when all are listed; what changes meanwhile is looked at too."""
    world = World(*(f"h/{number:03}" for number in range(150)))
    refreshing = Deferred.fromCoroutine(world.list.refresh())
    assert not refreshing.called
    world.put("h/000", size=99)
    world.clock.advance(0)
    assert value_of(refreshing) is None
    assert world.list.sums.mirrored == 149 * 10 + 99
    listing = Deferred.fromCoroutine(world.table.all())
    assert not listing.called
    world.clock.advance(0)
    assert list(cast(Any, value_of(listing))) == [f"h/{number:03}" for number in range(150)]
