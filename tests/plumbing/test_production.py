"""What is received once for all who ask for it meanwhile."""

import errno
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.followed import Followed, Share
from cachew.plumbing.production import BETWEEN_LOOKS as LOOKS
from cachew.plumbing.production import Production, Received, leaving
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource, read_all
from tests.cleanliness import FlushLoggedErrors
from tests.fakes.disturbance import SteppedSource, Steps
from tests.fakes.readonly import ReadOnly
from tests.fakes.settled import failure_of, value_of

SLOW = pytest.mark.parametrize("slow", [True, False])


def follow(followed: Followed[str, Production], production: Production) -> Deferred[Share[Production] | None]:
    async def begin() -> Production:
        return production

    return Deferred.fromCoroutine(followed.follow("key", begin))


def test_a_spool_that_the_disk_does_not_let_go_is_removed_with_the_next(tmp_path: Path) -> None:
    """As on a disk that was read-only for a while; what has been received is as good."""
    followed: Followed[str, Production] = Followed()
    stuck = tmp_path / "stuck"
    for path in (Stubborn(stuck), tmp_path / "another"):
        share = value_of(follow(followed, Received(source=BytesSource(b"data"), spool=Spool(path=path))))
        assert share is not None
        assert value_of(Deferred.fromCoroutine(read_all(share.source, 10))) == b"data"
        assert stuck.exists() == (path == stuck)
    assert not list(tmp_path.iterdir())


class Stubborn(type(Path())):  # type: ignore[misc]
    """A path whose file can't be removed at the first attempt."""

    attempts = 0

    def unlink(self, missing_ok: bool = False) -> None:
        """Refuse to, once."""
        Stubborn.attempts += 1
        if Stubborn.attempts == 1:
            raise OSError(errno.EROFS, "Read-only file system")
        super().unlink(missing_ok)


def test_without_a_file_everybody_is_told_why(tmp_path: Path, flush_logged_errors: FlushLoggedErrors) -> None:
    """When no spool can be opened the source is closed, and who asked gets the disk's own error."""
    steps = Steps(slow=False)
    source = SteppedSource(steps, [b"data"], "source")
    followed: Followed[str, Production] = Followed()
    (tmp_path / "file").touch()
    asked = follow(followed, Received(source=source, spool=Spool(path=tmp_path / "file" / "spool")))
    assert isinstance(failure_of(asked), OSError)
    assert source.closed and followed.running == 0
    flush_logged_errors(OSError)


class Endless:
    """A source that never ends."""

    closed = False

    async def read(self, size: int) -> bytes:
        """Give as much as is asked for."""
        return bytes(size)

    def close(self) -> None:
        """Close."""
        self.closed = True


@pytest.mark.parametrize("least", [0, 2**62])
def test_what_begins_on_a_disk_below_its_floor_may_be_small(tmp_path: Path, least: int) -> None:
    """As what git writes: that a disk has little left keeps nobody from what takes hardly anything."""
    assert value_of(Deferred.fromCoroutine(cast(Any, leaving(tmp_path, least)())))


def test_what_has_no_end_is_received_as_long_as_there_is_room(tmp_path: Path) -> None:
    """Whoever follows it gets what has come, and then a failure; nothing of it is left."""
    source, room = Endless(), [False, True]

    async def has_room() -> bool:
        return room.pop()

    received = Received(source=source, spool=Spool(path=tmp_path / "spool"), room=has_room)
    share = value_of(follow(Followed(), received))
    assert share is not None
    followed = Deferred.fromCoroutine(read_all(share.source, 1 << 30))
    assert isinstance(failure_of(followed), SpoolFailed)
    assert source.closed and room == [] and not list(tmp_path.iterdir())
    assert 2 * LOOKS <= received.spool.size < 2 * LOOKS + (1 << 20)


def test_a_disk_that_lets_nothing_be_removed_wedges_no_key(tmp_path: Path) -> None:
    """What has ended leaves the table and its descriptor though its file can't be removed, and that is no failure."""
    failures: list[object] = []

    def start(work: Coroutine[Any, Any, None], what: str) -> None:
        Deferred.fromCoroutine(work).addErrback(failures.append)

    followed: Followed[str, Production] = Followed(start=start)
    before = len(os.listdir("/proc/self/fd"))
    asked = follow(followed, Received(source=BytesSource(b"x"), spool=Spool(path=ReadOnly(tmp_path) / "spool")))
    share = value_of(asked)
    assert share is not None
    assert value_of(Deferred.fromCoroutine(read_all(share.source, 10))) == b"x"
    assert "key" not in followed and followed.running == 0 and not failures
    assert len(os.listdir("/proc/self/fd")) == before
