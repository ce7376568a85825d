"""Failures of work that nobody waits for."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.logger import LogEvent, Logger, LogLevel, formatEvent
from twisted.python.failure import Failure

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.plumbing.failurelog import log_failure

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
