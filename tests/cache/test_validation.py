"""Whether a copy is still what the authority has."""

from dataclasses import replace

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.cache.interface import ObjectInfo
from cachew.cache.memory import MemoryCache
from cachew.cache.tiers import Tier
from cachew.cache.validation import Name, Validation, same
from cachew.plumbing.background import Background
from cachew.plumbing.metrics import Metrics
from tests.contracts.cache import fetch, missing, store
from tests.fakes.caches import UnreliableCache
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, result_of, value_of

WAIT, INTERVAL = 0.05, 1.0


class Bench:
    """A copy in a nearer tier, and an authority that answers when the test says so."""

    def __init__(self) -> None:
        self.clock = FakeClock(now=1_700_000_000.0)
        self.near, self.far = (UnreliableCache(MemoryCache(limit=1 << 20, clock=self.clock)) for _ in range(2))
        self.background = Background()
        self.owed: set[Name] = set()
        self.validation = Validation(
            authority=self._tier("far", self.far),
            nearer=[self._tier("near", self.near)],
            owed=self.owed.__contains__,
            reactor=self.clock,
            interval=INTERVAL,
            wait=WAIT,
            background=self.background,
        )
        self.copy = self.stored(self.near, b"old")
        self.stored(self.far, b"old")

    def _tier(self, name: str, cache: UnreliableCache) -> Tier:
        return Tier(cache=cache, name=name, clock=self.clock, retry_after=5, metrics=Metrics())

    def stored(self, cache: UnreliableCache, content: bytes) -> ObjectInfo:
        """Store the object in one tier."""
        return result_of(store(cache, "key", content))

    @property
    def name(self) -> Name:
        """What it is called."""
        return self.copy.namespace, self.copy.key

    def ask(self, copy: ObjectInfo | None = None) -> Deferred[bool]:
        """Ask whether a copy is outdated."""
        return Deferred.fromCoroutine(self.validation.outdated(self.name, copy or self.copy))

    @property
    def asked(self) -> int:
        """How often the authority was asked."""
        return self.far.asked.count("stat")

    def hold(self) -> Deferred[None]:
        """Have the authority wait."""
        self.far.gate = Deferred()
        return self.far.gate

    @property
    def copy_is_there(self) -> bool:
        """Whether the nearer tier has one."""
        return not result_of(missing(self.near, "key"))


@pytest.fixture
def bench() -> Bench:
    """Return a bench where both have the same."""
    return Bench()


def test_the_authority_s_answer_holds_for_a_while(bench: Bench) -> None:
    """Whoever asks within it asks nobody."""
    assert [value_of(bench.ask()) for _ in range(3)] == [False] * 3 and bench.asked == 1
    bench.clock.advance(INTERVAL)
    assert not value_of(bench.ask()) and bench.asked == 2


@pytest.mark.parametrize("gone", [True, False])
def test_an_outdated_copy_is_removed(bench: Bench, gone: bool) -> None:
    """Whether the authority has another object or none."""
    if gone:
        result_of(bench.far.delete("ns", "key"))
    else:
        bench.stored(bench.far, b"new")
    assert value_of(bench.ask()) and not bench.copy_is_there


def test_another_copy_than_the_one_in_question_stays(bench: Bench) -> None:
    """It may have come since, and is asked about by whoever finds it."""
    bench.stored(bench.far, b"new")
    bench.stored(bench.near, b"new")
    assert value_of(bench.ask()) and result_of(fetch(bench.near, "key")) == b"new"


def test_one_answer_is_for_all_who_ask_meanwhile(bench: Bench) -> None:
    """It comes in time for them."""
    gate = bench.hold()
    asked = [bench.ask() for _ in range(10)]
    result_of(bench.far.cache.delete("ns", "key"))
    gate.callback(None)
    assert [value_of(one) for one in asked] == [True] * 10 and bench.asked == 1
    assert bench.clock.getDelayedCalls() == [] and not bench.background.under_way


def test_nobody_waits_long(bench: Bench) -> None:
    """The copy is served then, and an answer that comes later takes effect behind the scenes."""
    gate = bench.hold()
    asked = bench.ask()
    result_of(bench.far.cache.delete("ns", "key"))
    bench.clock.advance(WAIT)
    assert not value_of(asked) and bench.copy_is_there
    gate.callback(None)
    assert not bench.copy_is_there and not bench.background.under_way


def test_a_reader_who_leaves_leaves_the_question_to_others(bench: Bench) -> None:
    """The timer of his wait is gone, and the answer counts."""
    gate = bench.hold()
    leaving, staying = bench.ask(), bench.ask()
    leaving.cancel()
    assert isinstance(failure_of(leaving), CancelledError)
    bench.far.gate = None
    gate.callback(None)
    assert not value_of(staying) and bench.asked == 1
    assert bench.clock.getDelayedCalls() == [] and not bench.background.under_way


def test_an_authority_that_fails_outdates_nothing(bench: Bench) -> None:
    """And its failure is no answer that holds."""
    bench.far.down = True
    assert not value_of(bench.ask()) and bench.copy_is_there
    bench.far.down = False
    result_of(bench.far.delete("ns", "key"))
    bench.clock.advance(5)
    assert value_of(bench.ask())


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_what_the_authority_is_owed_is_not_outdated(bench: Bench, when: str) -> None:
    """The copy is right until it has taken that."""
    result_of(bench.far.delete("ns", "key"))
    gate = bench.hold()
    if when == "before":
        bench.owed.add(bench.name)
    asked = bench.ask()
    bench.owed.add(bench.name)
    gate.callback(None)
    assert not value_of(asked) and bench.copy_is_there
    assert bench.asked == (0 if when == "before" else 1)


def test_what_changes_here_is_asked_about_anew(bench: Bench) -> None:
    """An answer of before says nothing of it."""
    result_of(bench.far.delete("ns", "key"))
    assert value_of(bench.ask())
    copy = bench.stored(bench.near, b"new")
    bench.stored(bench.far, b"new")
    bench.validation.forget(bench.name)
    assert not value_of(bench.ask(copy)) and bench.copy_is_there


@pytest.mark.parametrize("late", [True, False])
def test_an_answer_of_before_a_change_removes_nothing_of_after_it(bench: Bench, late: bool) -> None:
    """Whoever asks after it joins no question of before it, and what that is answered is not kept."""
    replies: list[Deferred[ObjectInfo | None]] = []

    class Slow(MemoryCache):
        async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
            replies.append(Deferred())
            return await replies[-1]

    bench.far.cache = Slow(limit=1 << 20, clock=bench.clock)
    before = bench.ask()
    copy = bench.stored(bench.near, b"new")
    bench.validation.forget(bench.name)
    after = None if late else bench.ask(copy)
    replies[0].callback(None)
    assert value_of(before)
    after = after or bench.ask(copy)
    assert len(replies) == 2
    replies[1].callback(copy)
    assert not value_of(after) and bench.copy_is_there
    assert not value_of(bench.ask(copy)) and len(replies) == 2


def test_the_same_object_has_the_same_tag_and_content(bench: Bench) -> None:
    """When it was stored, and until when, doesn't matter."""
    assert same(bench.copy, replace(bench.copy, modified=0.0, expires=5.0))
    assert not same(bench.copy, replace(bench.copy, etag="other"))
    assert not same(bench.copy, replace(bench.copy, digest="0" * 64))
