"""Productions by what they are of, and who follows them."""

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
from tests.fakes.disturbance import Sources, SteppedSource, Steps, nothing_left
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


def test_what_is_under_way_is_joined_and_not_begun_again(tmp_path: Path) -> None:
    """From the byte that is asked for; only the first is told that it was begun for him."""
    steps = Steps(slow=True)
    followed: Followed[str, Production] = Followed()
    assert followed.join("key") is None and "key" not in followed
    source = SteppedSource(steps, [b"data"], "source")
    first = value_of(follow(followed, Received(source=source, spool=Spool(path=tmp_path / "spool"))))
    again = value_of(Deferred.fromCoroutine(followed.follow("key", unwanted, 2)))
    assert first is not None and again is not None
    assert (first.began, again.began) == (True, False) and first.production is again.production
    assert "key" in followed and set(followed.under_way) == {"key"} and followed.running == 1
    whole, rest = (Deferred.fromCoroutine(read_all(share.source, 10)) for share in (first, again))
    for _ in range(10):
        steps.go_on()
    assert (value_of(whole), value_of(rest)) == (b"data", b"ta")
    assert followed.join("key") is None and not followed.under_way and followed.running == 0


async def unwanted() -> Production:
    """Make none."""
    raise AssertionError("it was begun a second time")


def test_whoever_waits_for_a_beginning_that_fails_is_told_why() -> None:
    """All of them the same; the next may begin anew."""
    followed: Followed[str, Production] = Followed()
    begun: Deferred[Production] = Deferred()

    async def begin() -> Production:
        return await begun

    waiting = [Deferred.fromCoroutine(followed.follow("key", begin)) for _ in range(2)]
    assert "key" in followed and followed.beginning == 1
    begun.errback(ValueError("no such thing"))
    assert [str(failure_of(one)) for one in waiting] == ["no such thing"] * 2
    assert "key" not in followed and followed.beginning == followed.running == 0


def test_where_there_is_to_be_none_nobody_gets_one() -> None:
    """And no entry stays."""
    followed: Followed[str, Production] = Followed()

    async def begin() -> None:
        return None

    assert value_of(Deferred.fromCoroutine(followed.follow("key", begin))) is None
    assert "key" not in followed and followed.running == 0
