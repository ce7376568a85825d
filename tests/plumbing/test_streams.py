"""Sources: back-pressure, ends, failures, and readers that leave."""

from pathlib import Path

from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.errors import TooLarge
from cachew.plumbing.regions import MemoryRegion
from cachew.plumbing.streams import BytesSource, FileSource, PushSource, Source, read_all, read_start


def read(source: Source, size: int = 100) -> Deferred[bytes]:
    return Deferred.fromCoroutine(source.read(size))


def region_of(source: BytesSource, limit: int) -> MemoryRegion | None:
    found: list[MemoryRegion | None] = []
    Deferred.fromCoroutine(source.region(limit)).addCallback(found.append)
    return found[0]


def now(deferred: Deferred[bytes]) -> bytes:
    """Return a result that must be there."""
    found: list[bytes] = []
    deferred.addCallback(found.append)
    return found[0]


class Pusher:
    """Notes what a source asks of its pusher."""

    def __init__(self, high_water: int = 10) -> None:
        self.asked: list[str] = []
        self.source = PushSource(
            pause=lambda: self.asked.append("pause"),
            resume=lambda: self.asked.append("resume"),
            stop=lambda: self.asked.append("stop"),
            high_water=high_water,
        )


def test_bytes_lie_in_memory() -> None:
    """Bytes in memory are told as regions of that memory, never as copies of it."""
    data = b"0123456789"
    source = BytesSource(data)
    assert now(read(source, 2)) == b"01"
    first, rest, end = (region_of(source, limit) for limit in (3, 100, 100))
    assert first is not None and (first.read(), first.data.obj) == (b"234", data)
    assert rest is not None and (rest.read(), rest.length) == (b"56789", 5)
    assert end is None


def test_a_slow_reader_pauses_the_pusher_once() -> None:
    """The pusher is paused when more than the high-water mark waits, and resumed when half of it has been read."""
    pusher = Pusher()
    for _ in range(4):
        pusher.source.data(b"abcd")
    assert pusher.asked == ["pause"]
    assert now(read(pusher.source)) == b"abcd" and pusher.asked == ["pause"]
    now(read(pusher.source))
    assert now(read(pusher.source, 3)) == b"abc"
    assert pusher.asked == ["pause", "resume"]


def test_what_came_before_a_failure_is_read_first() -> None:
    """A failure is told when everything before it has been read, and then always."""
    pusher = Pusher()
    pusher.source.data(b"start")
    pusher.source.fail(ValueError("broken"))
    assert now(read(pusher.source)) == b"start"
    for _ in range(2):
        failed = read(pusher.source)
        failed.addErrback(lambda failure: failure.trap(ValueError))
        assert failed.result is ValueError


def test_a_reader_that_is_cancelled_may_come_back() -> None:
    """A cancelled read loses no data."""
    pusher = Pusher()
    waiting = read(pusher.source)
    waiting.cancel()
    waiting.addErrback(lambda failure: failure.trap(CancelledError))
    pusher.source.data(b"data")
    assert now(read(pusher.source)) == b"data"
    again = read(pusher.source)
    pusher.source.finish()
    assert now(again) == b""


def test_closing_stops_the_pusher_once() -> None:
    """Whoever closes early stops the pusher; what it still sends is dropped, and a waiting read ends."""
    pusher = Pusher()
    waiting = read(pusher.source)
    pusher.source.close()
    pusher.source.close()
    pusher.source.data(b"late")
    assert pusher.asked == ["stop"] and now(waiting) == b"" and pusher.source.closed


def test_closing_after_the_end_stops_nobody() -> None:
    """A pusher that is done is left alone."""
    pusher = Pusher()
    pusher.source.finish()
    pusher.source.close()
    assert pusher.asked == []


def test_regions_of_a_file(tmp_path: Path) -> None:
    """A file source reads its region, whatever the file's own position, and nothing where that lies past the end."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    region = FileSource(path.open("rb"), 2, 5)
    assert now(read(region, 3)) == b"234" and now(read(region)) == b"56" and now(read(region)) == b""
    region.close()
    past = FileSource(path.open("rb"), 20)
    assert past.length == 0 and now(read(past)) == b""
    past.close()


def test_a_file_that_shrinks(tmp_path: Path) -> None:
    """A file that is shorter than announced is a failure, not an end."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    source = FileSource(path.open("rb"))
    path.write_bytes(b"")
    failed = read(source)
    failed.addErrback(lambda failure: failure.trap(EOFError))
    assert failed.result is EOFError
    source.close()


def test_reading_all_and_the_start() -> None:
    """A whole source is read up to its limit and no further; the start of one is just that."""
    assert now(Deferred.fromCoroutine(read_all(BytesSource(b"x" * 10), 10))) == b"x" * 10
    assert now(Deferred.fromCoroutine(read_start(BytesSource(b"0123456789"), 4))) == b"0123"
    pusher = Pusher()
    pusher.source.data(b"x" * 11)
    failed = Deferred.fromCoroutine(read_all(pusher.source, 10))
    failed.addErrback(lambda failure: failure.trap(TooLarge))
    assert failed.result is TooLarge
    assert pusher.source.closed
