"""Tasks that are being done: once at a time, bounded, and without a trace once they have ended."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import MirrorGone, StorageUnavailable
from cachew.plumbing.jobs import Slots
from cachew.snapshots.schedule import Intervals, Run, Task
from cachew.snapshots.taskhistory import TaskHistory
from cachew.snapshots.taskruns import TaskRuns
from cachew.snapshots.timetable import IsDue
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of

ONE = Identity("git.example", "one")
SNAPSHOT, REPACK = Task(ONE.name, "snapshot"), Task(ONE.name, "repack")
NOW = 1_700_000_000.0


class Bench:
    """Runs of tasks that end when the test says so."""

    def __init__(self, file: Path, *, places: int = 1000) -> None:
        self.clock = FakeClock(now=NOW)
        self.history = TaskHistory(
            clock=self.clock,
            threads=InlineThreads(),
            file=file,
            seed="replica",
            intervals=Intervals(always={}, wanted=0, forget=0),
        )
        self.slots = Slots(limit=places, kept_short=places // 2)
        self.runs = TaskRuns(
            perform=self.perform,
            slots=self.slots,
            is_long=lambda repository, name: name == "repack",
            history=self.history,
        )
        self.under_way: list[tuple[str, Deferred[Run | None]]] = []
        self.begun = 0

    async def perform(self, identity: Identity, name: str, last: Run | None, is_due: IsDue) -> Run | None:
        """Do a task."""
        self.begun += 1
        work: Deferred[Run | None] = Deferred()
        self.under_way.append((name, work))
        return await work

    def begin(self, task: Task, repository: str = "one") -> None:
        """Begin a task."""
        self.runs.begin(task, Identity("git.example", repository), lambda run: True)

    def end(self, result: Run | Exception | None) -> None:
        """End what was begun first."""
        _, work = self.under_way.pop(0)
        if isinstance(result, Exception):
            work.errback(result)
        else:
            work.callback(result)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return runs of which none is under way."""
    return Bench(tmp_path / "schedule.json")


def test_a_task_is_known_while_it_is_done(bench: Bench) -> None:
    """Its end is noted, and its place is free again."""
    bench.begin(SNAPSHOT)
    assert SNAPSHOT in bench.runs and REPACK not in bench.runs and bench.slots.running == 1
    bench.end(Run(NOW, True, 3))
    assert SNAPSHOT not in bench.runs and bench.slots.running == 0
    assert bench.history.runs == {SNAPSHOT: Run(NOW, True, 3)}


def test_a_task_is_done_once_at_a_time(bench: Bench) -> None:
    """Whoever begins one that is under way begins nothing."""
    bench.begin(SNAPSHOT)
    bench.begin(SNAPSHOT)
    assert bench.begun == 1
    bench.end(Run(NOW, True))
    assert SNAPSHOT not in bench.runs
    bench.begin(SNAPSHOT)
    assert bench.begun == 2
    bench.end(Run(NOW, True))


@pytest.mark.parametrize("failure", [StorageUnavailable("down"), OSError(28, "No space left on device")])
def test_a_failure_is_noted_with_what_was_known(bench: Bench, failure: Exception) -> None:
    """It is one of now, and how often any replica has done the task stays known."""
    bench.history.runs[SNAPSHOT] = Run(1.0, True, 7)
    bench.begin(SNAPSHOT)
    bench.clock.advance(60)
    bench.end(failure)
    assert bench.history.runs == {SNAPSHOT: Run(NOW + 60, False, 7)}
    assert bench.slots.running == 0


def test_what_nobody_foresaw_is_told_with_a_traceback(bench: Bench, flush_logged_errors: Any) -> None:
    """And is a failure like others."""
    bench.begin(SNAPSHOT)
    bench.end(ZeroDivisionError("a fault of ours"))
    assert len(flush_logged_errors(ZeroDivisionError)) == 1
    assert not bench.history.runs[SNAPSHOT].succeeded


@pytest.mark.parametrize("last", [None, Run(1.0, True, 7)])
def test_a_mirror_that_is_gone_says_nothing_of_the_task(bench: Bench, last: Run | None) -> None:
    """What was known before stays, so that it is begun again as soon as there is a mirror."""
    if last is not None:
        bench.history.runs[SNAPSHOT] = last
    bench.begin(SNAPSHOT)
    bench.end(MirrorGone("it went"))
    assert bench.history.runs.get(SNAPSHOT) == last and SNAPSHOT not in bench.runs


def test_what_is_not_to_be_remembered_is_not(bench: Bench) -> None:
    """A task that another replica is at is asked for again soon."""
    bench.begin(SNAPSHOT)
    bench.end(None)
    assert bench.history.runs == {} and SNAPSHOT not in bench.runs


@pytest.mark.parametrize("name", ["snapshot", "repack"])
def test_so_many_of_a_kind_are_begun(bench: Bench, name: str) -> None:
    """Beyond a hundred none is begun of that kind, while one of the other still is."""
    for number in range(120):
        bench.begin(Task(f"git.example/{number}", name), str(number))
    other = SNAPSHOT if name == "repack" else REPACK
    bench.begin(other)
    assert other in bench.runs
    assert sum(Task(f"git.example/{number}", name) in bench.runs for number in range(120)) == 100
    value_of(Deferred.fromCoroutine(bench.runs.stop()))


@pytest.mark.parametrize("places", [1, 1000])
def test_stopping_breaks_off_what_is_done_and_what_waits(tmp_path: Path, places: int) -> None:
    """Nothing is noted of it, nothing waits for a place, and it may be begun again."""
    bench = Bench(tmp_path / "schedule.json", places=places)
    bench.begin(SNAPSHOT)
    bench.begin(REPACK)
    value_of(Deferred.fromCoroutine(bench.runs.stop()))
    assert (bench.slots.running, bench.slots.waiting) == (0, 0)
    assert bench.history.runs == {} and SNAPSHOT not in bench.runs and REPACK not in bench.runs


def test_stopping_waits_for_the_end(bench: Bench) -> None:
    """Work that cleans up when it is broken off is waited for."""
    cleaning: Deferred[None] = Deferred()
    performed: Callable[..., Any] = bench.perform

    async def cleaned_up(*arguments: Any) -> Run | None:
        try:
            result: Run | None = await performed(*arguments)
            return result
        finally:
            await cleaning

    runs = TaskRuns(
        perform=cleaned_up, slots=bench.slots, is_long=lambda repository, name: False, history=bench.history
    )
    runs.begin(SNAPSHOT, ONE, lambda run: True)
    stopping = Deferred.fromCoroutine(runs.stop())
    assert not stopping.called and SNAPSHOT in runs
    cleaning.callback(None)
    value_of(stopping)
    assert SNAPSHOT not in runs and bench.slots.running == 0
