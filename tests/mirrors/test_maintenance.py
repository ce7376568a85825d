"""When what fetches have brought is indexed; the packs are played."""

from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.mirrors.locks import MirrorLocks
from cachew.mirrors.maintenance import Maintenance
from cachew.plumbing.background import Background
from tests.fakes.clock import FakeClock


class Packs:
    """Packs of a mirror, which count how often they are indexed."""

    def __init__(self) -> None:
        self.indexed = 0

    def count(self) -> int:
        return 1

    async def index(self, *, bitmaps: bool) -> None:
        self.indexed += 1


def test_a_fetch_that_several_listings_had_made_counts_once() -> None:
    """The commit-graph is written after every eighth fetch, however many followed along with each."""
    packs = Packs()
    maintenance = Maintenance(
        name="git.example/org/repo",
        locks=MirrorLocks(),
        find=lambda: cast(Any, SimpleNamespace(packs=packs)),
        clock=FakeClock(),
        threads=cast(Any, None),
        background=Background(),
    )
    counts = []
    for fetches in range(1, 17):
        for _ in range(3):
            Deferred.fromCoroutine(maintenance.index_after_fetch(fetches))
        counts.append(packs.indexed)
    assert counts == [0] * 7 + [1] * 8 + [2]
