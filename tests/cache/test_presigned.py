"""Addresses of objects in a store, for as long as it answers."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred, succeed

from cachew.cache.interface import ObjectInfo
from cachew.cache.memory import MemoryCache
from cachew.cache.presigned import WAIT, PresignedAddresses
from cachew.cache.tiers import Tier
from cachew.plumbing.errors import CorruptObject, StorageUnavailable
from cachew.plumbing.metrics import Metrics
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, result_of, value_of

INFO = ObjectInfo(namespace="ns", key="key", size=10, etag="tag", headers={}, modified=0.0, expires=None)


class Store(MemoryCache):
    """A cache that gives addresses as a test says."""

    def __init__(self, clock: FakeClock, answer: Callable[[], Awaitable[str | None]]) -> None:
        super().__init__(limit=1000, clock=clock)
        self._answer = answer
        self.asked = 0

    async def presigned(self, info: ObjectInfo) -> str | None:
        """Return an address."""
        assert info is INFO
        self.asked += 1
        return await self._answer()


class Bench:
    """A tier in memory and a store behind it."""

    def __init__(self, answer: Callable[[], Awaitable[str | None]]) -> None:
        self.clock = FakeClock(now=1_700_000_000.0)
        self.store = Store(self.clock, answer)
        tiers = [self._tier(MemoryCache(limit=1000, clock=self.clock)), self._tier(self.store)]
        self.addresses = PresignedAddresses(tiers=tiers, reactor=self.clock, rest=5)

    def _tier(self, cache: MemoryCache) -> Tier:
        return Tier(cache=cache, name=type(cache).__name__, clock=self.clock, retry_after=3, metrics=Metrics())

    def ask(self) -> Deferred[str | None]:
        """Ask for an address."""
        return Deferred.fromCoroutine(self.addresses.of(INFO))


def failing(failure: Exception) -> Callable[[], Awaitable[str | None]]:
    """Return what fails."""

    async def fail() -> str | None:
        raise failure

    return fail


def test_the_store_s_address_is_given() -> None:
    """A tier that can give none is not asked; nothing is left waiting."""
    bench = Bench(lambda: succeed("https://store.example/x"))
    assert value_of(bench.ask()) == "https://store.example/x"
    assert bench.clock.getDelayedCalls() == []


def test_a_store_may_have_none_to_give() -> None:
    """It is asked again the next time."""
    bench = Bench(lambda: succeed(None))
    assert value_of(bench.ask()) is None and value_of(bench.ask()) is None
    assert bench.store.asked == 2


def test_a_store_that_fails_gives_none_and_is_left_alone() -> None:
    """As for everything else that is asked of its tier; a damaged manifest says nothing of the store."""
    bench = Bench(failing(StorageUnavailable("down")))
    assert value_of(bench.ask()) is None and value_of(bench.ask()) is None
    assert bench.store.asked == 1
    bench.clock.advance(3)
    assert value_of(bench.ask()) is None and bench.store.asked == 2
    bench = Bench(failing(CorruptObject("damaged")))
    assert value_of(bench.ask()) is None and value_of(bench.ask()) is None
    assert bench.store.asked == 2


def test_a_store_that_takes_long_is_not_waited_for() -> None:
    """Nor the next time, for a while; then it is asked again. What was asked is broken off."""
    broken_off: list[object] = []
    bench = Bench(lambda: Deferred(broken_off.append))
    asked = bench.ask()
    bench.clock.advance(WAIT - 0.1)
    assert not asked.called
    bench.clock.advance(0.1)
    assert value_of(asked) is None and len(broken_off) == 1
    assert value_of(bench.ask()) is None and bench.store.asked == 1
    bench.clock.advance(5)
    again = bench.ask()
    assert bench.store.asked == 2
    bench.clock.advance(WAIT)
    assert value_of(again) is None


def test_a_client_who_leaves_breaks_off_what_he_asked() -> None:
    """That is no reason to leave the store alone."""
    bench = Bench(lambda: Deferred())
    asked = bench.ask()
    asked.cancel()
    assert isinstance(failure_of(asked), CancelledError)
    assert bench.clock.getDelayedCalls() == []
    again = bench.ask()
    again.cancel()
    assert isinstance(failure_of(again), CancelledError) and bench.store.asked == 2


def test_without_a_store_there_is_no_address() -> None:
    """Clients are served from here."""
    addresses = PresignedAddresses(tiers=[], reactor=FakeClock(), rest=5)
    assert result_of(addresses.of(INFO)) is None
