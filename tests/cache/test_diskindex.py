"""The index of a disk cache."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cachew.cache.diskindex import DiskIndex, Row
from cachew.cache.interface import Stats
from cachew.plumbing.errors import StorageUnavailable

ROW = Row("ns", "a", inode=1, written=2, size=110, content=100, expires=None, used=10.0)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[DiskIndex]:
    """Give an empty index."""
    index = DiskIndex(tmp_path / "index.sqlite")
    index.open()
    yield index
    index.database.close()


def test_what_was_put_is_there_after_a_restart(index: DiskIndex, tmp_path: Path) -> None:
    """With its size; one that was removed isn't."""
    index.put(ROW)
    index.put(replace(ROW, key="b", size=5))
    index.remove("ns", "b")
    index.remove("ns", "never")
    assert index.size == 110
    index.database.close()
    again = DiskIndex(tmp_path / "index.sqlite")
    again.open()
    assert list(again.rows()) == [ROW] and again.size == 110
    again.database.close()


def test_an_object_takes_the_place_of_another(index: DiskIndex) -> None:
    """Its size counts instead of the other's."""
    index.put(ROW)
    index.put(replace(ROW, size=50))
    assert index.size == 50 and [row.size for row in index.rows()] == [50]


def test_a_row_that_can_t_be_written_changes_nothing(index: DiskIndex) -> None:
    """The object that was there is there, and counts as before."""
    index.put(ROW)
    index.database.connection.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.Error):
        index.put(replace(ROW, size=50))
    assert index.size == 110 and list(index.rows()) == [ROW]


def test_the_least_recently_used_comes_first(index: DiskIndex) -> None:
    """A use puts it last; that of something unknown is nothing."""
    index.put(ROW)
    index.put(replace(ROW, key="b", used=20.0))
    index.touch({("ns", "a"): 30.0, ("ns", "never"): 40.0})
    assert [row.key for row in index.rows()] == ["b", "a"]


def test_what_has_expired_is_not_counted(index: DiskIndex) -> None:
    """From the very moment on, though it is there until somebody removes it."""
    index.put(ROW)
    short = replace(ROW, namespace="passing", expires=50.0)
    index.put(short)
    assert index.stats(49.0, 1000) == Stats(2, 200, 1000) and index.namespaces(49.0) == ["ns", "passing"]
    assert index.expired(49.0) == []
    assert index.stats(50.0, 1000) == Stats(1, 100, 1000) and index.namespaces(50.0) == ["ns"]
    assert index.expired(50.0) == [short]


def test_an_index_that_is_not_open_is_told(tmp_path: Path) -> None:
    """As storage that can't be used."""
    with pytest.raises(StorageUnavailable):
        DiskIndex(tmp_path / "index.sqlite").put(ROW)


@pytest.mark.parametrize("damage", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    """It is empty then, and can be used."""
    path = tmp_path / "index.sqlite"
    path.write_bytes(damage)
    index = DiskIndex(path)
    index.open()
    assert index.size == 0 and list(index.rows()) == []
    index.put(ROW)
    index.database.close()
