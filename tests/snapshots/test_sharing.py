"""Several replicas that share what is to be done."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from cachew.mirrors.identity import Identity
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import StorageUnavailable, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.replicas.completions import TaskCompletions
from cachew.replicas.leases import Leases
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.snapshots.schedule import Run, Task, is_due
from cachew.snapshots.sharing import SharedWork, record_of
from tests.fakes.clock import FakeClock
from tests.fakes.records import UnreliableRecords

IDENTITY = Identity("git.example", "org/repo")
TASK = Task(IDENTITY.name, "snapshot")
HOUR = 3600.0


class Replica:
    """One of several, with a time of day that may be wrong."""

    def __init__(self, name: str, records: Any, clock: FakeClock, *, apart: float = 0.0) -> None:
        self.name, self.clock, self.apart = name, clock, apart
        self.run: Run | None = None
        self.made: list[float] = []
        self.hold: Deferred[None] | None = None
        self.failure: Exception | None = None
        self.metrics = Metrics()
        wall = Clock(seconds=clock.seconds, now=self.now)
        self.shared = SharedWork(
            leases=Leases(
                records=records, holder=name, reactor=clock, clock=clock, unique=lambda: f"{name} {len(self.made)}"
            ),
            progress=TaskCompletions(records=records, clock=wall),
            work=self.work,
            own=frozenset({"repack"}),
            clock=wall,
            metrics=self.metrics,
        )

    def now(self) -> float:
        """Return the time of day, as this replica has it."""
        return 1_000_000 + self.clock.seconds() + self.apart

    async def work(self, identity: Identity, name: str) -> bool:
        """Make something."""
        self.made.append(self.clock.seconds())
        if self.hold is not None:
            await self.hold
        if self.failure is not None:
            raise self.failure
        return True

    def turn(self, name: str = "snapshot", is_due: Callable[[Run | None], bool] | None = None) -> Any:
        """Do what is due; gives what has come of it, None while it goes on."""
        results: list[Any] = []
        if (is_due or self.due)(self.run):
            work = Deferred.fromCoroutine(self.shared.perform(IDENTITY, name, self.run, is_due or self.due))
            work.addBoth(results.append)
            work.addBoth(lambda _: self.learn(results[0]))
            self.working = work
        return results[0] if results else None

    def learn(self, result: Any) -> None:
        """Remember what the schedule would."""
        if isinstance(result, Run):
            self.run = result
        elif isinstance(result, Failure) and not result.check(CancelledError):
            self.run = Run(self.now(), False, self.run.number if self.run else 0)

    def due(self, run: Run | None) -> bool:
        """Whether the task is due."""
        return is_due(TASK, HOUR, run, self.now(), self.name)

    def counted(self, outcome: str) -> float | None:
        """Return how many tasks ended in a certain way."""
        labels = {"task": "snapshot", "outcome": outcome}
        return self.metrics.registry.get_sample_value("cachew_scheduled_work_total", labels)


@pytest.fixture
def clock() -> FakeClock:
    """The true time."""
    return FakeClock()


@pytest.fixture
def records() -> UnreliableRecords:
    """What the replicas share."""
    return UnreliableRecords(MemoryRecords())


@pytest.mark.parametrize("apart", [0.0, 300.0])
def test_each_interval_has_one_that_works(records: UnreliableRecords, clock: FakeClock, apart: float) -> None:
    """Over twenty intervals something is made once in each, whatever the clocks say."""
    replicas = [Replica(f"r{number}", records, clock, apart=(number - 1) * apart) for number in range(3)]
    while clock.seconds() < 20 * HOUR:
        for replica in replicas:
            replica.turn()
        clock.advance(15)
    made = sorted(moment for replica in replicas for moment in replica.made)
    gaps = [later - earlier for earlier, later in itertools.pairwise(made)]
    assert min(gaps) >= 0.8 * HOUR - 15
    assert max(gaps) <= 1.2 * HOUR + 15
    assert sum(replica.counted("made") or 0 for replica in replicas) == len(made)


def test_a_new_replica_does_not_repeat_what_was_done(records: UnreliableRecords, clock: FakeClock) -> None:
    """It learns at its first look that the work was done, and when about."""
    one, two = Replica("one", records, clock), Replica("two", records, clock)
    one.turn()
    clock.advance(HOUR / 4)
    two.turn()
    assert (two.made, two.counted("elsewhere")) == ([], 1)
    clock.advance(1.2 * HOUR)
    two.turn()
    assert len(two.made) == 1


def test_two_that_begin_at_once_are_one(records: UnreliableRecords, clock: FakeClock) -> None:
    """The second finds the lease taken, and later that there is nothing left to do."""
    one, two = Replica("one", records, clock), Replica("two", records, clock)
    one.hold = Deferred()
    one.turn()
    assert two.turn() is None
    one.hold.callback(None)
    two.turn()
    assert (len(one.made), len(two.made)) == (1, 0)
    assert two.run is not None and two.run.succeeded


def overtaken(records: UnreliableRecords, clock: FakeClock) -> tuple[Replica, Replica]:
    """Return a replica that has stood still in its work for longer than its lease, and the one that did it then."""
    one, two = Replica("one", records, FakeClock()), Replica("two", records, clock)
    one.hold = Deferred()
    one.turn()
    for _ in range(10):
        two.turn()
        clock.advance(15)
    return one, two


def test_a_dead_one_is_replaced(records: UnreliableRecords, clock: FakeClock) -> None:
    """The work of one that is silent for the lease's duration is done by another."""
    _, two = overtaken(records, clock)
    assert len(two.made) == 1


def test_one_that_was_stopped_completes_nothing(records: UnreliableRecords, clock: FakeClock) -> None:
    """Whose process stood still while another did its work finds that out at the end, if not before."""
    one, two = overtaken(records, clock)
    told = two.run
    assert one.hold is not None
    one.hold.callback(None)
    assert (one.run, one.counted("elsewhere"), one.counted("made")) == (None, 1, 0)
    clock.advance(0.1 * HOUR)
    two.turn()
    assert (len(two.made), two.run) == (1, told)
    one.turn()
    assert len(one.made) == 1
    assert one.run is not None and told is not None and one.run.number == told.number


def test_a_failure_is_no_completion(records: UnreliableRecords, clock: FakeClock) -> None:
    """The next replica tries at once, the one that failed after a while."""
    one, two = Replica("one", records, clock), Replica("two", records, clock)
    one.failure = UpstreamUnreachable("https://git.example", "no connection")
    one.turn()
    one.turn()
    assert (len(one.made), one.counted("failed")) == (1, 1)
    two.turn()
    assert len(two.made) == 1
    clock.advance(HOUR / 5)
    one.turn()
    assert len(one.made) == 1


def test_without_records_nothing_is_done(records: UnreliableRecords, clock: FakeClock) -> None:
    """Lest every replica do it; it is tried again."""
    one = Replica("one", records, clock)
    records.down = True
    assert one.turn().check(StorageUnavailable)
    assert one.made == []
    records.down = False
    clock.advance(HOUR / 5)
    one.turn()
    assert len(one.made) == 1


def test_work_ends_when_the_lease_is_lost(records: UnreliableRecords, clock: FakeClock) -> None:
    """Another replica may be at it by then."""
    one = Replica("one", records, clock)
    one.hold = Deferred()
    one.turn()
    records.down = True
    clock.pump([15] * 5)
    assert one.hold.called
    assert one.run is not None and not one.run.succeeded
    assert one.counted("failed") == 1


def test_own_tasks_are_every_replicas(records: UnreliableRecords, clock: FakeClock) -> None:
    """Each repacks its own mirror."""
    for name in ("one", "two"):
        replica = Replica(name, records, clock)
        replica.turn("repack")
        assert len(replica.made) == 1


def test_what_is_asked_for_now_does_not_wait_for_the_interval(records: UnreliableRecords, clock: FakeClock) -> None:
    """A client that would have liked it has it made though it was due only later."""
    one = Replica("one", records, clock)
    one.turn()
    one.turn(is_due=lambda run: True)
    assert len(one.made) == 2


def test_tasks_of_different_repositories_have_different_records() -> None:
    """A branch with slashes in its name makes no task the same as one of a repository whose name goes on with it."""
    one = record_of(Identity("a.example", "b.example/r"), "snapshot ref=refs/heads/x")
    other = record_of(Identity("b.example", "r"), "snapshot ref=refs/heads/x/a.example")
    assert one != other and record_of(IDENTITY, "snapshot") == "snapshot/git.example/org/repo"
