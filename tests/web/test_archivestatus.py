"""What is kept that was made of a repository, also where a store hangs or fails."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.interface import ObjectInfo
from cachew.plumbing.errors import StorageUnavailable
from cachew.snapshots.variants import Variant
from cachew.web.archivestatus import ArchiveStatuses, ArtefactStatus
from tests.cleanliness import FlushLoggedErrors
from tests.fakes.clock import FakeClock
from tests.fakes.gitserving import IDENTITY
from tests.fakes.instances import only
from tests.fakes.settled import value_of

INFO = ObjectInfo("n", "k" * 64, 7, "tag", {}, 900.0, None)
MIRROR: Any = SimpleNamespace(identity=IDENTITY, life=SimpleNamespace(instance=only(IDENTITY)))


class Stores:
    """What is kept, by stores that a test disturbs.

    :param archives: the kinds of archives that are there.
    """

    def __init__(self, *archives: str, bundles: int = 0, packs: int = 0) -> None:
        self._archives, self._bundles, self._packs = archives, bundles, packs
        self.clock = FakeClock()
        self.hangs = False
        self.failure: Exception | None = None
        self.statuses = ArchiveStatuses(
            snapshots=cast(Any, self), bundles=cast(Any, self), packs=cast(Any, self), reactor=self.clock
        )

    async def _reach(self) -> None:
        if self.hangs:
            await Deferred[None]()
        if self.failure is not None:
            raise self.failure

    async def stat(self, instance: object, variant: Variant) -> ObjectInfo | None:
        """Look at an archive."""
        await self._reach()
        return INFO if variant.kind in self._archives else None

    async def size(self, instance: object) -> int:
        """Count the bundles."""
        await self._reach()
        return self._bundles

    async def size_of(self, name: str) -> int:
        """Count the packs, which lie on this machine."""
        return self._packs

    def ask(self) -> Deferred[Any]:
        """Ask for all of it."""
        return Deferred.fromCoroutine(cast(Any, self.statuses.of(MIRROR)))


def test_all_that_is_kept_is_told() -> None:
    """Archives with their date, bundles and packs with their size alone."""
    archives = [ArtefactStatus(kind=kind, size=7, made=900.0) for kind in ("snapshot", "mirror")]
    others = [ArtefactStatus(kind="bundles", size=20), ArtefactStatus(kind="packs", size=30)]
    assert value_of(Stores("snapshot", "mirror", bundles=20, packs=30).ask()) == [*archives, *others]
    assert value_of(Stores().ask()) == []


@pytest.mark.parametrize("hangs", [True, False])
def test_a_store_in_trouble_keeps_no_page_from_being_shown(hangs: bool) -> None:
    """What it would tell is left out; one that hangs is waited for a second, whatever is asked of it at once."""
    stores = Stores("snapshot", "lfs-snapshot", "mirror", bundles=20, packs=30)
    stores.failure, stores.hangs = None if hangs else StorageUnavailable("down"), hangs
    asked = stores.ask()
    stores.clock.pump([1.1, 1.1])
    assert value_of(asked) == [ArtefactStatus(kind="packs", size=30)] and stores.clock.getDelayedCalls() == []


def test_a_store_that_is_broken_in_another_way_is_left_out_too(flush_logged_errors: FlushLoggedErrors) -> None:
    """What went wrong is logged, and the rest is shown."""
    stores = Stores("snapshot", bundles=20, packs=30)
    stores.failure = PermissionError("/srv/state/objects")
    assert value_of(stores.ask()) == [ArtefactStatus(kind="packs", size=30)]
    assert flush_logged_errors(PermissionError)


def test_snapshots_of_many_are_asked_for_together() -> None:
    """In their order, None for those that have none or can't be told in time."""
    stores = Stores("snapshot")
    assert value_of(Deferred.fromCoroutine(stores.statuses.snapshots_of([MIRROR, MIRROR]))) == [INFO, INFO]
    stores.hangs = True
    asked = Deferred.fromCoroutine(stores.statuses.snapshots_of([MIRROR, MIRROR, MIRROR]))
    stores.clock.advance(1.1)
    assert value_of(asked) == [None, None, None]
