"""What is owed to the last of several tiers, on a clock of its own."""

from collections.abc import Sequence

import pytest

from cachew.cache.debts import LONGEST_DEBT_PAUSE, MOST_DEBTS, Debt, Debts
from cachew.cache.filling import Filling
from cachew.cache.interface import ObjectInfo, object_key
from cachew.cache.memory import MemoryCache
from cachew.cache.tiers import Tier
from cachew.plumbing.background import Background
from cachew.plumbing.errors import StorageUnavailable
from cachew.plumbing.journal import Journal
from cachew.plumbing.metrics import Metrics
from tests.contracts.cache import fetch, missing, store
from tests.fakes.caches import UnreliableCache
from tests.fakes.clock import FakeClock
from tests.fakes.settled import result_of

NAME = "ns", object_key("key")


class Bench:
    """A nearer tier with an object and a last one without, which is owed it."""

    def __init__(self, journal: Journal[Debt] | None = None) -> None:
        self.clock = FakeClock(now=1_700_000_000.0)
        self.near, self.far = (UnreliableCache(MemoryCache(limit=1 << 20, clock=self.clock)) for _ in range(2))
        tiers = [self._tier("near", self.near), self._tier("far", self.far)]
        self.background = Background()
        self.debts = Debts(
            authority=tiers[-1],
            nearer=tiers[:-1],
            reactor=self.clock,
            pause=5,
            background=self.background,
            copy=Filling(tiers=tiers, clock=self.clock, background=self.background).copy,
            journal=journal,
        )

    def _tier(self, name: str, cache: UnreliableCache) -> Tier:
        return Tier(cache=cache, name=name, clock=self.clock, retry_after=0, metrics=Metrics())

    def owe(self, content: bytes = b"content") -> ObjectInfo:
        """Store an object in the nearer tier alone, and owe it."""
        info: ObjectInfo = result_of(store(self.near, "key", content))
        result_of(self.debts.add(info))
        return info

    def stored(self, cache: UnreliableCache, content: bytes) -> None:
        """Store an object in one tier."""
        result_of(store(cache, "key", content))

    def in_the_last_tier(self) -> ObjectInfo:
        """Return what is known of the object there."""
        info = result_of(self.far.stat(*NAME))
        assert info is not None
        return info

    @property
    def under_way(self) -> Sequence[object]:
        """What goes on behind."""
        return self.background.under_way


@pytest.fixture
def bench() -> Bench:
    """Return a bench where nothing is owed."""
    return Bench()


def test_a_debt_is_paid_after_a_pause(bench: Bench) -> None:
    """Not at once, since the last tier has just failed; then nothing is owed and nothing goes on behind."""
    bench.owe()
    bench.clock.advance(4)
    assert NAME in bench.debts and result_of(missing(bench.far, "key"))
    bench.clock.advance(1)
    assert result_of(fetch(bench.far, "key")) == b"content"
    assert NAME not in bench.debts and not bench.under_way


def test_attempts_come_less_and_less_often(bench: Bench) -> None:
    """Each pause is twice the one before, up to a bound at which it stays."""
    bench.owe()
    bench.far.down = True
    for pause in (5, 10, LONGEST_DEBT_PAUSE, LONGEST_DEBT_PAUSE):
        asked = len(bench.far.asked)
        bench.clock.advance(pause - 1)
        assert len(bench.far.asked) == asked
        bench.clock.advance(1)
        assert len(bench.far.asked) == asked + 1
    bench.far.down = False
    bench.clock.advance(LONGEST_DEBT_PAUSE)
    assert NAME not in bench.debts and not bench.under_way


def test_a_copy_that_turns_out_damaged_ends_no_attempts(bench: Bench) -> None:
    """What can't be read of a nearer tier now is tried again, and a sound copy that comes meanwhile is stored."""
    bench.owe()
    bench.near.cut = 3
    bench.clock.advance(5)
    assert NAME in bench.debts and result_of(missing(bench.far, "key"))
    bench.near.cut = None
    bench.clock.advance(10)
    assert result_of(fetch(bench.far, "key")) == b"content"
    assert NAME not in bench.debts and not bench.under_way


def test_a_damaged_copy_that_went_is_owed_no_more(bench: Bench) -> None:
    """Nobody has it any more, and the last tier is right again."""
    bench.owe()
    bench.near.cut = 3
    bench.clock.advance(5)
    result_of(bench.near.delete("ns", "key"))
    bench.clock.advance(10)
    assert NAME not in bench.debts and not bench.under_way


def test_what_is_stored_again_before_it_is_paid_is_paid_once(bench: Bench) -> None:
    """The last content is what the last tier gets."""
    bench.owe(b"first")
    bench.clock.advance(3)
    bench.owe(b"second")
    assert len(bench.under_way) == 1
    bench.clock.advance(2)
    assert result_of(fetch(bench.far, "key")) == b"second"
    assert NAME not in bench.debts and bench.far.asked.count("create") == 1


def test_a_debt_that_is_settled_is_not_paid(bench: Bench) -> None:
    """Who settles it has stored or removed the object himself."""
    bench.owe()
    result_of(bench.debts.settle(NAME))
    assert NAME not in bench.debts
    bench.clock.advance(5)
    assert bench.far.asked == [] and not bench.under_way


def test_what_another_replica_stored_since_stays(bench: Bench) -> None:
    """A newer object of the last tier is not replaced by the one that is owed to it."""
    bench.owe(b"ours")
    bench.clock.advance(1)
    bench.stored(bench.far, b"theirs")
    bench.clock.advance(4)
    assert result_of(fetch(bench.far, "key")) == b"theirs"
    assert NAME not in bench.debts


def test_an_object_that_is_not_the_one_owed_is_not_stored(bench: Bench) -> None:
    """A nearer tier that has something else by now does not pay with that."""
    bench.owe(b"owed")
    bench.stored(bench.near, b"other")
    bench.clock.advance(5)
    assert result_of(missing(bench.far, "key")) and NAME in bench.debts
    result_of(bench.debts.settle(NAME))
    bench.clock.advance(10)
    assert not bench.under_way


def test_a_removal_is_made_up_for(bench: Bench) -> None:
    """Until then nobody is to have what was there; what was stored after it stays, and another replica's, too."""
    bench.stored(bench.far, b"damaged")
    damaged = bench.in_the_last_tier()
    result_of(bench.debts.add_removal(NAME, bench.clock.now()))
    assert bench.debts.hides(damaged) and NAME not in bench.debts
    bench.far.down = True
    bench.clock.advance(5)
    bench.far.down = False
    bench.clock.advance(10)
    assert result_of(missing(bench.far, "key")) and not bench.debts.hides(damaged) and not bench.under_way
    result_of(bench.debts.add_removal(NAME, bench.clock.now()))
    bench.clock.advance(1)
    bench.stored(bench.far, b"theirs")
    bench.clock.advance(4)
    assert result_of(fetch(bench.far, "key")) == b"theirs" and not bench.under_way


@pytest.mark.parametrize("back", [0, 60])
def test_what_is_owed_in_the_place_of_what_is_to_be_removed(bench: Bench, back: int) -> None:
    """It is to be had, also when the clock was put back, while what the last tier has is not, and goes in any case."""
    bench.stored(bench.far, b"damaged")
    damaged = bench.in_the_last_tier()
    bench.clock.advance(120)
    result_of(bench.debts.add_removal(NAME, bench.clock.now()))
    bench.clock.put_forward(-back)
    info = bench.owe(b"new")
    assert bench.debts.hides(damaged) and not bench.debts.hides(info) and NAME in bench.debts
    result_of(bench.near.delete(*NAME))
    bench.clock.advance(5)
    assert result_of(missing(bench.far, "key")) and NAME not in bench.debts and not bench.under_way


def test_so_many_may_be_owed(bench: Bench) -> None:
    """Beyond them another object is refused, while one that is owed already may be stored again."""
    infos = [result_of(store(bench.near, str(number), b"")) for number in range(MOST_DEBTS + 1)]
    for info in infos[:-1]:
        result_of(bench.debts.add(info))
    with pytest.raises(StorageUnavailable, match="too much"):
        result_of(bench.debts.add(infos[-1]))
    result_of(bench.debts.add(infos[0]))
    result_of(bench.debts.add_removal((infos[-1].namespace, infos[-1].key), bench.clock.now()))
    assert not bench.debts.hides(infos[-1])
    result_of(bench.background.stop())


def test_stopping_leaves_the_debts(bench: Bench) -> None:
    """The attempts end with the server, what is owed doesn't."""
    bench.owe()
    result_of(bench.background.stop())
    assert NAME in bench.debts and not bench.under_way
    assert bench.clock.getDelayedCalls() == []


@pytest.mark.parametrize("fields", [None, [], {}, {"etag": "e", "digest": "d"}, {"etag": "e", "modified": "soon"}])
def test_what_is_no_debt_is_not_read(fields: object) -> None:
    """Whatever lies in its place, that is a ValueError."""
    with pytest.raises(ValueError):
        Debt.read(fields)


def test_a_debt_is_read_as_it_was_written() -> None:
    """All its fields outlive a restart."""
    for debt in (Debt("tag", "ab" * 32, 12.5), Debt("", "", 12.5, removed=12.5)):
        assert Debt.read(debt.fields()) == debt
    assert Debt.read({"etag": "e", "digest": "d", "modified": 1}) == Debt("e", "d", 1.0)
