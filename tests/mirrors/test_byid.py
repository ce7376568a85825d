"""Objects that clients ask for by their ids: fetched together, told of what fails, and nobody kept by anybody else."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.byid import ById, WantedObjects
from cachew.plumbing.errors import Busy, CachewError, ProcessFailed
from cachew.plumbing.sharedlock import SharedLock
from tests.fakes.mirrorgit import REPOSITORY
from tests.fakes.settled import failure_of, value_of

AT_A_TIME, WAITING = 4, 1000


class Lane:
    """A lane whose fetches end when the test says so.

    :ivar fetched: what each fetch brings, and what ends it.
    """

    def __init__(self) -> None:
        self.lock = SharedLock()
        self.fetched: list[tuple[list[str], Deferred[None]]] = []
        self.by_id = ById(lock=self.lock, fetch=self._fetch)

    async def _fetch(self, ids: list[str]) -> None:
        done: Deferred[None] = Deferred()
        self.fetched.append((ids, done))
        await done

    @property
    def ids(self) -> list[list[str]]:
        """What is fetched, by fetches."""
        return [ids for ids, _ in self.fetched]

    def get(self, *ids: str, client: str = "alice") -> Deferred[None]:
        """Ask for objects."""
        return Deferred.fromCoroutine(self.by_id.get(ids, client))

    def end(self, number: int = 0) -> None:
        """Have a fetch end well."""
        self.fetched[number][1].callback(None)


def test_what_is_asked_for_twice_is_fetched_once() -> None:
    """Whoever asks for what another has asked for waits for the same fetch; each id is in it once."""
    lane = Lane()
    first, second = lane.get("a", "a", "b"), lane.get("b", client="bob")
    assert lane.ids == [["a", "b"]] and "a" in lane.by_id and "c" not in lane.by_id
    lane.end()
    assert value_of(first) is None and value_of(second) is None
    assert "a" not in lane.by_id and "b" not in lane.by_id


def test_a_client_has_one_fetch_for_all_that_it_asks_for_meanwhile() -> None:
    """What it asks for while its fetch is under way goes into the next one, together; others have their own."""
    lane = Lane()
    waiting = [lane.get("a"), lane.get("b"), lane.get("c")]
    other = lane.get("d", client="bob")
    assert lane.ids == [["a"], ["d"]]
    lane.end()
    assert lane.ids[2:] == [["b", "c"]]
    lane.end(2)
    lane.end(1)
    assert [value_of(one) for one in (*waiting, other)] == [None] * 4


def test_so_many_fetches_at_a_time() -> None:
    """However many clients ask, only a few fetches are under way; the next begins when one of them has ended."""
    lane = Lane()
    waiting = [lane.get(f"{number}", client=f"client {number}") for number in range(AT_A_TIME + 1)]
    assert len(lane.fetched) == AT_A_TIME and not waiting[-1].called
    lane.end()
    assert len(lane.fetched) == AT_A_TIME + 1
    for number in range(1, AT_A_TIME + 1):
        lane.end(number)
    assert [value_of(one) for one in waiting] == [None] * len(waiting)


def test_who_comes_when_too_many_wait_is_told_so() -> None:
    """He is not made to believe that his objects were tried, and may ask again when there is room."""
    lane = Lane()
    waiting = [lane.get(f"{number}", client=f"client {number}") for number in range(AT_A_TIME + WAITING)]
    assert isinstance(failure_of(lane.get("late", client="late")), Busy)
    assert "late" not in lane.by_id
    lane.end()
    again = lane.get("late", client="late")
    assert "late" in lane.by_id and not again.called
    for one in (*waiting, again):
        one.addErrback(lambda failure: failure.trap(CancelledError))
    value_of(Deferred.fromCoroutine(lane.by_id.stop()))
    assert all(one.called for one in waiting) and again.called


def test_everybody_who_waits_is_told_of_a_failure() -> None:
    """Also who asked for something else as well, after all of it was tried; the next may ask anew."""
    lane = Lane()
    first, second = lane.get("a"), lane.get("a", "b", client="bob")
    lane.fetched[0][1].errback(ProcessFailed("git fetch", 128, "no"))
    assert isinstance(failure_of(first), ProcessFailed) and not second.called
    lane.end(1)
    assert isinstance(failure_of(second), ProcessFailed)
    again = lane.get("a")
    lane.end(2)
    assert value_of(again) is None


def test_a_failure_that_comes_at_once_is_told() -> None:
    """Whether or not the fetch had to wait for anything."""

    async def fetch(ids: list[str]) -> None:
        raise ProcessFailed("git fetch", 128, "no")

    by_id = ById(lock=SharedLock(), fetch=fetch)
    assert isinstance(failure_of(Deferred.fromCoroutine(by_id.get(["a"], "alice"))), ProcessFailed)
    assert "a" not in by_id


def test_a_client_that_goes_away_takes_nothing_from_the_others() -> None:
    """The fetch that it began goes on, and ends for whoever else waits; none of its ids is left behind."""
    lane = Lane()
    gone, stays = lane.get("a"), lane.get("a", client="bob")
    gone.cancel()
    assert isinstance(failure_of(gone), CancelledError) and not stays.called
    lane.end()
    assert value_of(stays) is None and "a" not in lane.by_id


def test_a_fetch_that_nobody_waits_for_may_fail() -> None:
    """Nobody is there to be told."""
    lane = Lane()
    gone = lane.get("a")
    gone.cancel()
    failure_of(gone)
    lane.fetched[0][1].errback(ProcessFailed("git fetch", 128, "no"))
    assert "a" not in lane.by_id


@pytest.mark.parametrize("under_way", [True, False])
def test_stopping_breaks_off_what_is_under_way_or_waits(under_way: bool) -> None:
    """Whoever waits is told, and what was held is free again."""
    lane = Lane()
    if not under_way:
        holder = lane.lock.alone()
        value_of(Deferred.fromCoroutine(cast(Any, holder.__aenter__())))
    waiting = lane.get("a")
    assert bool(lane.fetched) is under_way
    value_of(Deferred.fromCoroutine(lane.by_id.stop()))
    assert isinstance(failure_of(waiting), CancelledError) and "a" not in lane.by_id
    if under_way:
        holder = lane.lock.alone()
        value_of(Deferred.fromCoroutine(cast(Any, holder.__aenter__())))


def test_who_takes_packs_away_is_waited_for() -> None:
    """Nothing is fetched meanwhile, and what is asked for until then goes into the one fetch."""
    lane = Lane()
    holder = lane.lock.alone()
    value_of(Deferred.fromCoroutine(cast(Any, holder.__aenter__())))
    waiting = [lane.get("a"), lane.get("b")]
    assert lane.fetched == []
    value_of(Deferred.fromCoroutine(cast(Any, holder.__aexit__(None, None, None))))
    assert lane.ids == [["a", "b"]]
    lane.end()
    assert [value_of(one) for one in waiting] == [None, None]


class Wanting:
    """A mirror that lacks objects: plays everything that getting them needs.

    :ivar there: what it has.
    :ivar brought: what the fetch under way brings, and what a fetch by ids brings.
    """

    def __init__(self, *there: str, ready: bool = True) -> None:
        self.there = set(there)
        self.by_update: set[str] = set()
        self.by_ids: set[str] | CachewError = set()
        self.fetched: list[Sequence[str]] = []
        self.hopeless: set[str] = set()
        self.told: list[CachewError] = []
        self.wanted = WantedObjects(
            life=cast(Any, SimpleNamespace(ready=ready, identity=REPOSITORY)),
            place=cast(Any, SimpleNamespace(repository="repository")),
            objects=cast(Any, self),
            updates=cast(Any, self),
            transfer=cast(Any, self),
            fetches=cast(Any, SimpleNamespace(by_id=lambda work: work)),
            packs=SharedLock(),
        )

    def missing(self, oids: Sequence[str]) -> list[str]:
        return [oid for oid in oids if oid not in self.there]

    def hopeful(self, oids: Sequence[str]) -> list[str]:
        return [oid for oid in oids if oid not in self.hopeless]

    async def followed(self) -> None:
        self.there |= self.by_update

    async def fetch_ids(self, repository: object, oids: Sequence[str]) -> None:
        self.fetched.append(list(oids))
        if isinstance(self.by_ids, CachewError):
            raise self.by_ids
        self.there |= self.by_ids

    def ensure(self, *oids: str) -> list[str]:
        """Return what is still missing."""
        return value_of(Deferred.fromCoroutine(self.wanted.ensure(oids, "alice", self.told.append)))


def test_what_is_there_or_comes_by_itself_is_not_fetched() -> None:
    """The fetch under way may be all that is needed; only what it doesn't bring is asked for by its id."""
    mirror = Wanting("a")
    mirror.by_update, mirror.by_ids = {"b"}, {"c"}
    assert mirror.ensure("a") == [] and mirror.ensure("a", "b") == [] and mirror.fetched == []
    assert mirror.ensure("a", "b", "c", "d") == ["d"] and mirror.fetched == [["c", "d"]]
    assert not mirror.wanted.asked_for("c")


def test_what_was_refused_already_and_mirrors_that_do_not_serve_cost_nothing() -> None:
    """Such objects are missing without a fetch."""
    mirror = Wanting()
    mirror.hopeless = {"a"}
    assert mirror.ensure("a") == ["a"] and mirror.fetched == []
    unready = Wanting(ready=False)
    assert unready.ensure("a") == ["a"] and unready.fetched == []


def test_a_fetch_that_failed_is_told_and_what_is_missing_still_said() -> None:
    """The client can be answered by the upstream then, or learns why not."""
    mirror = Wanting()
    mirror.by_ids = ProcessFailed("git fetch", 128, "no")
    assert mirror.ensure("a") == ["a"] and mirror.told == [mirror.by_ids]
