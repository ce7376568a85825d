"""The log of the process goes on whatever becomes of its file."""

import os
from pathlib import Path

from cachew.server.logqueue import LogQueue
from cachew.server.processlog import KEPT_LOGS, LOG_SIZE, ProcessLog

PATIENCE = 20


def opened(path: Path) -> tuple[ProcessLog, LogQueue]:
    log = ProcessLog()
    return log, log.begin(str(path), foreground=False, output=None, notice=str)


def test_a_file_that_was_set_aside_by_others_is_begun_anew(tmp_path: Path) -> None:
    """Who rotates logs renames the file and has it opened anew; each line is in one of the two."""
    log, queue = opened(tmp_path / "log")
    log.write_in_thread()
    queue.write("first\n")
    assert queue.drain(PATIENCE)
    (tmp_path / "log").rename(tmp_path / "log.old")
    queue.write("second\n")
    log.reopen()
    queue.write("third\n")
    assert queue.drain(PATIENCE)
    assert (tmp_path / "log.old").read_text() == "first\nsecond\n"
    assert (tmp_path / "log").read_text() == "third\n"


def test_a_file_that_can_not_be_opened_anew_leaves_the_old_one_in_use(tmp_path: Path) -> None:
    """Lines go on where they went, the first of them says why, and the next attempt may succeed."""
    log, queue = opened(tmp_path / "log")
    log.write_in_thread()
    (tmp_path / "log").rename(tmp_path / "log.old")
    (tmp_path / "log").mkdir()
    log.reopen()
    queue.write("second\n")
    assert queue.drain(PATIENCE)
    reason, line = (tmp_path / "log.old").read_text().splitlines()
    assert "could not be opened anew" in reason and line == "second"
    (tmp_path / "log").rmdir()
    log.reopen()
    queue.write("third\n")
    assert queue.drain(PATIENCE)
    assert (tmp_path / "log").read_text() == "third\n" and not log.dropped()


def test_a_full_file_that_can_not_be_set_aside_grows_on(tmp_path: Path) -> None:
    """A line is worth more than the bound of a file: it is written where the last one was."""
    (tmp_path / f"log.{KEPT_LOGS}" / "in the way").mkdir(parents=True)
    with (tmp_path / "log").open("wb") as file:
        file.truncate(LOG_SIZE)
    log, queue = opened(tmp_path / "log")
    queue.write("one line\n")
    queue.write("another\n")
    assert (tmp_path / "log").read_bytes().endswith(b"one line\nanother\n")
    assert not log.dropped()


def test_opening_anew_holds_no_descriptor(tmp_path: Path) -> None:
    """However often a file is opened anew, one of it is open."""
    log, queue = opened(tmp_path / "log")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        log.reopen()
    queue.write("line\n")
    assert len(os.listdir("/proc/self/fd")) == before and (tmp_path / "log").read_text() == "line\n"
