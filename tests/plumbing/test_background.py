"""Work that nobody waits for."""

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import LogEvent, Logger, LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure

from cachew.plumbing.background import Background, log_failure
from cachew.plumbing.errors import NotFound, UpstreamUnreachable
from tests.fakes.clock import FakeClock


def test_what_is_under_way_can_be_seen() -> None:
    """Work is listed with its age until it has ended."""
    clock, work = FakeClock(), Deferred[None]()
    background = Background(clock=clock)

    async def wait() -> None:
        await work

    background.start(wait(), "waiting")
    clock.advance(3)
    assert background.under_way == [("waiting", 3)]
    work.callback(None)
    assert background.under_way == []


def test_failures_are_logged(flush_logged_errors: Callable[..., list[Any]]) -> None:
    """A failure that has a name is one line; any other has its traceback."""

    async def fail(error: Exception) -> None:
        raise error

    background = Background()
    with capturedLogs() as logs:
        background.start(fail(NotFound("nowhere")), "search")
        background.start(fail(ValueError("broken")), "work")
    named, other = (event for event in logs if event.get("what"))
    assert named["log_level"] is LogLevel.warn and named["error"] == "nowhere"
    assert other["log_level"] is LogLevel.critical
    assert len(flush_logged_errors(ValueError)) == 1


def test_stopping_waits_for_the_end() -> None:
    """Everything is cancelled and waited for, what comes later too."""
    background, cleaned = Background(), Deferred[None]()

    async def work() -> None:
        try:
            await Deferred[None]()
        finally:
            await cleaned

    background.start(work(), "work")
    stopped = Deferred.fromCoroutine(background.stop())
    background.start(work(), "late")
    assert not stopped.called
    cleaned.callback(None)
    assert stopped.called and background.under_way == []


def test_what_is_started_after_the_stop_lets_go_of_what_it_was_handed() -> None:
    """Work that comes too late is cancelled where it first waits, so its own clean-up runs."""
    background, closed = Background(), list[str]()
    Deferred.fromCoroutine(background.stop())

    async def work() -> None:
        try:
            await Deferred[None]()
        finally:
            closed.append("source")

    background.start(work(), "late")
    assert closed == ["source"] and background.under_way == []


WORLD = [
    OSError(30, "Read-only file system", "/state/schedule.json.new"),
    OSError(24, "Too many open files"),
    UpstreamUnreachable("https://git.example/org/repo", "does not answer"),
    TimedOut(),
]


def told(error: BaseException) -> list[LogEvent]:
    """Return what is logged of an error."""
    events: list[LogEvent] = []
    observer: Any = events.append
    log_failure(Logger("test", observer=observer), "tidying of {name}", Failure(error), name="org/repo")
    return events


@pytest.mark.parametrize("error", WORLD, ids=lambda error: type(error).__name__)
def test_the_world_is_told_in_one_line(error: Exception) -> None:
    """A full or read-only disk, an upstream in trouble and a time limit are no faults of the program."""
    (event,) = told(error)
    assert event["log_level"] is LogLevel.warn
    assert "log_failure" not in event
    text = formatEvent(event)
    assert text.startswith("tidying of org/repo failed: ") and len(text) > len("tidying of org/repo failed: ")


def test_a_fault_of_ours_is_told_with_its_traceback() -> None:
    """What the program got wrong says where."""
    (event,) = told(KeyError("x"))
    assert event["log_level"] is LogLevel.critical
    assert event["log_failure"].check(KeyError)


def test_what_was_broken_off_is_not_told() -> None:
    """Whoever cancelled it knows."""
    assert told(CancelledError()) == []
