"""Databases that one process has to itself."""

import sqlite3
from pathlib import Path

import pytest

from cachew.plumbing.database import Database, connect, is_damaged, transaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "index.sqlite"


def filled(path: Path) -> Database:
    database = Database(path)
    database.open()
    database.connection.execute("CREATE TABLE things (name TEXT PRIMARY KEY)")
    return database


def test_what_was_written_is_there_when_it_is_opened_again(path: Path) -> None:
    """And nothing can be asked while it is closed."""
    database = filled(path)
    database.change_many("INSERT INTO things VALUES (?)", [("a",), ("b",)])
    database.close()
    with pytest.raises(sqlite3.OperationalError, match="not open"):
        database.rows("SELECT 1")
    database.open()
    assert database.rows("SELECT name FROM things WHERE name > ?", "a") == [("b",)]
    database.close()
    database.close()


def test_of_many_changes_all_are_made_or_none(path: Path) -> None:
    """One that fails leaves no transaction open, in which others would be lost."""
    database = filled(path)
    with pytest.raises(sqlite3.IntegrityError):
        database.change_many("INSERT INTO things VALUES (?)", [("a",), ("a",)])
    assert database.rows("SELECT * FROM things") == [] and not database.connection.in_transaction
    with pytest.raises(ValueError, match="changed my mind"), transaction(database.connection):
        database.connection.execute("INSERT INTO things VALUES ('b')")
        raise ValueError("changed my mind")
    assert database.rows("SELECT * FROM things") == [] and not database.connection.in_transaction
    database.close()


def test_a_removed_or_replaced_file_is_told_from_the_open_one(path: Path) -> None:
    """What is written to it would be lost."""
    database = filled(path)
    assert database.is_there
    path.rename(path.with_suffix(".aside"))
    assert not database.is_there
    path.touch()
    assert not database.is_there
    database.close()
    assert not database.is_there


def test_what_is_no_database_is_damaged(path: Path) -> None:
    """It can be removed with what lies beside it, whatever lies there, and made anew."""
    path.write_bytes(b"no database at all" * 100)
    database = Database(path)
    with pytest.raises(sqlite3.DatabaseError) as failed:
        database.open()
    assert is_damaged(failed.value)
    path.with_name(path.name + "-shm").mkdir()
    database.remove()
    assert not list(path.parent.iterdir())
    database.open()
    assert database.is_there
    database.close()


def test_a_database_that_another_has_open_is_not_damaged(path: Path) -> None:
    """It is his alone, and nobody may remove it."""
    database = filled(path)
    with pytest.raises(sqlite3.OperationalError) as failed:
        connect(path, "busy_timeout=1")
    assert not is_damaged(failed.value)
    database.close()
