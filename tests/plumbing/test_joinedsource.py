"""Bytes at hand and what comes after them, as one source."""

from pathlib import Path

from twisted.internet.defer import Deferred

from cachew.plumbing.joinedsource import JoinedSource
from cachew.plumbing.streams import BytesSource, FileSource, PushSource
from tests.fakes.settled import value_of


def read(source: JoinedSource, size: int) -> bytes:
    """Return what is read at once."""
    return value_of(Deferred.fromCoroutine(source.read(size)))


def regions(source: JoinedSource, limit: int) -> list[bytes]:
    """Return what lies in the regions to the end."""
    found = []
    while (region := value_of(Deferred.fromCoroutine(source.region(limit)))) is not None:
        found.append(region.read())
    return found


def test_the_rest_follows_the_start() -> None:
    """No piece is longer than what is asked for, and none is of both."""
    joined = JoinedSource(b"01234", BytesSource(b"567"))
    assert [read(joined, 3) for _ in range(5)] == [b"012", b"34", b"567", b"", b""]
    assert read(JoinedSource(b"", BytesSource(b"all")), 100) == b"all"


def test_regions_are_of_memory_and_then_of_the_file(tmp_path: Path) -> None:
    """What can be sent from where it lies is; what gives no regions is read, and gives the same."""
    path = tmp_path / "file"
    path.write_bytes(b"--567--")
    filed = FileSource(path.open("rb"), 2, 3)
    assert regions(JoinedSource(b"01234", filed), 4) == [b"0123", b"4", b"567"]
    filed.close()
    pushed = PushSource()
    pushed.data(b"567")
    pushed.finish()
    assert regions(JoinedSource(b"01234", pushed), 2) == [b"01", b"23", b"4", b"56", b"7"]


def test_what_follows_is_closed_with_it() -> None:
    """Who gives it up gives up both, also before the start was read."""
    pushed = PushSource()
    joined = JoinedSource(b"01234", pushed)
    joined.close()
    assert pushed.closed and read(joined, 3) == b""
