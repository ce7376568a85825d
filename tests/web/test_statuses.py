"""What people see of very many repositories costs what they are shown."""

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.interface import ObjectInfo
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.machine import State
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.setaside import SetAside
from cachew.plumbing.background import Background
from cachew.web.statuses import Page, Statuses
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import MirrorHouse, listing, oid
from tests.fakes.settled import value_of

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
        for number in range(count):
            mirror = self.house.mirrors.obtain(Identity("git.example", f"org/{number:04}"))
            mirror.state = State.CLONING
        self.statuses = Statuses(
            mirrors=self.house.mirrors,
            freshness=cast(Any, Silent()),
            snapshots=cast(Any, self.snapshots),
            usage=cast(Any, Silent()),
            clones=cast(Any, Silent()),
            background=Background(),
            reactor=self.clock,
            clock=FakeClock(now=1000.0),
        )

    def page(self, matching: str = "", first: int = 0) -> Page:
        """Return a page."""
        asked = Deferred.fromCoroutine(self.statuses.page(matching, first, 50))
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
    assert (page.first, page.matching, page.known, page.ready) == (100, 1200, 1200, 0)
    assert len(town.snapshots.asked) == 50


def test_a_page_of_those_that_are_meant(town: Town) -> None:
    """Whoever looks for a name gets those that have it; a page beyond the last is the last."""
    page = town.page("ORG/11", 500)
    assert (page.first, page.matching, len(page.rows)) == (50, 100, 50)
    assert town.page("nothing").rows == [] and town.page("nothing", 50).matching == 0


def test_all_of_them_take_several_turns(town: Town) -> None:
    """Others have their turn while all are listed, and while they are summed up."""
    asked = Deferred.fromCoroutine(town.statuses.all())
    assert not asked.called and len(town.snapshots.asked) == 50
    town.clock.pump([0.001] * 24)
    assert len(value_of(asked)) == 1200
    assert not Deferred.fromCoroutine(town.statuses.page("", 0, 50)).called


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
    assert not mirror.behind(same) and not mirror.behind(same)
    value_of(house.sync(mirror, listing(main="2")))
    assert mirror.behind(same)
    assert isinstance(mirror.set_aside, SetAside)
