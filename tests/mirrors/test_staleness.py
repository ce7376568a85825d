"""How often upstreams are asked because of snapshots that are sent."""

from typing import Any, cast

from cachew.mirrors.freshness import Answer
from cachew.mirrors.identity import Identity
from cachew.mirrors.staleness import Staleness
from cachew.plumbing.background import Background
from cachew.upstream.listing import Listing
from tests.fakes.clock import FakeClock
from tests.fakes.silence import Silence, quiet

IDENTITY = Identity("git.example", "org/repo")
LISTING = Listing(())


class Upstream:
    """The ref gate and the mirror of one repository, which everybody may read.

    :param clock: what time it is.
    """

    interval = 10.0

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.asked = 0
        self.is_behind = self.fails = False

    def ready(self, identity: Identity) -> "Mirror":
        """Return its mirror."""
        return Mirror(self)

    async def refs(self, *question: object, interval: float | None = None) -> Answer:
        """Say what the refs are."""
        self.asked += 1
        return Answer(LISTING, stale=self.fails, started=self._clock.seconds())


class Mirror:
    """Its mirror, which is all its parts by itself."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self.refs = self.updates = self
        self.listing = LISTING

    def behind(self, listing: Listing) -> bool:
        """Whether it lacks something."""
        return self._upstream.is_behind

    async def sync(self, listing: Listing, started: float) -> None:
        """Bring it there."""
        self._upstream.is_behind = False


class House:
    """What asks on behalf of nobody in particular."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.upstream = Upstream(self.clock)
        parts = cast(Any, self.upstream)
        self.staleness = Staleness(
            freshness=parts,
            mirrors=parts,
            mirroring=parts,
            remotes=parts,
            background=quiet(Background()),
            is_public=lambda identity: True,
            clock=self.clock,
        )
        self.staleness.log = cast(Any, Silence())

    def sent(self) -> int:
        """Send a snapshot, and return how often the gate was asked because of it."""
        before = self.upstream.asked
        self.staleness.check(IDENTITY)
        return self.upstream.asked - before


def test_a_mirror_that_is_level_is_not_looked_at_for_each_snapshot() -> None:
    """What the upstream has just said is good for the interval; after that it is asked again."""
    house = House()
    assert [house.sent(), house.sent()] == [1, 0]
    house.clock.advance(9.5)
    assert house.sent() == 0
    house.clock.advance(0.5)
    assert house.sent() == 1


def test_a_mirror_that_is_behind_is_looked_at_for_each_snapshot() -> None:
    """So is one whose upstream does not answer."""
    house = House()
    house.upstream.is_behind = True
    assert [house.sent(), house.sent()] == [1, 1]
    house.upstream.is_behind, house.upstream.fails = False, True
    assert [house.sent(), house.sent()] == [1, 1]


def test_a_push_ends_what_was_seen_before() -> None:
    """The first snapshot after it has the refs checked, whatever was seen before."""
    house = House()
    assert house.sent() == 1
    house.staleness.pushed(IDENTITY)
    assert house.sent() == 1


def test_without_an_interval_each_snapshot_has_the_refs_checked() -> None:
    """What the upstream says is good for no time at all then."""
    house = House()
    house.upstream.interval = 0.0
    assert [house.sent(), house.sent()] == [1, 1]
