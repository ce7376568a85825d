"""The scheduler as a service, on a clock of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import MirrorGone, NotFound
from cachew.plumbing.jobs import Slots
from cachew.snapshots.schedule import Intervals, Run
from cachew.snapshots.scheduler import TURN, Scheduler
from cachew.snapshots.taskhistory import TaskHistory
from cachew.snapshots.timetable import IsDue
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of, value_of

ONE, TWO = Identity("git.example", "one"), Identity("git.example", "two")
HOUR = 3600.0


async def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """A thread that needs no time."""
    return function(*args)


class Bench:
    """A scheduler of two repositories; what it does ends when the test says so."""

    def __init__(self, file: Path, *, places: int = 2, asked_for: float = 0.0) -> None:
        self.file, self.places, self.asked_for = file, places, asked_for
        self.clock = FakeClock()
        self.clock.advance(1_000_000)
        self.repositories = [ONE, TWO]
        self.done: list[tuple[str, str]] = []
        self.waiting: list[Deferred[None]] = []
        self.failure: Exception | None = None
        self.hold = self.elsewhere = False
        self.asked = 0
        self.known: Deferred[None] | None = None
        self.scheduler = self.new()

    def new(self) -> Scheduler:
        """Make a scheduler, as after a restart."""
        self.history = TaskHistory(
            clock=self.clock,
            threads=at_once,
            file=self.file,
            seed="replica",
            intervals=Intervals(
                always={"snapshot": HOUR, "repack": 0},
                wanted=HOUR,
                forget=10 * HOUR,
                while_asked=frozenset({"snapshot"}),
                asked_for=self.asked_for,
            ),
        )
        return Scheduler(
            repositories=lambda: self.repositories,
            perform=self.perform,
            slots=Slots(limit=self.places, kept_short=1),
            reactor=self.clock,
            history=self.history,
            is_long=lambda repository, name: "huge" in repository,
            known=self.all_known,
        )

    async def all_known(self) -> None:
        """Wait until the test says so, if it does."""
        if self.known is not None:
            await self.known

    async def perform(self, identity: Identity, name: str, last: Run | None, is_due: IsDue) -> Run | None:
        """Do a task, unless another replica is at it."""
        if self.elsewhere:
            self.asked += 1
            return None
        assert is_due(last)
        self.done.append((identity.path, name))
        if self.hold:
            waiter: Deferred[None] = Deferred()
            self.waiting.append(waiter)
            await waiter
        if self.failure is not None:
            raise self.failure
        return Run(self.clock.now(), True)

    def pass_time(self, seconds: float) -> None:
        """Let turns come."""
        self.clock.pump([TURN] * int(seconds / TURN))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a bench without memory."""
    return Bench(tmp_path / "schedule.json")


def test_everything_is_done_at_start_and_once_an_interval(bench: Bench) -> None:
    """Two repositories, two runs at start, two more within the next jittered hour."""
    bench.scheduler.startService()
    assert sorted(bench.done) == [("one", "snapshot"), ("two", "snapshot")]
    bench.pass_time(0.7 * HOUR)
    assert len(bench.done) == 2
    bench.pass_time(0.6 * HOUR)
    assert len(bench.done) == 4
    bench.scheduler.stopService()


def test_the_first_turn_waits_until_it_is_known_what_there_is(bench: Bench) -> None:
    """What somebody would have liked begins at once; a stop before that forgets nothing of what was done."""
    bench.scheduler.startService()
    bench.scheduler.stopService()
    again = bench.new()
    bench.known = Deferred()
    bench.clock.advance(2 * HOUR)
    again.startService()
    assert len(bench.done) == 2
    again.warm(ONE, "repack")
    assert bench.done[2:] == [("one", "repack")]
    again.stopService()
    bench.known = Deferred()
    last = bench.new()
    last.startService()
    bench.known.callback(None)
    assert sorted(bench.done[3:]) == [("one", "snapshot"), ("two", "snapshot")]
    last.stopService()


def test_a_restart_repeats_nothing(bench: Bench) -> None:
    """What was done before the restart isn't due after it."""
    bench.scheduler.startService()
    bench.scheduler.stopService()
    again = bench.new()
    again.startService()
    assert len(bench.done) == 2
    again.stopService()


@pytest.mark.parametrize("jump", [-10 * HOUR, -300, 300, 10 * HOUR])
def test_a_clock_that_jumps_changes_no_interval(bench: Bench, jump: float) -> None:
    """Nothing is done again because of it, nor later than it would have been."""
    bench.scheduler.startService()
    bench.pass_time(0.5 * HOUR)
    bench.clock.ahead = jump
    bench.pass_time(0.29 * HOUR)
    assert len(bench.done) == 2
    bench.pass_time(0.42 * HOUR)
    assert len(bench.done) == 4
    bench.clock.ahead = 0.0
    bench.pass_time(0.5 * HOUR)
    assert len(bench.done) == 4
    bench.pass_time(0.75 * HOUR)
    assert len(bench.done) == 6
    bench.scheduler.stopService()


@pytest.mark.parametrize("jump", [-10 * HOUR, -300, 300, 10 * HOUR])
def test_a_clock_that_jumps_while_something_is_done(bench: Bench, jump: float) -> None:
    """What ends after the jump is dated by the new time already."""
    bench.hold = True
    bench.scheduler.startService()
    bench.clock.ahead = jump
    for waiter in bench.waiting:
        waiter.callback(None)
    bench.hold = False
    bench.pass_time(0.79 * HOUR)
    assert len(bench.done) == 2
    bench.pass_time(0.42 * HOUR)
    assert len(bench.done) == 4
    bench.scheduler.stopService()


def test_a_clock_that_was_wrong_before_a_restart(bench: Bench) -> None:
    """What was done in the future counts as done now; it comes again after an interval."""
    bench.clock.ahead = 1000 * HOUR
    bench.scheduler.startService()
    bench.scheduler.stopService()
    bench.clock.ahead = 0.0
    again = bench.new()
    again.startService()
    bench.pass_time(0.75 * HOUR)
    assert len(bench.done) == 2
    bench.pass_time(0.5 * HOUR)
    assert len(bench.done) == 4
    again.stopService()


def test_no_more_is_done_at_once_than_there_are_places(tmp_path: Path) -> None:
    """And a task under way isn't begun a second time."""
    bench = Bench(tmp_path / "schedule.json", places=1)
    bench.hold = True
    bench.scheduler.startService()
    bench.pass_time(3 * HOUR)
    assert len(bench.done) == 1
    bench.waiting[0].callback(None)
    assert len(bench.done) == 2
    bench.scheduler.stopService()


def test_failures_are_logged_and_tried_again(bench: Bench, flush_logged_errors: Any) -> None:
    """One failure ends nothing: the task comes again, and so do the others."""
    bench.failure = NotFound("not today")
    bench.scheduler.startService()
    bench.failure = ZeroDivisionError()
    bench.pass_time(0.15 * HOUR)
    assert len(flush_logged_errors(ZeroDivisionError)) == 2
    bench.failure = None
    bench.pass_time(0.2 * HOUR)
    assert len(bench.done) == 6
    bench.scheduler.stopService()


def test_variants_are_done_while_somebody_asks(bench: Bench) -> None:
    """A branch's snapshot is made again as long as it was asked for lately."""
    bench.scheduler.startService()
    bench.history.want(ONE, "snapshot ref=refs/heads/x")
    bench.history.want(ONE, "snapshot")
    bench.pass_time(30 * HOUR)
    times = bench.done.count(("one", "snapshot ref=refs/heads/x"))
    assert 7 <= times <= 13
    bench.scheduler.stopService()


def test_warming_begins_at_once_and_not_twice(bench: Bench) -> None:
    """However many ask, a task is begun once, and again only after a while."""
    bench.repositories = []
    bench.scheduler.startService()
    for _ in range(3):
        bench.scheduler.warm(ONE, "lfs-snapshot")
    assert bench.done == [("one", "lfs-snapshot")]
    bench.pass_time(90)
    bench.scheduler.warm(ONE, "lfs-snapshot")
    assert len(bench.done) == 2
    bench.scheduler.stopService()


def test_what_was_asked_for_before_there_is_a_mirror_is_begun_again(bench: Bench) -> None:
    """A mirror that was not made yet has no failed task: as soon as it is there, who asks next has it done."""
    bench.repositories, bench.failure = [], MirrorGone("not mirrored yet")
    bench.scheduler.startService()
    bench.scheduler.warm(ONE, "bundles")
    bench.failure = None
    bench.scheduler.warm(ONE, "bundles")
    bench.scheduler.warm(ONE, "bundles")
    assert bench.done == [("one", "bundles")] * 2
    bench.scheduler.stopService()


def test_stopping_breaks_off_what_is_being_done(bench: Bench) -> None:
    """What was broken off is due again after the restart."""
    bench.hold = True
    bench.scheduler.startService()
    stopped = bench.scheduler.stopService()
    assert stopped.called
    bench.scheduler.warm(ONE, "lfs-snapshot")
    assert len(bench.done) == 2
    again = bench.new()
    bench.hold = False
    again.startService()
    assert len(bench.done) == 4
    again.stopService()


def test_what_another_replica_is_at_is_asked_for_at_every_turn(bench: Bench) -> None:
    """Nothing is remembered of it, so that this replica takes over as soon as that one is gone."""
    bench.elsewhere = True
    bench.scheduler.startService()
    bench.pass_time(3 * TURN)
    assert bench.asked == 2 * 4
    bench.elsewhere = False
    bench.pass_time(TURN)
    assert len(bench.done) == 2
    bench.scheduler.stopService()


def test_very_many_long_tasks_keep_no_short_one_waiting(bench: Bench) -> None:
    """Hundreds of huge repositories that are longest overdue take turns in their place; a tiny one is done at once."""
    bench.hold = True
    huge = [Identity("git.example", f"huge/{number}") for number in range(300)]
    tiny = Identity("git.example", "tiny")
    bench.repositories = [*huge, tiny]
    bench.scheduler.startService()
    bench.clock.pump([0] * 20)
    assert [path for path, _ in bench.done] == ["huge/0", "tiny"]
    bench.scheduler.warm(Identity("git.example", "small"), "snapshot")
    bench.waiting.pop().callback(None)
    assert [path for path, _ in bench.done][2:] == ["small"]
    bench.scheduler.stopService()


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    """Artefacts are made of a repository for as long as it was asked for lately, across restarts, and no longer."""
    bench = Bench(tmp_path / "schedule.json", asked_for=3 * HOUR)
    bench.scheduler.startService()
    bench.pass_time(2 * HOUR)
    assert bench.done == []
    bench.history.asked(ONE)
    bench.pass_time(2 * TURN)
    assert bench.done == [("one", "snapshot")]
    bench.scheduler.stopService()
    again = bench.scheduler = bench.new()
    again.startService()
    bench.pass_time(10 * HOUR)
    assert 2 <= len(bench.done) <= 4 and ("two", "snapshot") not in bench.done
    before = len(bench.done)
    bench.history.asked(ONE)
    bench.pass_time(2 * TURN)
    assert len(bench.done) == before + 1
    again.stopService()


def test_what_was_asked_for_goes_with_its_instance(tmp_path: Path) -> None:
    """Another repository of the name has to be asked for itself."""
    bench = Bench(tmp_path / "schedule.json", asked_for=3 * HOUR)
    bench.scheduler.startService()
    bench.history.asked(ONE)
    bench.scheduler.forget(ONE)
    bench.pass_time(HOUR)
    assert bench.done == []
    bench.scheduler.stopService()


def test_very_many_repositories_take_turns_with_others(bench: Bench) -> None:
    """The reactor has its turn after some hundreds of repositories."""
    bench.repositories = [Identity("git.example", f"r{number}") for number in range(1200)]
    bench.hold = True
    bench.scheduler.startService()
    assert bench.done == []
    bench.clock.advance(0)
    bench.clock.advance(0)
    assert len(bench.done) == bench.places
    bench.scheduler.stopService()


def test_very_many_tasks_take_turns_with_others(bench: Bench) -> None:
    """The reactor has its turn after some tasks have been begun, also of those that are done at once."""
    bench.repositories = [Identity("git.example", f"r{number}") for number in range(50)]
    bench.scheduler.startService()
    assert len(bench.done) == 20
    bench.clock.advance(0)
    bench.clock.advance(0)
    assert len(bench.done) == 50
    bench.scheduler.stopService()


def test_the_memory_is_written_once_a_minute(bench: Bench) -> None:
    """However much is done; and when the scheduler stops."""
    bench.scheduler.startService()
    written = bench.file.stat().st_ino
    for _ in range(3):
        bench.history.want(ONE, "snapshot main")
        bench.pass_time(TURN)
    assert bench.file.stat().st_ino == written
    bench.pass_time(2 * TURN)
    assert bench.file.stat().st_ino != written
    bench.scheduler.stopService()


def test_what_could_not_be_written_down_is_written_down_later(tmp_path: Path) -> None:
    """A disk that is full when something was asked for is not the end of it, though nothing else happens."""
    clock, file = FakeClock(1000.0), tmp_path / "later" / "schedule.json"
    intervals = Intervals(always={}, wanted=HOUR, forget=HOUR)
    history = TaskHistory(clock=clock, threads=at_once, file=file, seed="replica", intervals=intervals)
    history.now()
    clock.put_forward(3600.0)
    history.now()
    remembered = Deferred.fromCoroutine(history.remember((), at_once=True))
    assert isinstance(failure_of(remembered), FileNotFoundError)
    file.parent.mkdir()
    value_of(Deferred.fromCoroutine(history.remember((), at_once=True)))
    assert file.exists()
