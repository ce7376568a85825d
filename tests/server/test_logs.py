"""The log is written in the chosen form, from the chosen level on."""

import json
import re
import time
from datetime import datetime
from io import StringIO

import pytest
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from cachew.plumbing.loglevels import LogLevels
from cachew.server.logs import observer


def logged(form: str, levels: LogLevels) -> tuple[Logger, StringIO]:
    file = StringIO()
    return Logger("cachew.test", observer=observer(file=file, form=form, levels=levels)), file


def test_text_is_a_line_per_event() -> None:
    """An event is one line with its time, level, logger and text."""
    log, file = logged("text", LogLevels())
    log.info("fetched {repository}", repository="h/r")
    (line,) = file.getvalue().splitlines()
    assert line.endswith("info     cachew.test: fetched h/r")


def test_text_of_a_stranger_can_not_fake_an_event() -> None:
    """A line break in a field does not begin a new line of the log."""
    log, file = logged("text", LogLevels())
    log.info("asked for {path}", path="x\n2026 info cachew: all is well")
    assert file.getvalue().count("\n") == 1


def test_json_has_the_fields() -> None:
    """An event as JSON has its text and its fields, each by its name."""
    log, file = logged("json", LogLevels())
    log.warn("took {seconds} s", seconds=1.5, what=object)
    event = json.loads(file.getvalue())
    assert (event["level"], event["message"], event["seconds"]) == ("warn", "took 1.5 s", 1.5)
    assert event["what"] == "<class 'object'>"


def test_json_has_numbers_and_rfc_3339_times() -> None:
    """Numbers are numbers, what JSON has no number for is null, and times have milliseconds and an offset."""
    log, file = logged("json", LogLevels())
    log.info("{status}", status=200, seconds=float("nan"), size=2**40, ready=True, nothing=None)
    event = json.loads(file.getvalue(), parse_constant=lambda text: pytest.fail(text))
    assert (event["status"], event["seconds"], event["size"]) == (200, None, 2**40)
    assert (event["ready"], event["nothing"]) == (True, None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", event["time"])
    assert abs(datetime.fromisoformat(event["time"]).timestamp() - time.time()) < 60


@pytest.mark.parametrize("form", ["text", "json"])
def test_failures_have_their_traceback(form: str) -> None:
    """A logged failure is written with its traceback."""
    log, file = logged(form, LogLevels())
    log.failure("it broke", failure=Failure(ValueError("badly")))
    assert "ValueError: badly" in file.getvalue()


def test_the_level_changes_while_running() -> None:
    """Events below the level are not written, and the level may change at any time."""
    levels = LogLevels("warn")
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
    levels = LogLevels("warn")
    with pytest.raises(ValueError, match="must be one of debug, info"):
        levels.level = "loud"
    assert levels.level == "warn"


@pytest.mark.parametrize("level", ["info", "debug"])
def test_what_twisted_says_about_its_own_plumbing_is_for_debugging(level: str) -> None:
    """Factories and ports of Twisted are logged at the level debug only, what fails in them always."""
    file = StringIO()
    write = observer(file=file, form="text", levels=LogLevels(level))
    Logger("twisted.web.client._HTTP11ClientFactory", observer=write).info("Starting factory")
    Logger("log_legacy", observer=write).info("StreamingSite starting on 8080")
    assert file.getvalue().count("\n") == (2 if level == "debug" else 0)
    Logger("twisted.web.client", observer=write).error("it broke")
    assert "it broke" in file.getvalue()


def test_a_process_id_that_was_left_behind_is_not_critical() -> None:
    """``twistd`` removes it and goes on, so it is no more than a warning."""
    file = StringIO()
    event = {"log_level": LogLevel.critical, "log_text": "Removing stale pidfile x.pid", "log_format": "{log_text}"}
    observer(file=file, form="text", levels=LogLevels())(event | {"log_namespace": "log_legacy", "log_time": 0.0})
    assert " warn " in file.getvalue() and "critical" not in file.getvalue()
