"""The log is written in the chosen form, from the chosen level on."""

import json
import re
import time
from datetime import datetime
from io import StringIO

import pytest
import pytest_twisted
from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure

from cachew.plumbing.logs import EventLog


def logged(form: str, levels: EventLog) -> tuple[Logger, StringIO]:
    file = StringIO()
    levels.write_to(file, form)
    return Logger("cachew.test", observer=levels), file


def test_text_is_a_line_per_event() -> None:
    """An event is one line with its time, level, logger and text."""
    log, file = logged("text", EventLog())
    log.info("fetched {repository}", repository="h/r")
    (line,) = file.getvalue().splitlines()
    assert line.endswith("info     cachew.test: fetched h/r")


def test_text_of_a_stranger_can_not_fake_an_event() -> None:
    """A line break in a field does not begin a new line of the log."""
    log, file = logged("text", EventLog())
    log.info("asked for {path}", path="x\n2026 info cachew: all is well")
    assert file.getvalue().count("\n") == 1


def test_json_has_the_fields() -> None:
    """An event as JSON has its text and its fields, each by its name."""
    log, file = logged("json", EventLog())
    log.warn("took {seconds} s", seconds=1.5, what=object)
    event = json.loads(file.getvalue())
    assert (event["level"], event["message"], event["seconds"]) == ("warn", "took 1.5 s", 1.5)
    assert event["what"] == "<class 'object'>"


def test_json_has_numbers_and_rfc_3339_times() -> None:
    """Numbers are numbers, what JSON has no number for is null, and times have milliseconds and an offset."""
    log, file = logged("json", EventLog())
    log.info("{status}", status=200, seconds=float("nan"), size=2**40, ready=True, nothing=None)
    event = json.loads(file.getvalue(), parse_constant=lambda text: pytest.fail(text))
    assert (event["status"], event["seconds"], event["size"]) == (200, None, 2**40)
    assert (event["ready"], event["nothing"]) == (True, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", event["time"])
    assert abs(datetime.fromisoformat(event["time"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize("form", ["text", "json"])
def test_failures_have_their_traceback(form: str) -> None:
    """A logged failure is written with its traceback."""
    log, file = logged(form, EventLog())
    log.failure("it broke", failure=Failure(ValueError("badly")))
    assert "ValueError: badly" in file.getvalue()


def test_the_level_changes_while_running() -> None:
    """Events below the level are not written, and the level may change at any time."""
    levels = EventLog("warn")
    log, file = logged("text", levels)
    log.info("one")
    levels.level = "debug"
    log.debug("two")
    levels.level = "critical"
    log.error("three")
    log.critical("four")
    assert [line[-4:].strip(": ") for line in file.getvalue().splitlines()] == ["two", "four"]


def test_refuses_an_unknown_level() -> None:
    """A level that does not exist changes nothing."""
    levels = EventLog("warn")
    with pytest.raises(ValueError, match="must be one of debug, info"):
        levels.level = "loud"
    assert levels.level == "warn"


@pytest.mark.parametrize("level", ["info", "debug"])
def test_what_twisted_says_about_its_own_plumbing_is_for_debugging(level: str) -> None:
    """Factories and ports of Twisted are logged at the level debug only, what fails in them always."""
    file = StringIO()
    write = EventLog(level)
    write.write_to(file, "text")
    Logger("twisted.web.client._HTTP11ClientFactory", observer=write).info("Starting factory")
    Logger("log_legacy", observer=write).info("StreamingSite starting on 8080")
    assert file.getvalue().count("\n") == (2 if level == "debug" else 0)
    Logger("twisted.web.client", observer=write).error("it broke")
    assert "it broke" in file.getvalue()


def test_a_process_id_that_was_left_behind_is_not_critical() -> None:
    """``twistd`` removes it and goes on, so it is no more than a warning."""
    file = StringIO()
    event = {"log_level": LogLevel.critical, "log_text": "Removing stale pidfile x.pid", "log_format": "{log_text}"}
    log = EventLog()
    log.write_to(file, "text")
    log(event | {"log_namespace": "log_legacy", "log_time": 0.0})
    assert " warn " in file.getvalue() and "critical" not in file.getvalue()


class Counted:
    """Counts how often it is put into words."""

    def __init__(self) -> None:
        self.times = 0

    def __str__(self) -> str:
        self.times += 1
        return "well"


@pytest_twisted.ensureDeferred
async def test_an_event_is_put_into_words_once() -> None:
    """The file, the last lines and a repository's history have the same words, which are made once."""
    log, file, what = EventLog(), StringIO(), Counted()
    log.write_to(file, "text")
    await log.open()
    try:
        Logger("cachew.test", observer=LogPublisher(log)).info("{repository}: {what}", repository="h/r", what=what)
        Logger("cachew.test").info("this is heard by whoever was given the log")
    finally:
        await log.close()
    (line,) = file.getvalue().splitlines()
    assert line.endswith("cachew.test: h/r: well")
    assert log.after(0)[0] == [line]
    assert [event.text for event in log.happenings.of("h/r")] == ["h/r: well"]
    assert what.times == 1
