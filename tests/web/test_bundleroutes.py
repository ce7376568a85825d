"""Bundles on their way to clients that leave, while their repository becomes another one: nothing stays open."""

from collections.abc import Coroutine, Sequence
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.memory import MemoryCache
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import Busy, NotFound, Superseded
from cachew.plumbing.metrics import Metrics
from cachew.web.access.guard import Right
from cachew.web.bundleroutes import BundleRoutes
from cachew.web.snapshots import Demand
from cachew.web.storedanswers import StoreRedirects
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import FakeRequest, Steps, nothing_left, run
from tests.fakes.gitserving import IDENTITY
from tests.fakes.instances import OneInstance, only
from tests.fakes.settled import failure_of
from tests.fakes.steppedcache import SteppedCache

FIRST, SECOND = only(IDENTITY), Instance(IDENTITY, "1" * 32)
BASE = b"a" * 40
METRICS = Metrics()


class Succession(OneInstance):
    """Repositories that become others whenever somebody looks, so many times.

    :param steps: passed by each look.
    :param changes: how many times.
    """

    def __init__(self, steps: Steps, changes: int) -> None:
        super().__init__()
        self._steps, self._changes, self.present = steps, changes, FIRST

    def is_current(self, instance: Instance) -> bool:
        """Say which one is the present one."""
        return instance == self.present

    def right(self) -> Right:
        """Return the right to the present one, which is looked at anew each time."""
        return Right(IDENTITY, self.present, None, -1, cast(Any, self), self._again)

    async def _again(self) -> Right:
        await self._steps.reach("the right is renewed")
        if self._changes:
            self._changes -= 1
            self.present = SECOND if self.present == FIRST else FIRST
        return self.right()


class Access:
    """Opens the instance that a right is to."""

    async def instance(self, right: Right) -> Instance | None:
        """Return it."""
        return right.instance

    async def settled(self, right: Right) -> Right:
        """Return the right: nothing is in doubt."""
        return right

    def mirror(self, instance: Instance) -> None:
        """Know no mirror."""


class Shelf:
    """Bundles that lie in a cache.

    :param failures: what is raised by the first who look for one.
    """

    def __init__(self, cache: SteppedCache, failures: Sequence[Exception]) -> None:
        self._cache, self._failures = cache, list(failures)
        self.asked: list[Instance] = []

    async def find(self, instance: Instance, base: str, ref: str) -> Any:
        """Open one."""
        self.asked.append(instance)
        if self._failures:
            raise self._failures.pop(0)
        return await self._cache.open("bundles", "it")


class Bundling:
    """A client that asks for a bundle.

    :param changes: how many times the repository becomes another one meanwhile.
    """

    def __init__(self, steps: Steps, *, changes: int = 0, failures: Sequence[Exception] = ()) -> None:
        memory = MemoryCache(limit=1 << 20, clock=FakeClock())
        self._fill(memory)
        self.cache = SteppedCache(steps, memory)
        self.instances = Succession(steps, changes)
        self.shelf = Shelf(self.cache, failures)
        self.routes = BundleRoutes(
            bundles=cast(Any, self.shelf),
            bundle_store=cast(Any, None),
            access=cast(Any, Access()),
            demand=cast(Demand, None),
            redirects=StoreRedirects(presigned=None, metrics=METRICS),
        )
        self.request: Any = FakeRequest(steps)
        self.request.args = {b"base": [BASE]}

    def _fill(self, memory: MemoryCache) -> None:
        async def fill() -> None:
            writer = await memory.create("bundles", "it")
            await writer.write(b"# v2 git bundle")
            await writer.commit()

        Deferred.fromCoroutine(fill())

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        """Ask."""
        return [self.routes.handle(self.request, self.instances.right(), "snapshot.bundle")]

    def settle(self) -> None:
        """Nothing takes time."""

    def left(self) -> list[str]:
        """Name what is open."""
        return self.cache.left()


@pytest.mark.parametrize("changes", [0, 1, 9])
def test_a_bundle_leaves_nothing_open(changes: int) -> None:
    """No bundle stays open whose client leaves, or whose right can't be renewed, at whichever await."""
    nothing_left(lambda steps: Bundling(steps, changes=changes), slow=False)


def asked(bundling: Bundling) -> Exception | None:
    """Ask, and return what came of it."""
    request: Deferred[object] = Deferred.fromCoroutine(cast(Any, bundling.work()[0]))
    return cast(Exception, failure_of(request))


def test_the_bundle_is_that_of_the_repository_that_the_client_may_read_by_then() -> None:
    """When the repository becomes another one while a bundle is made, the other's is looked for and sent."""
    steps = Steps(slow=False)
    bundling = Bundling(steps, changes=1)
    assert run(lambda _: bundling, steps) == []
    assert bundling.shelf.asked == [FIRST, SECOND]
    assert b"".join(bundling.request.written) == b"# v2 git bundle"


def test_a_repository_that_never_settles_is_told_so() -> None:
    """After a few tries the client is asked to come again; what was opened meanwhile is closed."""
    bundling = Bundling(Steps(slow=False), changes=9)
    assert isinstance(asked(bundling), Busy)
    assert len(bundling.shelf.asked) == 3 and bundling.left() == []


@pytest.mark.parametrize("failure", [Superseded("it is another"), NotFound("no such commit")])
def test_what_the_former_repository_lacked_the_next_may_have(failure: Exception) -> None:
    """A failure counts only where the repository is still the one that was looked at."""
    steps = Steps(slow=False)
    bundling = Bundling(steps, changes=1, failures=[failure])
    assert run(lambda _: bundling, steps) == [] and bundling.request.written[0] == b"# v2 git bundle"


def test_a_commit_that_is_unknown_is_told_so() -> None:
    """Where the repository is the same, the client hears what was wrong, without another try."""
    bundling = Bundling(Steps(slow=False), failures=[NotFound("no such commit")])
    assert isinstance(asked(bundling), NotFound) and len(bundling.shelf.asked) == 1
