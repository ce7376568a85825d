"""What people see of very many repositories costs what they are shown."""

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.interface import ObjectInfo
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.setaside import SetAside
from cachew.plumbing.background import Background
from cachew.plumbing.errors import StorageFull, UpstreamError, UpstreamTimeout
from cachew.web.archivestatus import ArchiveStatuses
from cachew.web.repositorylist import SORTS, Choice, RepositoryList
from cachew.web.repositorytable import Page, RepositoryTable
from cachew.web.statuses import Statuses
from cachew.web.upstreamchecks import UpstreamChecks
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, listing, oid
from tests.fakes.settled import failure_of, value_of

OTHER = Identity("git.example", "org/other")


class Silent:
    """Knows nothing of any repository."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def today(self, name: str) -> int:
        return 0

    def requests(self, identity: Identity) -> int:
        return 0

    async def refresh(self, names: list[str]) -> None:
        """Read nothing."""


class Gate(Silent):
    """A ref gate that remembers about whom it was asked, and some failures.

    :ivar failing: repositories whose upstream does not answer.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.failing: set[str] = set()

    @property
    def known(self) -> "Gate":
        """Return what is at hand of refs."""
        return self

    def failure(self, identity: Identity) -> UpstreamError | None:
        self.asked.append(identity.name)
        return UpstreamTimeout("https://git.example", "hangs") if identity.name in self.failing else None


class Snapshots:
    """Counts what is asked of the cache."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def stat(self, instance: Instance, variant: object) -> ObjectInfo | None:
        self.asked.append(instance.identity.name)
        return None


class Town:
    """So many repositories that hardly have anything."""

    def __init__(self, root: Path, count: int) -> None:
        self.house = MirrorHouse(root / "mirrors")
        self.clock, self.snapshots = FakeClock(), Snapshots()
        self.freshness = Gate()
        mirrors, freshness, usage = self.house.mirrors, cast(Any, self.freshness), cast(Any, Silent())
        self.briefs = RepositoryList(mirrors=mirrors, freshness=freshness, usage=usage, reactor=self.clock)
        self.statuses = statuses = Statuses(
            mirrors=mirrors,
            freshness=freshness,
            checks=UpstreamChecks(freshness=freshness, usage=usage, clock=FakeClock(now=1000.0)),
            archives=ArchiveStatuses(
                snapshots=cast(Any, self.snapshots),
                bundles=cast(Any, Silent()),
                packs=cast(Any, Silent()),
                reactor=self.clock,
            ),
            usage=usage,
            clones=cast(Any, Silent()),
            background=Background(),
        )
        self.table = RepositoryTable(mirrors=mirrors, briefs=self.briefs, statuses=statuses, reactor=self.clock)
        self.house.watchers.append(self.briefs.changed)
        for number in range(count):
            self.add(Identity("git.example", f"org/{number:04}"))

    def add(self, identity: Identity, error: str | None = None) -> None:
        """Have another one, which may have failed."""
        mirror = self.house.mirrors.obtain(identity)
        mirror.life.state, mirror.life.last_error = MirrorState.CLONING, error
        self.briefs.changed(identity)

    def names(self, **chosen: Any) -> list[str]:
        """Return what a page shows."""
        return [row.name.removeprefix("git.example/org/") for row in self.page(**chosen).rows]

    def page(self, matching: str = "", first: int = 0, **more: str) -> Page:
        """Return a page."""
        choice = Choice(matching=matching, first=first, **more)
        asked = Deferred.fromCoroutine(self.table.page(choice, 50))
        self.clock.pump([0.001] * 20)
        return value_of(asked)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """A large one."""
    return Town(tmp_path, 1200)


def test_a_page_asks_for_what_it_shows(town: Town) -> None:
    """Of twelve hundred repositories fifty are looked at."""
    page = town.page(first=100)
    assert [row.name for row in page.rows] == [f"git.example/org/{number:04}" for number in range(100, 150)]
    assert (page.choice.first, page.matching, page.known, page.ready) == (100, 1200, 1200, 0)
    assert len(town.snapshots.asked) == 50


def test_a_page_of_those_that_are_meant(town: Town) -> None:
    """Whoever looks for a name gets those that have it; a page beyond the last is the last."""
    page = town.page("ORG/11", 500)
    assert (page.choice.first, page.matching, len(page.rows)) == (50, 100, 50)
    assert town.page("nothing").rows == [] and town.page("nothing", 50).matching == 0


def test_what_is_broken_comes_first(tmp_path: Path) -> None:
    """Repositories with an error lead the list, whatever they are called, then those that are not up to date."""
    town = Town(tmp_path, 3)
    town.add(Identity("git.example", "org/zebra"), "no space left")
    assert town.names() == ["zebra", "0000", "0001", "0002"]
    town.freshness.failing = {"git.example/org/0002"}
    assert town.names() == ["zebra", "0000", "0001", "0002"]
    town.briefs.changed(Identity("git.example", "org/0002"))
    assert town.names() == ["0002", "zebra", "0000", "0001"]


def test_only_what_has_changed_is_looked_at(town: Town) -> None:
    """A page after the first looks at what it shows, and at what has changed since."""
    town.page()
    town.freshness.asked.clear()
    town.page()
    assert len(town.freshness.asked) == 50
    town.add(Identity("git.example", "org/0700"), "broken")
    town.freshness.asked.clear()
    page = town.page()
    assert len(town.freshness.asked) == 51
    assert page.rows[0].name == "git.example/org/0700" and page.states["error"] == 1


def test_those_that_nobody_has_looked_at_since_the_start(tmp_path: Path) -> None:
    """A page counts them and shows the others at once; who asks for one, or for all, gets it once it was looked at."""
    value_of(MirrorHouse(tmp_path / "mirrors").made())
    town = Town(tmp_path, 0)
    value_of(Deferred.fromCoroutine(town.house.discovery.discover()))
    page = town.page()
    assert (page.rows, page.known, page.unseen) == ([], 0, 1)
    everything = Deferred.fromCoroutine(town.table.all())
    assert not everything.called
    assert value_of(Deferred.fromCoroutine(town.statuses.one(REPOSITORY))).state == "ready"
    assert [one.name for one in value_of(everything)] == [REPOSITORY.name]
    assert (town.page().known, town.page().unseen) == (1, 0)


def test_a_choice_by_state_and_upstream(tmp_path: Path) -> None:
    """The list is narrowed to a state, which may be that of an error, and to an upstream; each is counted."""
    town = Town(tmp_path, 2)
    town.add(Identity("other.example", "a/b"), "refused")
    assert town.names(state="error") == ["other.example/a/b"]
    assert town.names(state="cloning", host="git.example") == ["0000", "0001"]
    assert town.names(state="ready") == []
    page = town.page()
    assert page.hosts == ["git.example", "other.example"]
    assert (page.states["cloning"], page.states["error"], page.states["ready"]) == (3, 1, 0)


def test_columns_are_sorted_both_ways(tmp_path: Path) -> None:
    """By name, and by what a mirror has; a column that there is not sorts as if none were named."""
    town = Town(tmp_path, 2)
    value_of(town.house.made())
    assert town.names(sort="refs") == ["repo", "0000", "0001"]
    assert town.names(sort="-refs") == ["0000", "0001", "repo"]
    assert town.names(sort="-name") == ["repo", "0001", "0000"]
    for sort in (*SORTS, *(f"-{name}" for name in SORTS), "other", "-"):
        assert sorted(town.names(sort=sort)) == ["0000", "0001", "repo"]


def test_what_could_not_be_mirrored_is_shown_until_it_is_forgotten(tmp_path: Path) -> None:
    """A clone that fails is what an operator looks for; the next attempt, or forgetting it, takes it off the list."""
    town = Town(tmp_path, 0)
    town.house.free = 0
    assert isinstance(failure_of(town.house.made()), StorageFull)
    (row,) = town.page(state="error").rows
    assert (row.name, row.state, row.requests) == ("git.example/org/repo", "empty", 0)
    assert "bytes left" in row.error
    value_of(Deferred.fromCoroutine(town.house.mirrors.forget(REPOSITORY)))
    assert town.names() == []


def test_all_of_them_take_several_turns(town: Town) -> None:
    """Others have their turn while all are listed and shown, and while they are summed up."""
    shown = list[str]()
    asked = Deferred.fromCoroutine(town.table.each(lambda status: shown.append(status.name)))
    assert not asked.called and len(town.snapshots.asked) == len(shown) == 50
    town.clock.pump([0.001] * 24)
    assert len(value_of(asked)) == 1200
    assert not Deferred.fromCoroutine(town.table.page(Choice(), 50)).called


def test_what_is_shown_of_a_mirror(tmp_path: Path) -> None:
    """Its refs are counted when they change, not when somebody looks, also while they are not at hand."""
    town = Town(tmp_path, 0)
    mirror = value_of(town.house.made())
    value_of(town.house.sync(mirror, listing(main="2", topic="3")))
    town.house.listings.limit = 0
    town.house.listings.put(OTHER, "its own", None)
    (row,) = town.page().rows
    assert (row.refs, row.head, row.state) == (2, oid("2"), "ready")
    assert town.page().ready == 1


def test_what_does_not_differ_is_compared_once(tmp_path: Path) -> None:
    """A listing that was found not to differ does not until something changes."""
    house = MirrorHouse(tmp_path / "mirrors")
    mirror: Mirror = value_of(house.made())
    same = listing(main="1")
    assert not mirror.refs.behind(same) and not mirror.refs.behind(same)
    value_of(house.sync(mirror, listing(main="2")))
    assert mirror.refs.behind(same)
    assert isinstance(mirror.refs.set_aside, SetAside)
