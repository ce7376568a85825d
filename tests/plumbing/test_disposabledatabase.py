"""A small database that is no great loss."""

import sqlite3
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.disposabledatabase import DisposableDatabase
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of


def change(database: sqlite3.Connection) -> None:
    """Write something down."""
    database.execute("CREATE TABLE known (name TEXT)")
    database.execute("INSERT INTO known VALUES ('a')")


NOTHING: list[str] = []


def names(database: sqlite3.Connection) -> list[str]:
    """Return what was written down."""
    return [name for (name,) in database.execute("SELECT name FROM known")]


@pytest.mark.parametrize("what", ["a directory", "garbage"])
def test_whatever_lies_in_its_place_is_removed_when_it_is_read(tmp_path: Path, what: str) -> None:
    """It costs what was written down before, and nothing that comes after."""
    path, threads = tmp_path / "events.sqlite", cast(Any, InlineThreads())
    database = DisposableDatabase(path=path, threads=threads, what="what was known")
    if what == "a directory":
        path.mkdir()
        (path / "something").touch()
    else:
        path.write_bytes(b"no database, but long enough to be taken for one" * 100)
    assert value_of(Deferred.fromCoroutine(database.read(names, NOTHING))) == NOTHING
    assert value_of(Deferred.fromCoroutine(database.write(change)))
    assert value_of(Deferred.fromCoroutine(database.read(names, NOTHING))) == ["a"]
