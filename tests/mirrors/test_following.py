"""What a listing shows to be new is fetched behind, and nothing else is; mirrors are played."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.following import Following
from cachew.plumbing.background import Background
from cachew.plumbing.errors import UpstreamUnreachable
from cachew.upstream.listing import Listing
from tests.fakes.mirrorgit import REPOSITORY, listing

KIND = ("refs/heads/",)


class World:
    """A mirror that is behind, or not, and what is asked of it."""

    def __init__(self) -> None:
        self.ready = True
        self.behind = True
        self.fails: Exception | None = None
        self.gate: Deferred[None] | None = None
        self.asked: list[object] = []
        self.background = Background()
        self.mirror = SimpleNamespace(refs=self, updates=self, maintenance=self)
        mirrors = SimpleNamespace(ready=lambda identity: self.mirror if self.ready else None)
        # What follows asks refs whether they are behind, which is a question here and an answer above.
        self.mirror.refs = SimpleNamespace(
            behind=lambda listing: self.behind,
            moved=lambda kind, listing: {"refs/heads/main": None} if self.behind else {},
        )
        self.following = Following(mirrors=cast(Any, mirrors), background=self.background)

    async def sync(self, listing: Listing, started: float) -> None:
        await self._fetch(listing, started)

    async def sync_part(self, moved: Any, started: float) -> None:
        await self._fetch(moved, started)

    async def _fetch(self, what: object, started: float) -> None:
        self.asked.append((what, started))
        if self.gate is not None:
            await self.gate
        if self.fails is not None:
            raise self.fails

    fetches = 7

    async def index_after_fetch(self, fetches: int) -> None:
        self.asked.append(f"after {fetches}")

    def listed(self, *, part: bool) -> object:
        """Let an upstream list something, and return what is fetched because of it."""
        if part:
            self.following.listed_in_part(REPOSITORY, KIND, listing(main="2"), 5.0)
            return {"refs/heads/main": None}
        self.following.listed(REPOSITORY, listing(main="2"), 5.0)
        return listing(main="2")


@pytest.mark.parametrize("part", [False, True])
def test_what_is_new_is_fetched(part: bool) -> None:
    """As it was listed, and with when."""
    world = World()
    assert world.listed(part=part) == world.asked[0][0]  # type: ignore[index]
    assert world.asked[0][1] == 5.0  # type: ignore[index]
    assert world.asked[1:] == ["after 7"]


@pytest.mark.parametrize("part", [False, True])
def test_what_is_known_is_not_fetched(part: bool) -> None:
    """Nor anything where there is no mirror that serves."""
    world = World()
    world.behind = False
    world.listed(part=part)
    world.behind, world.ready = True, False
    world.listed(part=part)
    assert world.asked == []


@pytest.mark.parametrize("part", [False, True])
def test_nobody_waits_for_it(part: bool) -> None:
    """It goes on behind, and is known to."""
    world = World()
    world.gate = Deferred()
    world.listed(part=part)
    assert [what for what, _ in world.background.under_way] == [f"fetch of {REPOSITORY.name}"]
    world.gate.callback(None)
    assert world.background.under_way == []
    assert world.asked[1:] == ["after 7"]


@pytest.mark.parametrize("part", [False, True])
def test_a_fetch_that_fails_indexes_nothing(part: bool) -> None:
    """The next listing has it tried again."""
    world = World()
    world.fails = UpstreamUnreachable("https://git.example/org/repo", "is down")
    world.listed(part=part)
    assert "after 7" not in world.asked
    world.fails = None
    world.listed(part=part)
    assert world.asked[-1] == "after 7"
