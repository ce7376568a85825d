"""What every storage of shared records has to keep to."""

import itertools
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import capturedLogs, formatEvent

from cachew.plumbing.errors import BadRequest, Conflict
from cachew.replicas.completions import TaskCompletions
from cachew.replicas.lease import Lease
from cachew.replicas.leases import Leases
from cachew.replicas.records import CLOCKS_APART, Records
from cachew.replicas.sightings import Sightings
from tests.fakes.clock import FakeClock

T = TypeVar("T")

NOW = 1_700_000_000.0
DURATION = 60.0
HUGE = 10**400

Fields = Mapping[str, Any]

NO_LEASES: Sequence[Fields] = [
    {},
    {"unknown": 1},
    {"term": "t", "beat": 0},
    {"holder": 5, "term": "t", "beat": 0},
    {"holder": "h", "term": "t", "beat": "0"},
    {"holder": None, "term": None, "beat": 0},
]
NO_COMPLETIONS: Sequence[Fields] = [
    {},
    {"number": 3, "at": NOW},
    {"number": "3", "at": NOW, "detail": {}},
    {"number": 3, "at": "yesterday", "detail": {}},
    {"number": 3, "at": HUGE, "detail": {}},
    {"number": 3, "at": float("inf"), "detail": {}},
    {"number": -1, "at": NOW, "detail": {}},
    {"number": 3, "at": NOW, "detail": []},
]
NO_COUNTERS: Sequence[Fields] = [{}, {"count": "many"}, {"count": None}, {"count": 1.5}, {"count": True}]
NO_SIGHTINGS: Sequence[Fields] = [
    {},
    {"at": "now"},
    {"at": True},
    {"at": -1},
    {"at": HUGE},
    {"at": float("nan")},
    {"at": NOW + CLOCKS_APART + 1},
]


def replaced(events: Sequence[Any], name: str) -> int:
    """Return how often it was logged that a damaged record was replaced."""
    lines = [formatEvent(event) for event in events]
    return lines.count(f"the shared record {name} was damaged and has been replaced")


async def at_once(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Do several things at the same time and return what comes of them."""
    results = await DeferredList([Deferred.fromCoroutine(work) for work in works], fireOnOneErrback=True)
    return [result for _, result in results]


class RecordsContract:
    """The suite; ``records`` is a fixture of the subclass."""

    @pytest_twisted.ensureDeferred
    async def test_gives_back_what_was_put(self, records: Records) -> None:
        """A record comes back as it was put, with the version that its putting returned."""
        assert await records.get("a/b") is None
        value: dict[str, Any] = {"text": "naïve", "number": 1, "list": [1.5, None], "nested": {"x": True}}
        put = await records.put("a/b", value, version=None)
        found = await records.get("a/b")
        assert found == put
        assert found is not None
        assert found.value == value

    @pytest_twisted.ensureDeferred
    async def test_replaces_what_was_read_only(self, records: Records) -> None:
        """A put succeeds on the version that was read and on no other."""
        first = await records.put("name", {"n": 1}, version=None)
        with pytest.raises(Conflict):
            await records.put("name", {"n": 9}, version=None)
        second = await records.put("name", {"n": 2}, version=first.version)
        with pytest.raises(Conflict):
            await records.put("name", {"n": 9}, version=first.version)
        with pytest.raises(Conflict):
            await records.put("other", {"n": 9}, version=second.version)
        assert await records.get("name") == second
        assert await records.get("other") is None

    @pytest_twisted.ensureDeferred
    async def test_a_return_to_an_old_value_is_a_change(self, records: Records) -> None:
        """Versions differ though values are equal: who read before A became B and A again has read something else."""
        first = await records.put("name", {"n": 1}, version=None)
        second = await records.put("name", {"n": 2}, version=first.version)
        third = await records.put("name", {"n": 1}, version=second.version)
        assert len({first.version, second.version, third.version}) == 3
        with pytest.raises(Conflict):
            await records.put("name", {"n": 3}, version=first.version)

    @pytest_twisted.ensureDeferred
    async def test_one_of_many_wins(self, records: Records) -> None:
        """Of many that replace the same version at once, exactly one succeeds."""
        first = await records.put("name", {"n": 0}, version=None)
        racing = [
            Deferred.fromCoroutine(records.put("name", {"n": number}, version=first.version)) for number in range(1, 9)
        ]
        results = await DeferredList(racing, consumeErrors=True)
        won = [number for number, (succeeded, _) in enumerate(results, 1) if succeeded]
        assert len(won) == 1
        found = await records.get("name")
        assert found is not None
        assert found.value == {"n": won[0]}

    @pytest_twisted.ensureDeferred
    async def test_no_count_is_lost(self, records: Records) -> None:
        """Counting at once from several replicas loses nothing."""
        progress = TaskCompletions(records=records, clock=FakeClock())
        assert await progress.counted("fetches") == 0
        await DeferredList([Deferred.fromCoroutine(progress.count("fetches")) for _ in range(5)])
        assert await progress.counted("fetches") == 5

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("fields", NO_LEASES)
    async def test_a_damaged_lease_goes_to_one_replica(self, records: Records, fields: Fields) -> None:
        """Its holder may live: it is watched for the duration like any other, then one of those who want it has it."""
        await records.put("leases/work", fields, version=None)
        clocks, terms = [FakeClock(), FakeClock(), FakeClock()], itertools.count()
        replicas = [
            Leases(
                records=records,
                holder="a",
                reactor=clock,
                clock=clock,
                duration=DURATION,
                unique=lambda: str(next(terms)),
            )
            for clock in clocks
        ]

        async def acquire_all() -> list[Lease | None]:
            return await at_once([replica.acquire("work") for replica in replicas])

        with capturedLogs() as events:
            for passing in (DURATION - 1, 1):
                assert await acquire_all() == [None, None, None]
                for clock in clocks:
                    clock.advance(passing)
            (lease,) = [lease for lease in await acquire_all() if lease is not None]
        await lease.renew()
        assert await acquire_all() == [None, None, None]
        assert replaced(events, "leases/work") == 1

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("fields", NO_COMPLETIONS)
    async def test_a_damaged_completion_is_none(self, records: Records, fields: Fields) -> None:
        """Until one is written down in its place, whose number nobody has seen before."""
        await records.put("completions/work", fields, version=None)
        progress = TaskCompletions(records=records, clock=FakeClock(now=NOW))
        assert await progress.last("work") is None
        with capturedLogs() as events:
            done = await progress.completed("work", since=None, made=True)
            again = await progress.completed("work", since=done)
        assert await progress.last("work") == again
        assert (done.at, done.detail, again.number) == (NOW, {"made": True}, done.number + 1)
        assert done.number > 1000
        assert replaced(events, "completions/work") == 1

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("fields", NO_COUNTERS)
    async def test_a_damaged_counter_begins_anew(self, records: Records, fields: Fields) -> None:
        """Whoever counts at the same time, one replaces it and nothing that is counted then is lost."""
        await records.put("counters/clones", fields, version=None)
        progress = TaskCompletions(records=records, clock=FakeClock(now=NOW))
        assert await progress.counted("clones") == 0
        with capturedLogs() as events:
            await at_once([progress.count("clones") for _ in range(4)])
        assert await progress.counted("clones") == 4
        assert replaced(events, "counters/clones") == 1

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("fields", NO_SIGHTINGS)
    async def test_a_damaged_sighting_is_none(self, records: Records, fields: Fields) -> None:
        """Until the next one; voiding it makes it void for good, since it may be read rightly later."""
        for name in ("a", "b"):
            await records.put(f"public/{name}", fields, version=None)
        sightings = Sightings(what="public", records=records, clock=FakeClock(now=NOW))
        assert await sightings.last("a") is None
        with capturedLogs() as events:
            await sightings.seen("a", NOW - 5)
            await sightings.void("b")
        assert await sightings.last("a") == NOW - 5
        found = await records.get("public/b")
        assert found is not None and found.value == {"at": 0.0}
        assert (replaced(events, "public/a"), replaced(events, "public/b")) == (1, 1)

    @pytest_twisted.ensureDeferred
    @pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "../a", "a/../b", "a/.b", "a b", "ä", "a" * 600])
    async def test_refuses_malformed_names(self, records: Records, name: str) -> None:
        """A name that could leave the records' folder is refused."""
        with pytest.raises(BadRequest):
            await records.get(name)
        with pytest.raises(BadRequest):
            await records.put(name, {}, version=None)
