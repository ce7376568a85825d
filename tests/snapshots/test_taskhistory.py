"""What the schedule remembers of its tasks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.identity import Identity
from cachew.plumbing.jsonfile import replace_content
from cachew.snapshots.schedule import Intervals, Memory, Run, Task
from cachew.snapshots.taskhistory import TaskHistory, remembered
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import failure_of, result_of

ONE, TWO = Identity("git.example", "one"), Identity("git.example", "two")
SNAPSHOT, VARIANT = Task(ONE.name, "snapshot"), Task(ONE.name, "snapshot ref=refs/heads/x")
HOUR = 3600.0
NOW = 1_700_000_000.0


class FailingThreads(InlineThreads):
    """Fails, or waits, instead of its next work when told so."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.gate: Deferred[None] | None = None

    async def __call__(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure
        if self.gate is not None:
            await self.gate
        return function(*args, **kwargs)


class Bench:
    """A history over a file."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.clock = FakeClock(now=NOW)
        self.threads = FailingThreads()
        self.history = self.new()

    def new(self) -> TaskHistory:
        """Return a history, as after a restart."""
        intervals = Intervals(always={"snapshot": HOUR}, wanted=HOUR, forget=10 * HOUR, asked_for=2 * HOUR)
        return TaskHistory(clock=self.clock, threads=self.threads, file=self.file, seed="replica", intervals=intervals)

    def remember(self, *, at_once: bool = False) -> None:
        """Write it down."""
        result_of(self.history.remember([ONE.name, TWO.name], at_once=at_once))

    @property
    def written(self) -> Memory:
        """What the file says."""
        return remembered(self.file)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a history that knows nothing."""
    return Bench(tmp_path / "schedule.json")


def test_the_memory_is_a_file(tmp_path: Path) -> None:
    """It replaces the former one whole; a missing one is empty."""
    path = tmp_path / "schedule.json"
    assert remembered(path) == Memory()
    for at in (1.0, 2.0):
        replace_content(path, Memory({SNAPSHOT: Run(at, True)}).encode())
    assert remembered(path) == Memory({SNAPSHOT: Run(2.0, True)})
    assert [file.name for file in tmp_path.iterdir()] == ["schedule.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b'{"runs": [["a", "b", {"at": 1}]], "wanted": []}',
        b'{"runs": [["a", "b", {"at": "soon", "succeeded": true}]], "wanted": []}',
        b'{"runs": [["a", "b", {"at": null, "succeeded": true}]], "wanted": []}',
        b'{"runs": [["a", "b", {"at": 1, "succeeded": true, "number": "x"}]], "wanted": []}',
        b'{"runs": [["a", "b", {"at": NaN, "succeeded": true}]], "wanted": []}',
        b'{"runs": [], "wanted": [["a", "b"]]}',
        b'{"runs": [], "wanted": [["a", "b", Infinity]]}',
        b'{"runs": [], "wanted": [], "asked": {"a": "never"}}',
    ],
)
def test_a_damaged_file_is_as_good_as_none(bench: Bench, content: bytes) -> None:
    """Whatever lies there, everything is due, and what is learnt next is written over it."""
    bench.file.write_bytes(content)
    result_of(bench.history.recall())
    assert bench.history.runs == {} and bench.history.wanted == {}
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    bench.remember()
    assert bench.written == Memory({SNAPSHOT: Run(NOW, True)})


def test_what_is_known_outlives_a_restart(bench: Bench) -> None:
    """How tasks were done, what was asked for, and by that which repositories."""
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    bench.history.requested(ONE, VARIANT.name)
    bench.remember()
    again = bench.new()
    result_of(again.recall())
    assert again.runs == {SNAPSHOT: Run(NOW, True)} and again.wanted == {VARIANT: NOW}
    assert again.asked_within(ONE.name, 1, NOW) and not again.asked_within(TWO.name, HOUR, NOW)


def test_the_file_is_read_once(bench: Bench) -> None:
    """What this run knows by then counts more than what an earlier one did."""
    replace_content(bench.file, Memory({SNAPSHOT: Run(1.0, True), VARIANT: Run(2.0, True)}).encode())
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    result_of(bench.history.recall())
    assert bench.history.runs == {SNAPSHOT: Run(NOW, True), VARIANT: Run(2.0, True)}
    replace_content(bench.file, Memory().encode())
    result_of(bench.history.recall())
    assert VARIANT in bench.history.runs


def test_a_file_that_can_t_be_read_now_is_read_later(bench: Bench) -> None:
    """A failing disk is told, and doesn't count as an empty memory."""
    replace_content(bench.file, Memory({SNAPSHOT: Run(1.0, True)}).encode())
    bench.threads.failure = PermissionError(13, "Permission denied")
    with pytest.raises(PermissionError):
        result_of(bench.history.recall())
    result_of(bench.history.recall())
    assert bench.history.runs == {SNAPSHOT: Run(1.0, True)}


def test_nothing_of_the_future_is_recalled(bench: Bench) -> None:
    """What a clock that was wrong before the restart has dated counts as of now, so that it is due in an interval."""
    memory = Memory({SNAPSHOT: Run(NOW + HOUR, True)}, {VARIANT: NOW + HOUR}, {ONE.name: NOW + HOUR})
    replace_content(bench.file, memory.encode())
    result_of(bench.history.recall())
    assert bench.history.runs == {SNAPSHOT: Run(NOW, True)} and bench.history.wanted == {VARIANT: NOW}


def test_it_is_written_once_in_a_while(bench: Bench) -> None:
    """Unless it is asked for at once; and not at all when nothing has changed."""
    bench.remember(at_once=True)
    assert not bench.file.exists()
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    bench.remember()
    bench.history.note(VARIANT, Run(NOW, True), None)
    bench.remember()
    assert VARIANT not in bench.written.runs
    bench.remember(at_once=True)
    assert VARIANT in bench.written.runs


def test_repositories_that_are_gone_are_not_written(bench: Bench) -> None:
    """What was done for them is of no use any more."""
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    result_of(bench.history.remember([TWO.name], at_once=True))
    assert bench.written.runs == {}


@pytest.mark.parametrize("how", ["failure", "cancelled"])
def test_what_was_not_written_is_written_later(bench: Bench, how: str) -> None:
    """A disk that fails, or an end in the midst of it, is told and loses nothing."""
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    if how == "failure":
        bench.threads.failure = OSError(28, "No space left on device")
    else:
        bench.threads.gate = Deferred()
    writing = Deferred.fromCoroutine(bench.history.remember([ONE.name]))
    writing.cancel()
    assert isinstance(failure_of(writing), OSError if how == "failure" else CancelledError)
    bench.threads.gate = None
    bench.remember(at_once=True)
    assert SNAPSHOT in bench.written.runs


@pytest.mark.parametrize("jump", [-5 * HOUR, 5 * HOUR])
def test_what_is_known_goes_with_the_clock(bench: Bench, jump: float) -> None:
    """After a jump everything is as long ago as it was before."""
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    bench.history.requested(ONE, VARIANT.name)
    bench.clock.put_forward(jump)
    bench.clock.advance(10)
    now = bench.history.now()
    assert now == NOW + jump + 10
    assert now - bench.history.runs[SNAPSHOT].at == 10 and now - bench.history.wanted[VARIANT] == 10
    assert bench.history.asked_within(ONE.name, 11, now) and not bench.history.asked_within(ONE.name, 10, now)


def test_a_clock_that_is_adjusted_moves_nothing(bench: Bench) -> None:
    """A second is no jump."""
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    bench.clock.put_forward(1)
    bench.history.now()
    assert bench.history.runs == {SNAPSHOT: Run(NOW, True)}


def test_a_failure_is_dated_when_it_is_noted(bench: Bench) -> None:
    """A success says itself when it was, and what is not to be remembered leaves what was known."""
    bench.history.note(SNAPSHOT, Run(0.0, False, 7), None)
    assert bench.history.runs == {SNAPSHOT: Run(NOW, False, 7)}
    bench.history.note(SNAPSHOT, None, bench.history.runs[SNAPSHOT])
    assert bench.history.runs == {SNAPSHOT: Run(NOW, False, 7)}


def test_how_long_ago_something_succeeded(bench: Bench) -> None:
    """The longest of all tasks; one that has failed since counts as of its last success, what never did not at all."""
    assert bench.history.since_success([SNAPSHOT, VARIANT]) == 0.0
    success = Run(NOW, True)
    bench.history.note(SNAPSHOT, success, None)
    bench.clock.advance(100)
    bench.history.note(SNAPSHOT, Run(0.0, False), success)
    bench.history.note(VARIANT, Run(NOW + 100, True), None)
    bench.clock.advance(10)
    assert bench.history.since_success([SNAPSHOT, VARIANT]) == 110
    assert bench.history.since_success([VARIANT]) == 10
    bench.history.forget(ONE.name)
    assert bench.history.since_success([SNAPSHOT, VARIANT]) == 0.0


def test_only_what_is_not_always_done_is_wanted(bench: Bench) -> None:
    """Asking for what is on the schedule anyway notes the repository alone."""
    bench.history.requested(ONE, SNAPSHOT.name)
    assert bench.history.wanted == {} and bench.history.asked_within(ONE.name, 1, NOW)


def test_what_nobody_asks_for_is_forgotten(bench: Bench) -> None:
    """And what was done for repositories that have been gone for long, while those that are there keep theirs."""
    other = Task(TWO.name, "snapshot")
    bench.history.note(SNAPSHOT, Run(NOW, True), None)
    bench.history.note(other, Run(NOW, True), None)
    bench.history.requested(ONE, VARIANT.name)
    bench.clock.advance(11 * HOUR)
    now = bench.history.now()
    bench.history.forget_old([ONE.name], now, forget=10 * HOUR, asked_for=2 * HOUR)
    assert bench.history.runs == {SNAPSHOT: Run(NOW, True)} and bench.history.wanted == {}
    assert not bench.history.asked_within(ONE.name, 100 * HOUR, now)


def test_what_was_asked_for_of_a_repository_is_forgotten_with_it(bench: Bench) -> None:
    """Nothing is made for whoever has its name next, and no file names the refs that were asked for."""
    other = Task(TWO.name, VARIANT.name)
    for task in (VARIANT, other):
        bench.history.want(Identity.from_name(task.repository), task.name)
    bench.history.forget(ONE.name)
    bench.remember(at_once=True)
    assert bench.history.wanted == bench.written.wanted == {other: NOW}


def test_news_have_a_repository_looked_at_again(bench: Bench) -> None:
    """When a task was done, when one is asked for, when it is forgotten, and all of them when intervals change."""
    timetable = bench.history.timetable
    for news in (
        lambda: bench.history.note(SNAPSHOT, Run(NOW, True), None),
        lambda: bench.history.asked(ONE),
        lambda: bench.history.want(ONE, VARIANT.name),
        lambda: bench.history.forget(ONE.name),
    ):
        timetable.earliest = {ONE.name: NOW + HOUR, TWO.name: NOW + HOUR}
        news()
        assert list(timetable.earliest) == [TWO.name]
    bench.history.go_by(Intervals(always={}, wanted=0, forget=0))
    assert timetable.earliest == {} and bench.history.intervals.always == {}
