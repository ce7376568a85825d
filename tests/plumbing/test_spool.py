"""One writer and many followers over one file."""

import fcntl
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.regions import Region
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import PIECE, Source, read_all

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(path=tmp_path / "spool")


T = TypeVar("T")


def now(work: Coroutine[Any, Any, T]) -> T:
    """The result of work that must not wait."""
    got: list[T] = []
    Deferred.fromCoroutine(work).addCallback(got.append)
    assert got, "not done"
    return got[0]


def reading(source: Source) -> Deferred[bytes]:
    return Deferred.fromCoroutine(read_all(source, 1 << 20))


def result(deferred: Deferred[bytes]) -> bytes:
    """The result of a Deferred that must have fired."""
    got: list[bytes | Failure] = []
    deferred.addBoth(got.append)
    assert got, "not fired"
    if isinstance(got[0], Failure):
        got[0].raiseException()
    assert isinstance(got[0], bytes)
    return got[0]


def test_followers_see_everything(spool: Spool) -> None:
    """Followers that come before, during and after the writing all see the first byte to the last."""
    early = reading(spool.follow())
    spool.write(b"one ")
    during = reading(spool.follow())
    spool.write(b"two")
    assert not early.called and not during.called
    spool.finish()
    late = reading(spool.follow())
    assert result(early) == result(during) == result(late) == b"one two"
    assert spool.size == 7 and spool.followers == 0


def test_follow_from_an_offset(spool: Spool) -> None:
    """A follower may begin within what is written or beyond it."""
    spool.write(b"0123456789")
    inside, beyond = reading(spool.follow(4)), reading(spool.follow(12))
    spool.write(b"abcd")
    spool.finish()
    assert result(inside) == b"456789abcd"
    assert result(beyond) == b"cd"


def test_a_read_never_exceeds_its_size(spool: Spool) -> None:
    """A follower gives no more bytes than it is asked for."""
    spool.write(b"abcdef")
    spool.finish()
    source = spool.follow()
    assert result(Deferred.fromCoroutine(source.read(4))) == b"abcd"
    assert result(Deferred.fromCoroutine(source.read(4))) == b"ef"
    assert result(Deferred.fromCoroutine(source.read(4))) == b""
    source.close()


def test_failure_reaches_followers(spool: Spool) -> None:
    """When the writer breaks off, followers get what there is and then the failure."""
    source = spool.follow()
    spool.write(b"half")
    spool.fail(OSError("upstream hung up"))
    assert result(Deferred.fromCoroutine(source.read(100))) == b"half"
    with pytest.raises(SpoolFailed, match="upstream hung up"):
        result(Deferred.fromCoroutine(source.read(100)))
    source.close()


def test_nothing_is_written_after_the_end(spool: Spool) -> None:
    """A finished spool takes no more data and does not become a failed one."""
    spool.finish()
    with pytest.raises(SpoolFailed):
        spool.write(b"x")
    spool.fail(OSError("late"))
    assert spool.state == "finished"


def test_a_leaving_follower_disturbs_nobody(spool: Spool) -> None:
    """One follower's close ends its own read and leaves the writer and the others alone."""
    leaving = spool.follow()
    read = Deferred.fromCoroutine(leaving.read(10))
    staying = reading(spool.follow())
    leaving.close()
    leaving.close()
    assert result(read) == b""
    spool.write(b"data")
    spool.finish()
    assert result(staying) == b"data"


def test_when_idle(spool: Spool) -> None:
    """The idle signal comes when the last follower closes, and at once when there is none."""
    assert spool.when_idle().called
    one, two = spool.follow(), spool.follow()
    idle = spool.when_idle()
    one.close()
    assert not idle.called
    two.close()
    assert idle.called


def test_keep_renames_under_followers(spool: Spool, tmp_path: Path) -> None:
    """A finished spool moves to its target while a follower reads on; an unfinished one can't be kept."""
    source = spool.follow()
    spool.write(b"kept")
    with pytest.raises(SpoolFailed):
        spool.keep(tmp_path / "target")
    spool.finish()
    spool.keep(tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == b"kept"
    assert not spool.path.exists()
    assert result(reading(source)) == b"kept"
    with pytest.raises(SpoolFailed, match="gone"):
        spool.follow()


def test_discard_keeps_followers_and_writer_going(spool: Spool) -> None:
    """A discarded spool loses its name only: the writer writes on and followers read to the end."""
    read = reading(spool.follow())
    spool.write(b"a")
    spool.discard()
    assert not spool.path.exists()
    spool.write(b"b")
    spool.finish()
    assert result(read) == b"ab"
    spool.discard()


def test_a_failing_disk_fails_the_followers(tmp_path: Path) -> None:
    """An error while writing reaches the writer and the followers."""
    (tmp_path / "file").touch()
    spool = Spool(path=tmp_path / "file" / "spool")
    with pytest.raises(OSError):
        spool.write(b"x")
    assert spool.state == "failed"


def test_a_cancelled_read_leaves_the_spool_usable(spool: Spool) -> None:
    """A client that goes away in the middle of a read does not disturb the writer."""
    source = spool.follow()
    read = Deferred.fromCoroutine(source.read(10))
    read.addErrback(lambda _: None)
    read.cancel()
    source.close()
    spool.write(b"x")
    spool.finish()
    assert result(reading(spool.follow())) == b"x"


def test_take_from_a_pipe(spool: Spool) -> None:
    """What waits in a pipe is appended; an empty pipe is told from one that has ended."""
    reading_end, writing_end = os.pipe()
    os.set_blocking(reading_end, False)
    followed = reading(spool.follow())
    spool.write(b"one ")
    os.write(writing_end, b"two")
    assert spool.take(reading_end) == 3
    with pytest.raises(BlockingIOError):
        spool.take(reading_end)
    assert spool.state == "open"
    os.close(writing_end)
    assert spool.take(reading_end) == 0
    os.close(reading_end)
    spool.finish()
    assert result(followed) == b"one two"
    with pytest.raises(SpoolFailed):
        spool.take(reading_end)


def test_take_wakes_followers_seldom(spool: Spool) -> None:
    """While more waits in a pipe, followers are woken for much at a time; when nothing does, for what there is."""
    reading_end, writing_end = os.pipe()
    os.set_blocking(reading_end, False)
    fcntl.fcntl(writing_end, fcntl.F_SETPIPE_SZ, PIECE)
    source = spool.follow()
    come = Deferred.fromCoroutine(source.region(1 << 30))
    takes = 0
    while not come.called:
        os.write(writing_end, bytes(PIECE))
        assert spool.take(reading_end) == PIECE
        takes += 1
    assert takes == 4
    little = Deferred.fromCoroutine(source.read(100))
    os.write(writing_end, b"little")
    spool.take(reading_end)
    assert not little.called
    with pytest.raises(BlockingIOError):
        spool.take(reading_end)
    assert result(little) == b"little"
    source.close()
    os.close(reading_end)
    os.close(writing_end)


def test_regions(spool: Spool) -> None:
    """A follower says where what has been written lies, as much as there is at a time."""
    source = spool.follow(2)
    spool.write(b"0123456789")
    region = now(source.region(5))
    assert isinstance(region, Region) and (region.offset, region.read()) == (2, b"23456")
    region = now(source.region(100))
    assert isinstance(region, Region) and (region.offset, region.read()) == (7, b"789")
    spool.finish()
    assert now(source.region(100)) is None
    source.close()
