"""One tier and its memory for failures."""

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.cache.memory import MemoryCache
from cachew.cache.tiers import SLOW, Tier
from cachew.plumbing.errors import CorruptObject, StorageFull, StorageRefused, StorageUnavailable
from cachew.plumbing.metrics import Metrics
from tests.contracts.cache import store
from tests.fakes.caches import UnreliableCache
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, result_of, value_of


class Bench:
    """A tier whose cache fails when told so."""

    def __init__(self) -> None:
        self.clock = FakeClock(now=1_700_000_000.0)
        self.cache = UnreliableCache(MemoryCache(limit=1 << 20, clock=self.clock))
        self.tier = Tier(cache=self.cache, name="far", clock=self.clock, retry_after=5, metrics=Metrics())


@pytest.fixture
def bench() -> Bench:
    """Return a tier that works."""
    return Bench()


async def failing(failure: Exception) -> None:
    """Fail."""
    raise failure


def test_a_tier_that_failed_is_left_alone_for_a_while(bench: Bench) -> None:
    """Nobody waits for it meanwhile; it is asked again then, and works again when it answers."""
    result_of(store(bench.cache, "key", b"content"))
    bench.cache.down = True
    assert result_of(bench.tier.open("ns", "key")) is None and bench.tier.resting
    assert "fails" in bench.tier.trouble
    asked = len(bench.cache.asked)
    bench.cache.down = False
    assert result_of(bench.tier.stat("ns", "key")) is None and not result_of(bench.tier.invalidate("ns", "key"))
    assert len(bench.cache.asked) == asked
    bench.clock.advance(5)
    assert not bench.tier.resting and result_of(bench.tier.stat("ns", "key")) is not None
    assert bench.tier.trouble == ""


@pytest.mark.parametrize("failure", [StorageFull("full"), CorruptObject("damaged")])
def test_what_is_no_failure_of_the_storage(bench: Bench, failure: Exception) -> None:
    """A full one can be read still, and one damaged object says nothing of the others."""
    with pytest.raises(type(failure)):
        result_of(bench.tier.ask(failing(failure)))
    assert not bench.tier.resting and bench.tier.trouble == ""


def test_a_tier_that_can_only_be_read(bench: Bench) -> None:
    """It is read on, and what it has said is told until it takes something."""
    with pytest.raises(StorageRefused):
        result_of(bench.tier.ask(failing(StorageRefused("AccessDenied"))))
    assert not bench.tier.resting
    assert bench.tier.trouble == "cache tier far is restricted: AccessDenied"
    result_of(bench.tier.stat("ns", "key"))
    assert bench.tier.trouble
    bench.tier.took()
    assert bench.tier.trouble == ""


def test_a_tier_that_can_t_be_started_is_started_by_a_probe(bench: Bench) -> None:
    """Until then it is left alone, however long that is."""
    bench.cache.down = True
    with pytest.raises(StorageUnavailable):
        result_of(bench.tier.start())
    bench.clock.advance(1000)
    assert bench.tier.resting
    result_of(bench.tier.probe())
    assert bench.tier.resting
    bench.cache.down = False
    result_of(bench.tier.probe())
    assert not bench.tier.resting and bench.tier.trouble == ""


def test_a_tier_that_takes_long_is_told(bench: Bench) -> None:
    """While it is waited for, and after it has answered, until it answers in time; who leaves leaves no trace."""
    gate: Deferred[None] = Deferred()
    bench.cache.gate = gate
    asked = Deferred.fromCoroutine(bench.tier.stat("ns", "key"))
    bench.clock.advance(SLOW)
    assert bench.tier.trouble == ""
    bench.clock.advance(1)
    assert "slow" in bench.tier.trouble
    gate.callback(None)
    assert value_of(asked) is None and "slow" in bench.tier.trouble
    bench.cache.gate = None
    result_of(bench.tier.stat("ns", "key"))
    assert bench.tier.trouble == ""
    bench.cache.gate = Deferred()
    leaving = Deferred.fromCoroutine(bench.tier.stat("ns", "key"))
    leaving.cancel()
    assert isinstance(failure_of(leaving), CancelledError)
    bench.clock.advance(SLOW + 1)
    assert bench.tier.trouble == "" and not bench.tier.resting
