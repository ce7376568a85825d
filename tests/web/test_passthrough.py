"""What the upstream answers, on its way to those who have asked."""

import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.http.incoming import HeldBody
from cachew.plumbing.background import Background
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.streams import BytesSource
from cachew.upstream.client import UpstreamResponse
from cachew.web.passthrough import PassThrough, question_of
from tests.fakes.disturbance import FakeRequest, Steps, nothing_left
from tests.fakes.gitserving import IDENTITY, FakeRemotes, FakeUpstream
from tests.fakes.instances import right
from tests.fakes.settled import value_of
from tests.fakes.silence import quiet
from tests.web.test_packs import SLOW

SPEAKS = encode_all([b"version 2\n", b"agent=git/2.39.5\n", b"ls-refs\n", b"fetch=shallow filter\n", FLUSH])
PIECES = (b"first", b"x" * 300_000, b"last")


class Passing:
    """Two clients that ask the upstream the same.

    :param shared: whether they follow one response, or are sent one each.
    :param min_free: bytes that are to be left on the disk.
    """

    def __init__(
        self, steps: Steps, directory: Path, *, shared: bool, pieces: Sequence[bytes] = PIECES, min_free: int = 0
    ) -> None:
        self._steps, self._directory, self._shared = steps, directory, shared
        self.background = quiet(Background())
        self.upstream = FakeUpstream(steps, *pieces)
        self.remotes = FakeRemotes()
        self.passthrough = PassThrough(
            client=cast(Any, self.upstream),
            remotes=cast(Any, self.remotes),
            spools=directory / "spools",
            background=self.background,
            min_free=min_free,
            shown=self._credential,
        )
        self.requests: list[Any] = [FakeRequest(steps, method=b"POST", body=BytesSource(b"body")) for _ in range(2)]
        self.descriptors = len(os.listdir("/proc/self/fd"))

    async def _credential(self, repository: Any, authorization: str | None) -> str | None:
        await self._steps.reach("credential")
        return authorization

    async def _change(self, response: UpstreamResponse) -> UpstreamResponse:
        await self._steps.reach("change")
        return response

    def client(self, request: Any) -> Coroutine[Any, Any, object]:
        """Return what a client waits for."""
        if not self._shared:
            return self.passthrough.stream(request, IDENTITY, "git-receive-pack", change=self._change)
        question = question_of(request, right(IDENTITY), "git-upload-pack", body=HeldBody(b"q", digest="q"))
        return self.passthrough.share(request, question)

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        return [self.client(request) for request in self.requests]

    def settle(self) -> None:
        """Nothing takes time."""

    def left(self) -> list[str]:
        found = self.upstream.sources.left()
        found += [f"goes on: {what}" for what, _ in self.background.under_way]
        found += [f"file {path.name}" for path in self._directory.glob("spools/*")]
        found += ["descriptors"] * (len(os.listdir("/proc/self/fd")) > self.descriptors)
        return found


@SLOW
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("pieces", [PIECES, ()])
def test_a_passed_request_leaves_nothing(tmp_path: Path, shared: bool, pieces: Sequence[bytes], slow: bool) -> None:
    """No response, spool or work stays of a request whose client leaves, or which fails, at whichever await."""
    nothing_left(lambda steps: Passing(steps, tmp_path, shared=shared, pieces=pieces), slow=slow)


FULL = 1 << 62


@SLOW
def test_a_full_disk_keeps_no_answer_from_its_clients(tmp_path: Path, slow: bool) -> None:
    """An upstream chooses how long its answers are: what there is no room for goes through memory, to each its own."""
    steps = Steps(slow=slow)
    bench = Passing(steps, tmp_path, shared=True, min_free=FULL)
    clients = [Deferred.fromCoroutine(work) for work in bench.work()]
    while steps.go_on():
        assert not any(tmp_path.glob("spools/*"))
    for client, request in zip(clients, bench.requests, strict=True):
        value_of(client)
        assert b"".join(request.written) == b"".join(PIECES)
    nothing_left(lambda steps: Passing(steps, tmp_path, shared=True, min_free=FULL), slow=slow)


@SLOW
def test_an_empty_answer_reaches_its_clients_and_is_asked_for_once(tmp_path: Path, slow: bool) -> None:
    """An upstream that refuses with an empty body is asked once, and each who waits gets its status."""
    steps = Steps(slow=slow)
    bench = Passing(steps, tmp_path, shared=True, pieces=())
    clients = [Deferred.fromCoroutine(work) for work in bench.work()]
    while steps.go_on():
        pass
    for client in clients:
        value_of(client)
    assert bench.upstream.asked <= (1 if slow else 2) and bench.left() == []
    assert all(request.startedWriting for request in bench.requests)


@pytest.mark.parametrize(("told", "learnt"), [(SPEAKS, True), (SPEAKS[:-4], False), (b"0000", False)])
def test_what_an_upstream_tells_a_client_that_it_speaks_is_learnt(tmp_path: Path, told: bytes, learnt: bool) -> None:
    """It need not be asked once more for its refs, and the next client is told the same out of memory."""
    steps = Steps(slow=False)
    bench = Passing(steps, tmp_path, shared=True, pieces=(told[:20], told[20:]))
    question = question_of(bench.requests[0], right(IDENTITY), "info/refs?service=git-upload-pack", body=None)
    client = Deferred.fromCoroutine(bench.passthrough.share(bench.requests[0], question))
    while steps.go_on():
        pass
    value_of(client)
    assert bench.passthrough.capabilities(IDENTITY) == (SPEAKS if learnt else None)


@pytest.mark.parametrize("refs", [1, 1000])
def test_that_an_upstream_is_a_dumb_server_is_learnt(tmp_path: Path, refs: int) -> None:
    """The client that was told so asks for files next, of which nobody else may have asked for anything."""
    steps = Steps(slow=False)
    told = b"%b\trefs/heads/main\n" % (b"a" * 40) * refs
    bench = Passing(steps, tmp_path, shared=True, pieces=(told[:20], told[20:]))
    question = question_of(bench.requests[0], right(IDENTITY), "info/refs?service=git-upload-pack", body=None)
    client = Deferred.fromCoroutine(bench.passthrough.share(bench.requests[0], question))
    while steps.go_on():
        pass
    value_of(client)
    remote: Any = bench.remotes.of(IDENTITY)
    assert remote.capabilities.dumb


def test_who_wants_to_know_what_there_is_now_shares_with_those_who_do() -> None:
    """A client that has caches pass it on, as git does for refs, gets no answer that was asked for without that."""
    lists = "info/refs?service=git-upload-pack"
    asked: list[Any] = [FakeRequest(Steps(slow=False), Pragma="no-cache"), FakeRequest(Steps(slow=False))]
    fresh, kept = (question_of(request, right(IDENTITY), lists, body=None) for request in asked)
    assert (b"pragma", b"no-cache") in fresh.headers and fresh.key != kept.key


def test_a_body_is_opened_when_its_credential_is_at_hand(tmp_path: Path) -> None:
    """Whose credential can't be had, or who leaves while it is looked for, has no descriptor taken."""
    steps = Steps(slow=True)
    bench = Passing(steps, tmp_path, shared=True)
    opened: list[BytesSource] = []

    class Watched(HeldBody):
        def source(self) -> BytesSource:
            opened.append(BytesSource(b"q"))
            return opened[-1]

    question = question_of(bench.requests[0], right(IDENTITY), "git-upload-pack", body=Watched(b"q"))
    client = Deferred.fromCoroutine(bench.passthrough.share(bench.requests[0], question))
    client.addErrback(lambda gone: None)
    while "credential" not in steps.names:
        assert steps.go_on()
    client.cancel()
    assert opened == []


def test_the_upstream_is_let_go_of_as_soon_as_nobody_follows(tmp_path: Path) -> None:
    """A response that nobody follows any more is closed at once, though the upstream sends nothing."""
    steps = Steps(slow=True)
    bench = Passing(steps, tmp_path, shared=True)
    client = Deferred.fromCoroutine(bench.client(bench.requests[0]))
    while "upstream.read" not in steps.names:
        assert steps.go_on()
    client.cancel()
    client.addErrback(lambda gone: None)
    assert bench.left() == []
