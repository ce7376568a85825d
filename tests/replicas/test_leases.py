"""Leases between two replicas whose clocks have nothing to do with each other."""

import itertools
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from cachew.replicas.lease import Lease, LeaseLost
from cachew.replicas.leases import Leases
from cachew.replicas.memoryrecords import MemoryRecords
from tests.fakes.clock import FakeClock
from tests.fakes.records import UnreliableRecords
from tests.fakes.settled import value_of

DURATION = 60.0


class Replica:
    """One replica with a clock and a way to the records of its own."""

    def __init__(self, shared: MemoryRecords, name: str, start: float, terms: "itertools.count[int]") -> None:
        self.clock = FakeClock()
        self.clock.rightNow = start
        self.records = UnreliableRecords(shared)
        self.leases = Leases(
            records=self.records,
            holder=name,
            reactor=self.clock,
            clock=self.clock,
            duration=DURATION,
            unique=lambda: str(next(terms)),
        )
        self.ended: list[str] = []

    async def work(self) -> str:
        """Work until cancelled."""
        try:
            await Deferred[None]()
        except CancelledError:
            self.ended.append("cancelled")
            raise
        return "never"


@pytest.fixture
def pair() -> tuple[Replica, Replica]:
    """Return two replicas, an hour apart."""
    shared, terms = MemoryRecords(), itertools.count()
    return Replica(shared, "one", 1000.0, terms), Replica(shared, "two", 4600.0, terms)


def pass_time(seconds: float, *replicas: Replica) -> None:
    """Let time pass for some replicas, in small steps."""
    for _ in range(int(seconds)):
        for replica in replicas:
            replica.clock.advance(1)


async def held(replica: Replica) -> Lease:
    """Take a lease that must be free."""
    lease = await replica.leases.acquire("work")
    assert lease is not None
    return lease


@pytest_twisted.ensureDeferred
async def test_one_has_it(pair: tuple[Replica, Replica]) -> None:
    """While one replica has a lease the other does not get it; when it is released it does, at once."""
    one, two = pair
    lease = await held(one)
    assert await two.leases.acquire("work") is None
    assert await two.leases.acquire("other") is not None
    await lease.release()
    assert await two.leases.acquire("work") is not None


@pytest_twisted.ensureDeferred
async def test_a_dead_holder_is_followed_after_the_duration(pair: tuple[Replica, Replica]) -> None:
    """A lease without signs of life goes to the other, a duration after that has first seen it, whatever the clocks."""
    one, two = pair
    lease = await held(one)
    pass_time(1000, two)
    assert await two.leases.acquire("work") is None
    pass_time(59, two)
    assert await two.leases.acquire("work") is None
    pass_time(1, two)
    assert await two.leases.acquire("work") is not None
    with pytest.raises(LeaseLost):
        await lease.renew()


@pytest_twisted.ensureDeferred
async def test_a_living_holder_keeps_it(pair: tuple[Replica, Replica]) -> None:
    """As long as a holder renews its lease nobody takes it."""
    one, two = pair
    lease = await held(one)
    for _ in range(10):
        assert await two.leases.acquire("work") is None
        pass_time(50, two)
        await lease.renew()


@pytest_twisted.ensureDeferred
async def test_a_late_holder_takes_nothing_back(pair: tuple[Replica, Replica]) -> None:
    """A holder that was taken for dead and comes back loses, and its release harms nobody."""
    one, two = pair
    lease = await held(one)
    await two.leases.acquire("work")
    pass_time(DURATION, two)
    other = await held(two)
    await lease.release()
    assert await one.leases.acquire("work") is None
    await other.renew()


@pytest_twisted.ensureDeferred
async def test_a_lost_answer_loses_no_lease(pair: tuple[Replica, Replica]) -> None:
    """A renewal that took effect though its answer was lost is recognised as one's own."""
    one, _ = pair
    lease = await held(one)
    one.records.lost_answers = 1
    await lease.renew()
    await lease.renew()
    await lease.release()


@pytest_twisted.ensureDeferred
async def test_an_old_trace_is_no_sign_of_life(pair: tuple[Replica, Replica]) -> None:
    """Others have watched it for as long as it has been there, so who meets a trace of its own leaves another one."""
    one, two = pair
    lease = await held(one)
    pass_time(15, one, two)
    one.records.lost_answers = 1
    await lease.renew()
    assert await two.leases.acquire("work") is None
    pass_time(24, one, two)
    await lease.renew()
    pass_time(36, one, two)
    assert lease.left > 0
    assert await two.leases.acquire("work") is None


@pytest_twisted.ensureDeferred
async def test_a_lease_is_as_old_as_the_question(pair: tuple[Replica, Replica]) -> None:
    """Others may have seen it all the while that its holder has waited for the answer."""
    one, _ = pair
    one.records.before_answer = lambda: one.clock.advance(DURATION)
    assert (await held(one)).left == 0


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fields", [{}, {"holder": "one", "term": "0", "beat": "5"}, {"holder": None}])
async def test_a_holder_gives_up_when_its_record_is_damaged(pair: tuple[Replica, Replica], fields: Any) -> None:
    """Its work is cancelled, and another replica has the lease after the duration."""
    one, two = pair
    running = Deferred.fromCoroutine(one.leases.run("work", one.work))
    found = await one.records.get("leases/work")
    assert found is not None
    await one.records.put("leases/work", fields, version=found.version)
    assert await two.leases.acquire("work") is None
    pass_time(DURATION / 4, one, two)
    with pytest.raises(LeaseLost):
        await running
    assert one.ended == ["cancelled"]
    assert await two.leases.acquire("work") is None
    pass_time(DURATION * 3 / 4, one, two)
    assert await two.leases.acquire("work") is not None


@pytest_twisted.ensureDeferred
async def test_a_holder_without_storage_gives_up_first(pair: tuple[Replica, Replica]) -> None:
    """Who can't renew counts the lease as lost before another may take it."""
    one, two = pair
    lease = await held(one)
    assert await two.leases.acquire("work") is None
    one.records.down = True
    pass_time(39, one, two)
    await lease.renew()
    pass_time(1, one, two)
    with pytest.raises(LeaseLost):
        await lease.renew()
    assert await two.leases.acquire("work") is None


@pytest_twisted.ensureDeferred
async def test_work_runs_under_a_lease(pair: tuple[Replica, Replica]) -> None:
    """Work that takes long keeps its lease by itself, and the other replica's is not run meanwhile."""
    one, two = pair
    done: Deferred[str] = Deferred()

    async def wait() -> str:
        return await done

    running = Deferred.fromCoroutine(one.leases.run("work", wait))
    for _ in range(5):
        assert await two.leases.run("work", two.work) is None
        pass_time(50, one, two)
    done.callback("result")
    assert await running == "result"
    assert not one.clock.getDelayedCalls()
    assert await two.leases.acquire("work") is not None


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("how", ["down", "hanging"])
async def test_work_whose_lease_is_lost_is_cancelled(pair: tuple[Replica, Replica], how: str) -> None:
    """When the storage is gone or hangs for too long the work is cancelled, before another replica begins it."""
    one, two = pair
    running = Deferred.fromCoroutine(one.leases.run("work", one.work))
    assert await two.leases.acquire("work") is None
    setattr(one.records, how, True)
    pass_time(DURATION - 1, one, two)
    with pytest.raises(LeaseLost):
        await running
    assert one.ended == ["cancelled"]
    assert not one.clock.getDelayedCalls()


@pytest_twisted.ensureDeferred
async def test_work_that_fails_or_is_cancelled_frees_its_lease(pair: tuple[Replica, Replica]) -> None:
    """However work ends, others may have the lease then."""
    one, two = pair

    async def fail() -> str:
        raise KeyError("no")

    with pytest.raises(KeyError):
        await one.leases.run("work", fail)
    running = Deferred.fromCoroutine(two.leases.run("work", two.work))
    running.cancel()
    with pytest.raises(CancelledError):
        await running
    assert await one.leases.acquire("work") is not None
    assert not two.clock.getDelayedCalls()


@pytest.mark.parametrize("end", ["done", "cancelled"])
def test_a_store_that_hangs_is_not_waited_for_when_a_lease_is_released(pair: tuple[Replica, Replica], end: str) -> None:
    """Work under a lease ends within two seconds of its end, though the store takes nothing; others have the lease
    when its duration is over."""
    one, two = pair
    done: Deferred[str] = Deferred()

    async def wait() -> str:
        return await done

    running, ended = Deferred.fromCoroutine(one.leases.run("work", wait)), list[Any]()
    running.addBoth(ended.append)
    one.records.hanging = True
    if end == "done":
        done.callback("result")
    else:
        running.cancel()
    pass_time(1, one)
    assert not ended
    pass_time(1, one)
    if end == "done":
        assert ended == ["result"]
    else:
        assert ended[0].check(CancelledError)
    assert not one.clock.getDelayedCalls()
    assert value_of(Deferred.fromCoroutine(two.leases.acquire("work"))) is None
    pass_time(DURATION, two)
    assert value_of(Deferred.fromCoroutine(two.leases.acquire("work"))) is not None


@pytest_twisted.ensureDeferred
async def test_what_nobody_asks_for_any_more_is_not_watched(pair: tuple[Replica, Replica]) -> None:
    """Leases of repositories that are gone are forgotten, however many; one that is asked for once in a week is not."""
    one, two = pair
    for number in range(20):
        assert await one.leases.acquire(f"snapshot/{number}") is not None
    for number in range(20):
        assert await two.leases.acquire(f"snapshot/{number}") is None
    assert two.leases.watched == 20
    for _ in range(4):
        two.clock.advance(7 * 86400)
        assert await two.leases.acquire("snapshot/7") is not None
        assert await one.leases.acquire("snapshot/7") is None
        one.clock.advance(2 * DURATION)
        assert await one.leases.acquire("snapshot/7") is not None
        assert await two.leases.acquire("snapshot/7") is None
    assert two.leases.watched == 20
    two.clock.advance(3 * 86400)
    assert await two.leases.acquire("snapshot/7") is not None
    await held(one)
    assert await two.leases.acquire("work") is None
    assert two.leases.watched == 1
