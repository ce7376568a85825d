"""What was used and is not written down yet."""

import sqlite3
from collections.abc import Mapping

import pytest

from cachew.cache.uses import UnwrittenUses


class Written:
    """What was written down, by write; writing fails on command."""

    def __init__(self) -> None:
        self.writes: list[dict[str, float]] = []
        self.failure: Exception | None = None

    def __call__(self, uses: Mapping[str, float]) -> None:
        """Write."""
        if self.failure is not None:
            raise self.failure
        self.writes.append(dict(uses))


@pytest.fixture
def written() -> Written:
    """Return a place where nothing is written down."""
    return Written()


def test_many_uses_are_one_write(written: Written) -> None:
    """None is made before there are many, and what was written down is not written again."""
    uses = UnwrittenUses(written)
    for number in range(300):
        uses.note(f"key{number}", float(number))
    assert [len(write) for write in written.writes] == [256]
    assert "key0" not in uses and "key299" in uses
    uses.flush()
    uses.flush()
    assert [len(write) for write in written.writes] == [256, 44]


def test_the_last_use_counts(written: Written) -> None:
    """What is used again and again is written down once, as of its last use."""
    uses = UnwrittenUses(written)
    for now in range(1000):
        uses.note("key", float(now))
    uses.flush()
    assert written.writes == [{"key": 999.0}]


def test_what_goes_was_not_used(written: Written) -> None:
    """What is forgotten, alone or with everything, is not written down; forgetting the unknown is nothing."""
    uses = UnwrittenUses(written)
    uses.note("gone", 1.0)
    uses.note("kept", 2.0)
    uses.forget("gone")
    uses.forget("gone")
    uses.flush()
    assert written.writes == [{"kept": 2.0}]
    uses.note("kept", 3.0)
    uses.clear()
    uses.flush()
    assert len(written.writes) == 1 and "kept" not in uses


def test_what_could_not_be_written_down_is_written_later(written: Written) -> None:
    """A full disk refuses nobody; the later use of the same thing still counts."""
    uses = UnwrittenUses(written)
    written.failure = sqlite3.OperationalError("database or disk is full")
    uses.note("first", 1.0)
    uses.note("second", 1.0)
    uses.flush()
    uses.note("second", 2.0)
    written.failure = None
    uses.flush()
    assert written.writes == [{"first": 1.0, "second": 2.0}]


def test_a_disk_that_stays_full_fills_no_memory(written: Written) -> None:
    """Beyond a bound the first ones that were noted are forgotten."""
    uses = UnwrittenUses(written)
    written.failure = sqlite3.OperationalError("database or disk is full")
    for number in range(70_000):
        uses.note(f"key{number}", float(number))
    written.failure = None
    uses.flush()
    (write,) = written.writes
    assert 65_536 <= len(write) <= 65_536 + 256
    assert "key69999" in write and "key0" not in write


def test_a_damaged_database_is_told(written: Written) -> None:
    """Whoever can make it anew has to know."""
    uses = UnwrittenUses(written)
    uses.note("key", 1.0)
    written.failure = damaged = sqlite3.DatabaseError("database disk image is malformed")
    damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    with pytest.raises(sqlite3.DatabaseError):
        uses.flush()
