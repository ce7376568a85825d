"""What happened to repositories, across restarts."""

import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.plumbing.disposabledatabase import DisposableDatabase
from cachew.plumbing.happenings import KEPT, Happenings
from cachew.web.keptevents import KeptEvents
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of


def kept_events(path: Path) -> tuple[Happenings, KeptEvents]:
    """Return what one run of a server knows, and what keeps it."""
    happenings = Happenings()
    database = DisposableDatabase(path=path, threads=cast(Any, InlineThreads()), what="the events")
    return happenings, KeptEvents(happenings=happenings, database=database)


def done(work: Coroutine[Any, Any, None]) -> None:
    """Do it, synchronously."""
    value_of(Deferred.fromCoroutine(work))


def test_events_outlive_a_restart(tmp_path: Path) -> None:
    """The next run shows them before its own, counted on where the same is said again, and no more than were kept."""
    first, file = kept_events(tmp_path / "events.sqlite")
    for number in range(KEPT + 5):
        first.note("h/r", number, "info", f"fetched {number}")
        if number % 50 == 0:
            done(file.save())
    first.note("h/r", 200, "warn", "caf\udce9 failed")
    first.note("h/other", 201, "info", "asked")
    done(file.save())
    done(file.save())
    second, file = kept_events(tmp_path / "events.sqlite")
    second.note("h/other", 300, "info", "asked")
    second.note("h/r", 301, "info", "ready")
    done(file.load())
    assert [(one.at, one.count) for one in second.of("h/other")] == [(300, 2)]
    assert [one.text for one in second.of("h/r")][:3] == ["ready", "caf\\udce9 failed", f"fetched {KEPT + 4}"]
    assert len(second.of("h/r")) == KEPT
    done(file.save())
    third, file = kept_events(tmp_path / "events.sqlite")
    done(file.load())
    assert third.of("h/r") == second.of("h/r") and third.of("h/other") == second.of("h/other")
    with sqlite3.connect(tmp_path / "events.sqlite") as database:
        assert database.execute("SELECT count(*) FROM events").fetchone() == (KEPT + 1,)


def test_events_of_repositories_that_nobody_hears_of_go_from_the_file_too(tmp_path: Path) -> None:
    """The file holds what memory holds: what was dropped for want of room is not there any more."""
    happenings, file = kept_events(tmp_path / "events.sqlite")
    for number in range(2500):
        happenings.note(f"h/{number}", number, "error", f"{number} " + "x" * 15_990)
        if number % 1000 == 0:
            done(file.save())
    done(file.save())
    with sqlite3.connect(tmp_path / "events.sqlite") as database:
        names = {name for (name,) in database.execute("SELECT repository FROM events")}
    assert names == {f"h/{number}" for number in range(2500) if happenings.of(f"h/{number}")} and "h/0" not in names


def test_where_nothing_happens_nothing_is_written(tmp_path: Path) -> None:
    """There is no file of no events."""
    _, file = kept_events(tmp_path / "events.sqlite")
    done(file.load())
    done(file.save())
    assert list(tmp_path.iterdir()) == []


def test_events_that_can_not_be_written_down_are_written_later(tmp_path: Path) -> None:
    """While the disk is full they are in memory; a file that is no database is made anew."""
    there = tmp_path / "later"
    happenings, file = kept_events(there / "events.sqlite")
    happenings.note("h/r", 1, "info", "one")
    done(file.save())
    happenings.note("h/r", 2, "info", "two")
    there.mkdir()
    done(file.save())
    again, file = kept_events(there / "events.sqlite")
    done(file.load())
    assert [one.text for one in again.of("h/r")] == ["two", "one"]
    (there / "events.sqlite").write_bytes(b"SQLite format 3\0" + b"\0" * 200)
    done(file.load())
    done(file.save())
    last, file = kept_events(there / "events.sqlite")
    done(file.load())
    assert [one.text for one in last.of("h/r")] == ["two", "one"]
