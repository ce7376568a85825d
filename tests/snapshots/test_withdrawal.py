"""What is removed of what was made of mirrors that were damaged, or of instances that have ended."""

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.memory import MemoryCache
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import StorageUnavailable
from cachew.plumbing.jobs import Slots
from cachew.snapshots.bundlelist import BundleList, ListedBundle
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.order import Begin, Order
from cachew.snapshots.productions import Productions, delete_each
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.storedproduction import Means
from cachew.snapshots.variants import LFS, MIRROR, NAMESPACE, SNAPSHOT, Variant
from cachew.snapshots.withdrawal import Withdrawal
from tests.contracts.cache import missing, store
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import failure_of, result_of, value_of

REPOSITORY = Identity("git.example", "org/repo")
ENDED, NEXT = Instance(REPOSITORY, "1" * 32), Instance(REPOSITORY, "2" * 32)


class Stubborn(MemoryCache):
    """A cache that can't remove some of its objects, as its far storage fails."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(limit=1 << 20, clock=clock)
        self.stuck: set[str] = set()

    async def delete(self, namespace: str, key: str) -> bool:
        """Delete."""
        if key in self.stuck:
            raise StorageUnavailable("the store fails")
        return await super().delete(namespace, key)


class Bench:
    """What was made of two instances of a repository, and what removes it."""

    def __init__(self, scratch: Path) -> None:
        self.clock = FakeClock(now=1_700_000_000.0)
        self.cache = Stubborn(self.clock)
        means = Means(
            cache=self.cache,
            scratch=Scratch(path=scratch, threads=InlineThreads()),
            slots=Slots(limit=2),
            reactor=self.clock,
            clock=self.clock,
        )
        scratch.mkdir()
        self.productions = Productions(means=means)
        bundles = BundleStore(
            cache=self.cache,
            productions=self.productions,
            git=cast(Any, None),
            packs=cast(Any, None),
            ready_mirror=cast(Any, None),
            clock=self.clock,
            in_thread=InlineThreads(),
        )
        self.withdrawal = Withdrawal(cache=self.cache, bundles=bundles, productions=self.productions)

    def made(self, key: str) -> str:
        """Make something here."""

        async def make(directory: Path, begin: Begin) -> None:
            await (await begin({}))(b"content")

        self.productions.run(Order(key=key, owner=REPOSITORY.name, make=make))
        assert self.there(key)
        return key

    def kept(self, key: str, content: bytes = b"content") -> str:
        """Have something in the cache that another replica has made."""
        result_of(store(self.cache, key, content, namespace=NAMESPACE))
        return key

    def there(self, key: str) -> bool:
        """Whether something is in the cache."""
        return not result_of(missing(self.cache, key, NAMESPACE))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench where nothing is made."""
    return Bench(tmp_path / "scratch")


def test_all_that_is_known_of_an_ended_instance_goes(bench: Bench) -> None:
    """What was made here, what others make of every repository, its bundles and their list; the next one's stays."""
    names = ["1-" + "0" * 16, "2-" + "0" * 16]
    listed = BundleList(tuple(ListedBundle(number, name) for number, name in enumerate(names)), {})
    keys = [
        bench.made(Variant(SNAPSHOT, "refs/heads/x").key(ENDED)),
        *(bench.kept(Variant(kind).key(ENDED)) for kind in (SNAPSHOT, LFS, MIRROR)),
        bench.kept(Variant(SNAPSHOT, filter="blob:none").key(ENDED)),
        *(bench.kept(f"bundle:{ENDED.name} {name}") for name in names),
        bench.kept(f"bundle-list:{ENDED.name}", listed.encode()),
    ]
    stays = bench.made(Variant(SNAPSHOT, "refs/heads/x").key(NEXT)), bench.kept(Variant().key(NEXT))
    result_of(bench.withdrawal.withdraw(ENDED))
    assert not any(map(bench.there, keys)) and all(map(bench.there, stays))


def test_an_instance_of_which_nothing_was_made(bench: Bench) -> None:
    """Removing what isn't there is nothing."""
    result_of(bench.withdrawal.withdraw(ENDED))


def test_one_thing_that_stays_keeps_no_other(bench: Bench) -> None:
    """Where the store fails for one, the failure is told and the rest is gone."""
    stuck = bench.made(Variant(SNAPSHOT, "refs/heads/x").key(ENDED))
    other = bench.kept(Variant(MIRROR).key(ENDED))
    bench.cache.stuck = {stuck}
    with pytest.raises(StorageUnavailable):
        result_of(bench.withdrawal.withdraw(ENDED))
    assert bench.there(stuck) and not bench.there(other)


def test_nothing_damaged_stays_because_something_else_does(bench: Bench) -> None:
    """What was made of a damaged mirror goes as far as that can be done; what was made while it was sound stays."""
    before = bench.made("before")
    bench.clock.advance(10)
    keys = [bench.made(key) for key in ("first", "second", "third")]
    bench.cache.stuck = {"first"}
    withdrawing = Deferred.fromCoroutine(bench.productions.withdraw(REPOSITORY.name, bench.clock.seconds()))
    assert [bench.there(key) for key in (before, *keys)] == [True, True, False, False]
    bench.clock.advance(60)
    bench.cache.stuck = set()
    bench.clock.advance(60)
    assert value_of(withdrawing) is None
    assert [bench.there(key) for key in (before, *keys)] == [True, False, False, False]


def test_a_store_that_fails_for_long_is_told(bench: Bench) -> None:
    """It is tried for an hour."""
    bench.made("key")
    bench.cache.stuck = {"key"}
    withdrawing = Deferred.fromCoroutine(bench.productions.withdraw(REPOSITORY.name, 0))
    for _ in range(60):
        assert not withdrawing.called
        bench.clock.advance(60)
    assert isinstance(failure_of(withdrawing), StorageUnavailable)


def test_what_is_made_again_meanwhile_stays(bench: Bench) -> None:
    """It is of the sound mirror."""
    bench.made("key")
    bench.cache.stuck = {"key"}
    withdrawing = Deferred.fromCoroutine(bench.productions.withdraw(REPOSITORY.name, 0))
    bench.cache.stuck = set()
    bench.made("key")
    bench.clock.advance(60)
    assert value_of(withdrawing) is None
    assert bench.there("key")


def test_each_is_tried_and_a_failure_told_at_the_end(bench: Bench) -> None:
    """Also when the last of them goes."""
    bench.cache.stuck = {"a", "b"}
    bench.kept("c")
    with pytest.raises(StorageUnavailable, match="the store fails"):
        result_of(delete_each(bench.cache, ["a", "b", "c"]))
    assert not bench.there("c")
    result_of(delete_each(bench.cache, []))
