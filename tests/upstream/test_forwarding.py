"""Requests that are sent on: in which spelling, to where, how often, and what is let go of; upstreams are played."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.web.http_headers import Headers

from cachew.plumbing.background import Background
from cachew.plumbing.errors import UpstreamError, UpstreamRedirected, UpstreamTimeout
from cachew.plumbing.streams import Source
from cachew.upstream.forwarding import Forwarded, Forwarding
from cachew.upstream.redirects import Moves
from cachew.upstream.spellings import Spellings
from tests.fakes.clock import FakeClock
from tests.fakes.closable import ClosableBytes
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import failure_of, value_of

BASE = "https://git.example/org/repo"
MEGABYTE = 1024 * 1024


class Response:
    """What an upstream answers.

    :param code: its status.
    :param page: whether it is for people.
    :param empty: whether it has no content.
    """

    def __init__(self, code: int = 200, *, page: bool = False, empty: bool = False) -> None:
        self.code = code
        self.length = 0 if empty else 10
        self.headers = Headers({b"content-type": [b"text/html"]} if page else {})

    def __repr__(self) -> str:
        return f"Response({self.code})"


class Upstream:
    """Answers as a test says, and knows which answers nobody has taken or given up.

    :param answers: by the URL's path from the repository on, one answer, or what is raised, or a Deferred of one.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []
        self.shown: list[str | None] = []
        self.bodies: list[bytes | None] = []
        self.open: list[Any] = []
        self.moved: dict[str, str] = {}

    async def _answer(self, url: str) -> Any:
        self.asked.append(url.removeprefix(BASE))
        found = self.answers.get(url.removeprefix(BASE).partition("?")[0], Response(404))
        if isinstance(found, Deferred):
            found = await found
        if isinstance(found, BaseException):
            raise found
        self.open.append(found)
        return found

    async def get_following(self, url: str, headers: Any, credential: str | None, *, seconds: float) -> Any:
        base, mark, rest = url.partition("/info/refs")
        return await self._answer(url), self.moved.get(base, base) + mark + rest

    async def pass_on(
        self, method: bytes, url: str, headers: Sequence[tuple[bytes, bytes]], body: Source | None, *_: Any, **__: Any
    ) -> Any:
        self.shown.append(next((value.decode() for name, value in headers if name == b"Authorization"), None))
        self.bodies.append(None if body is None else await body.read(MEGABYTE))
        try:
            return await self._answer(url)
        finally:
            if body is not None:
                body.close()

    def discard(self, url: str, response: Any) -> None:
        self.open.remove(response)


class Shown:
    """Shows a credential nowhere else."""

    def shown(self, credential: str | None, source: str, target: str) -> str | None:
        return None


class Unasked:
    """Other replicas that know nothing."""

    async def read(self, name: str) -> dict[str, Any]:
        return {}

    async def write(self, name: str, found: dict[str, str]) -> None:
        """Forget it."""


class World:
    """A repository at an upstream."""

    def __init__(
        self,
        answers: Mapping[str, Any] = MappingProxyType({}),
        *,
        fixed: Callable[[str], str | None] = lambda url: None,
    ) -> None:
        self.upstream = Upstream(answers)
        clock = FakeClock()
        self.moves = Moves()
        self.spellings = Spellings(
            fixed=fixed,
            path=None,
            shared=Unasked(),
            reactor=clock,
            clock=clock,
            in_thread=InlineThreads(),
            background=Background(),
        )
        self.forwarding = Forwarding(
            exchange=cast(Any, self.upstream),
            redirects=cast(Any, Shown()),
            moves=self.moves,
            spellings=self.spellings,
        )

    def send(
        self,
        operation: str = "/git-upload-pack",
        *,
        body: ClosableBytes | None = None,
        length: int | None = 4,
        method: bytes = b"POST",
        written: str = "",
        credential: str | None = "Basic x",
    ) -> Deferred[tuple[Any, str]]:
        """Send a request."""
        asked = Forwarded(method, BASE + operation, [], body, length, credential, written, 30.0)
        return Deferred.fromCoroutine(self.forwarding.send(asked))

    def refs(self, **more: Any) -> Deferred[tuple[Any, str]]:
        """Ask for refs."""
        return self.send("/info/refs?service=git-upload-pack", method=b"GET", **more)


def test_the_first_spelling_that_is_answered_is_learnt() -> None:
    """Later requests are sent there at once."""
    world = World({".git/git-upload-pack": Response()})
    body = ClosableBytes(b"want")
    response, final = value_of(world.send(body=body))
    assert (response.code, final) == (200, f"{BASE}.git/git-upload-pack")
    assert world.upstream.bodies == [b"want", b"want"]
    assert body.closed
    assert world.upstream.open == [response]
    value_of(world.send(body=ClosableBytes(b"want")))
    assert world.upstream.asked == ["/git-upload-pack", ".git/git-upload-pack", ".git/git-upload-pack"]


def test_the_client_s_own_spelling_is_tried_first() -> None:
    """He may know."""
    world = World({".git/git-upload-pack": Response()})
    value_of(world.send(body=ClosableBytes(b"want"), written=".git"))
    assert world.upstream.asked == [".git/git-upload-pack"]


def test_what_the_config_says_is_not_tried_otherwise() -> None:
    """Nor is anything learnt."""
    world = World(fixed=lambda url: ".git")
    response, _ = value_of(world.send(body=ClosableBytes(b"want")))
    assert response.code == 404
    assert world.upstream.asked == [".git/git-upload-pack"]


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        (Response(404), Response(401), 401),
        (Response(404), Response(404), 404),
        (Response(404, page=True), Response(404), 404),
        (Response(404), Response(500), 404),
        (Response(404), Response(503, page=True), 404),
        (Response(200, page=True), Response(200), 200),
        (Response(405), Response(200, page=True), 405),
        (Response(410, empty=True), Response(404), 404),
    ],
)
def test_of_two_answers_the_one_that_says_more_is_taken(first: Response, second: Response, taken: int) -> None:
    """The other one is given up, whichever it is."""
    world = World({"/git-upload-pack": first, ".git/git-upload-pack": second})
    response, _ = value_of(world.send(body=ClosableBytes(b"want")))
    assert response.code == taken
    assert world.upstream.open == [response]


@pytest.mark.parametrize("first", [Response(401), Response(403, page=True), Response(429, page=True), Response(500)])
def test_what_is_not_about_the_spelling_is_asked_once(first: Response) -> None:
    """A refusal and a busy upstream say nothing about it."""
    world = World({"/git-upload-pack": first})
    assert value_of(world.send(body=ClosableBytes(b"want")))[0] is first
    assert len(world.upstream.asked) == 1


def test_a_second_try_that_fails_leaves_the_first_answer() -> None:
    """The client is told what the upstream has said."""
    world = World({".git/git-upload-pack": UpstreamTimeout(BASE, "did not answer")})
    response, _ = value_of(world.send(body=ClosableBytes(b"want")))
    assert response.code == 404
    assert world.upstream.open == [response]


@pytest.mark.parametrize("refs", [False, True])
def test_a_client_that_leaves_during_the_second_try_leaves_no_answer(refs: bool) -> None:
    """The first one's connection would be held until the upstream closes it."""
    waiting: Deferred[Any] = Deferred()
    world = World({".git/git-upload-pack": waiting, ".git/info/refs": waiting})
    sent = world.refs() if refs else world.send(body=ClosableBytes(b"want"))
    assert len(world.upstream.open) == 1
    sent.cancel()
    assert isinstance(failure_of(sent), CancelledError)
    assert world.upstream.open == []


def test_what_nobody_foresaw_leaves_no_answer_either() -> None:
    """As when a name can't be sent in a second spelling."""
    world = World({".git/git-upload-pack": ValueError("what?")})
    assert isinstance(failure_of(world.send(body=ClosableBytes(b"want"))), ValueError)
    assert world.upstream.open == []


def test_a_large_body_is_sent_once_where_the_refs_are() -> None:
    """It is not held: before it the upstream is asked for refs, of the service that it is for."""
    world = World({".git/info/refs": Response(), ".git/git-receive-pack": Response()})
    body = ClosableBytes(b"push")
    response, final = value_of(world.send("/git-receive-pack", body=body, length=None))
    assert final == f"{BASE}.git/git-receive-pack"
    assert world.upstream.asked[:2] == [
        "/info/refs?service=git-receive-pack",
        ".git/info/refs?service=git-receive-pack",
    ]
    assert world.upstream.bodies == [b"push"]
    assert world.upstream.open == [response]


def test_a_large_body_is_closed_when_it_was_never_sent() -> None:
    """Whatever has kept it."""
    waiting: Deferred[Any] = Deferred()
    world = World({"/info/refs": waiting})
    body = ClosableBytes(b"push")
    sent = world.send("/git-receive-pack", body=body, length=MEGABYTE + 1)
    assert not body.closed
    sent.cancel()
    assert isinstance(failure_of(sent), CancelledError)
    assert body.closed


def test_an_upstream_that_does_not_tell_its_refs_meets_the_request_itself() -> None:
    """The same failure, or a better answer, comes of that."""
    failure = UpstreamTimeout(BASE, "did not answer")
    world = World({"/info/refs": failure, ".git/info/refs": failure, "/git-receive-pack": Response(403)})
    response, _ = value_of(world.send("/git-receive-pack", body=ClosableBytes(b"push"), length=None))
    assert response.code == 403


def test_a_repository_that_has_moved_is_asked_for_there() -> None:
    """Without the credential, which is for the place that it was given for."""
    moved = "https://git.example/new/repo"
    world = World({"/info/refs": Response(), f"{moved}/git-upload-pack": Response()})
    world.upstream.moved[BASE] = moved
    value_of(world.refs())
    response, final = value_of(world.send(body=ClosableBytes(b"want")))
    assert (response.code, final) == (200, f"{moved}/git-upload-pack")
    assert world.upstream.shown == [None]


def test_a_small_request_that_is_redirected_follows_where_the_refs_lead() -> None:
    """It is sent again there."""
    moved = "https://git.example/new/repo"
    redirected = UpstreamRedirected(BASE, "redirected a POST")
    world = World(
        {
            "/git-upload-pack": redirected,
            ".git/git-upload-pack": redirected,
            "/info/refs": Response(),
            f"{moved}/git-upload-pack": Response(),
        }
    )
    world.upstream.moved[BASE] = moved
    response, final = value_of(world.send(body=ClosableBytes(b"want")))
    assert final == f"{moved}/git-upload-pack"
    assert world.upstream.bodies[-1] == b"want"
    assert world.upstream.open == [response]


def test_a_redirect_that_leads_nowhere_is_told() -> None:
    """Once is enough."""
    redirected = UpstreamRedirected(BASE, "redirected a POST")
    world = World({"/git-upload-pack": redirected, ".git/git-upload-pack": redirected})
    assert failure_of(world.send(body=ClosableBytes(b"want"))) is redirected
    assert world.upstream.open == []


def test_both_redirected_is_told_as_the_first() -> None:
    """Refs, too, are tried in both spellings."""
    first, second = UpstreamRedirected(BASE, "first"), UpstreamRedirected(BASE, "second")
    world = World({"/info/refs": first, ".git/info/refs": second})
    assert failure_of(world.refs()) is first
    assert world.upstream.open == []


def test_an_upstream_that_fails_is_told() -> None:
    """The second spelling would fail the same way."""
    failure: UpstreamError = UpstreamTimeout(BASE, "did not answer")
    world = World({"/info/refs": failure})
    assert failure_of(world.refs()) is failure
    assert world.upstream.asked == ["/info/refs?service=git-upload-pack"]


def test_lfs_may_be_spelled_otherwise_than_git() -> None:
    """What was learnt of one is only where the other is tried first."""
    world = World({"/info/refs": Response(), ".git/info/lfs/objects/batch": Response()})
    value_of(world.refs())
    value_of(world.send("/info/lfs/objects/batch", body=ClosableBytes(b"{}")))
    value_of(world.send("/info/lfs/objects/batch", body=ClosableBytes(b"{}")))
    assert world.upstream.asked[1:] == [
        *("/info/lfs/objects/batch", ".git/info/lfs/objects/batch", ".git/info/lfs/objects/batch")
    ]
