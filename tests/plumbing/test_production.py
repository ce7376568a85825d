"""What is received once for all who ask for it meanwhile."""

import errno
import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.errors import SpoolFailed
from cachew.plumbing.followed import Followed, Share
from cachew.plumbing.production import Production, Received
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource, read_all
from tests.cleanliness import FlushLoggedErrors
from tests.fakes.disturbance import Sources, SteppedSource, Steps, nothing_left
from tests.fakes.readonly import ReadOnly
from tests.fakes.settled import failure_of, value_of

SLOW = pytest.mark.parametrize("slow", [True, False])


class Answer(Received):
    """A production that notes its end."""

    def __init__(self, steps: Steps, source: Any, path: Path) -> None:
        super().__init__(source=source, spool=Spool(path=path))
        self._steps, self.ends = steps, list[str]()

    async def received(self, piece: bytes) -> None:
        await self._steps.reach("received")

    async def whole(self) -> None:
        await self._steps.reach("whole")

    async def over(self) -> None:
        self.ends.append("over")
        await self._steps.reach("over")


class TwoClients:
    """Two clients that ask for the same; the first one leaves."""

    def __init__(self, steps: Steps, directory: Path) -> None:
        self._steps, self._directory, self._sources = steps, directory, Sources(steps)
        self._followed: Followed[str, Answer] = Followed(start=self._start)
        self._numbers = iter(range(1000))
        self.made: list[Answer] = []
        self.descriptors = len(os.listdir("/proc/self/fd"))

    def _start(self, work: Coroutine[Any, Any, None], what: str) -> None:
        Deferred.fromCoroutine(work).addErrback(lambda failure: None)

    async def _begin(self) -> Answer:
        await self._steps.reach("ask")
        source = self._sources.of(b"one", b"two")
        self.made.append(Answer(self._steps, source, self._directory / f"spool-{next(self._numbers)}"))
        return self.made[-1]

    async def _client(self) -> bytes:
        share = await self._followed.follow("key", self._begin)
        assert share is not None
        return await read_all(share.source, 1000)

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        return [self._client(), self._client()]

    def settle(self) -> None:
        """Nothing takes time."""

    def left(self) -> list[str]:
        found = self._sources.left()
        found += [f"file {path.name}" for path in self._directory.iterdir()]
        found += ["in the table"] * ("key" in self._followed or self._followed.running or self._followed.beginning)
        found += ["not over"] * any(made.ends != ["over"] for made in self.made)
        found += ["descriptors"] * (len(os.listdir("/proc/self/fd")) != self.descriptors)
        return found


@SLOW
def test_nothing_stays_wherever_a_client_leaves_or_anything_fails(tmp_path: Path, slow: bool) -> None:
    """No source, file, descriptor or entry stays, and no client waits, whichever await is disturbed by whatever."""
    nothing_left(lambda steps: TwoClients(steps, tmp_path), slow=slow)


def follow(followed: Followed[str, Production], production: Production) -> Deferred[Share[Production] | None]:
    async def begin() -> Production:
        return production

    return Deferred.fromCoroutine(followed.follow("key", begin))


def test_an_answer_without_a_byte_reaches_who_asked(tmp_path: Path) -> None:
    """What is empty, and so has ended before anybody could follow, is still his who asked, and nobody asks again."""
    followed: Followed[str, Production] = Followed()
    asked = follow(followed, Received(source=BytesSource(b""), spool=Spool(path=tmp_path / "spool")))
    share = value_of(asked)
    assert share is not None and share.began
    assert value_of(Deferred.fromCoroutine(read_all(share.source, 10))) == b""
    assert not list(tmp_path.iterdir()) and "key" not in followed


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


def test_a_client_that_makes_another_leave_keeps_nobody_waiting(tmp_path: Path) -> None:
    """Who leaves because of what another does with his share gets none, and the others get theirs."""
    followed: Followed[str, Production] = Followed()
    begun: Deferred[Production] = Deferred()

    async def begin() -> Production:
        return await begun

    first, second, third = (Deferred.fromCoroutine(followed.follow("key", begin)) for _ in range(3))

    def make_leave(share: Share[Production] | None) -> Share[Production] | None:
        second.cancel()
        return share

    first.addCallback(make_leave)
    steps = Steps(slow=True)
    begun.callback(Received(source=SteppedSource(steps, [b"x"], "s"), spool=Spool(path=tmp_path / "spool")))
    assert isinstance(failure_of(second), CancelledError)
    shares = [value_of(first), value_of(third)]
    assert all(share is not None for share in shares)
    (production,) = {share.production for share in shares if share is not None}
    assert production.spool.followers == 2
    for share in shares:
        assert share is not None
        share.source.close()
    assert production.given_up
    steps.go_on()
    assert followed.running == 0


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


def test_stop_gives_up_what_is_begun_and_under_way(tmp_path: Path) -> None:
    """A stop ends both kinds, waits for the end, and those who follow get a failure."""
    steps = Steps(slow=True)
    followed: Followed[str, Production] = Followed()
    source = SteppedSource(steps, [b"data"], "source")
    share = value_of(follow(followed, Received(source=source, spool=Spool(path=tmp_path / "spool"))))

    async def never() -> Production:
        await Deferred[None]()
        raise AssertionError

    begun = Deferred.fromCoroutine(followed.follow("other", never))
    stopped = Deferred.fromCoroutine(followed.stop())
    steps.go_on()
    assert stopped.called and followed.running == followed.beginning == 0
    assert isinstance(failure_of(begun), CancelledError)
    assert share is not None
    assert isinstance(failure_of(Deferred.fromCoroutine(read_all(share.source, 10))), SpoolFailed)
