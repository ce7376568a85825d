"""Questions to a forge's API."""

from typing import Any

import pytest
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cachew.plumbing.errors import UpstreamError, UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.upstream.jsonapi import JsonApi, reason_in
from tests.fakes.settled import failure_of, value_of

URL = "https://api.example"


class Api(Resource):
    """An API that gives one answer, or none."""

    isLeaf = True

    def __init__(self, body: bytes | None, *, status: int = 200, **headers: str) -> None:
        super().__init__()
        self._body, self._status, self._headers = body, status, headers
        self.asked: list[tuple[bytes, bytes, str | None]] = []

    def render(self, request: Any) -> Any:
        self.asked.append((request.method, request.uri, request.getHeader("x-shown")))
        request.setResponseCode(self._status)
        for name, value in self._headers.items():
            request.setHeader(name, value)
        return NOT_DONE_YET if self._body is None else self._body


def asked(api: Api, clock: Clock | None = None) -> Deferred[Any]:
    questions = JsonApi(url=URL, http=StubTreq(api), reactor=clock or Clock(), timeout=10, limit=100_000)
    return Deferred.fromCoroutine(questions.ask("POST", "/repos?page=1", {"X-Shown": "yes"}))


@pytest.mark.parametrize("status", [200, 201])
def test_an_answer_is_what_its_json_says(status: int) -> None:
    """Asked with the method, with the headers that were given."""
    api = Api(b'[{"name": "\xc3\xa4"}]', status=status)
    assert value_of(asked(api)) == [{"name": "ä"}]
    assert api.asked == [(b"POST", b"/repos?page=1", "yes")]


@pytest.mark.parametrize("status", [204, 302, 401, 404, 500])
def test_any_other_status_is_a_refusal_that_tells_it(status: int) -> None:
    """Redirects are not followed: the headers hold a credential."""
    api = Api(b"{}", status=status, location="https://elsewhere.example/")
    failure = failure_of(asked(api))
    assert isinstance(failure, UpstreamRefused) and failure.status == status and len(api.asked) == 1


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            b'{"message": "Integration not found", "documentation_url": "x"}',
            "Integration not found",
        ),
        (b'{"message": "two\\nlines \\u001b[31m \\ud800"}', "two?lines ?[31m ?"),
        (b'{"message": 5}', ""),
        (b'["message"]', ""),
        (b"<html>", ""),
        (b"[" * 99_000, ""),
    ],
    ids=range(6),
)
def test_a_refusal_tells_why(body: bytes, reason: str) -> None:
    """As far as the API says it in a message, and as a terminal may see it."""
    failure = failure_of(asked(Api(body, status=401)))
    assert isinstance(failure, UpstreamRefused) and reason_in(failure) == reason


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 99_000, b"\xff"])
def test_what_is_no_json_is_no_answer(body: bytes) -> None:
    """Nor is what nests deeper than anybody reads."""
    failure = failure_of(asked(Api(body)))
    assert isinstance(failure, UpstreamUnreachable) and URL in str(failure) and "not JSON" in str(failure)


def test_an_answer_that_is_too_large_is_the_upstreams_failure() -> None:
    """Nobody who waits for a credential has sent anything too large."""
    failure = failure_of(asked(Api(b"[" + b" " * 100_000 + b"]")))
    assert isinstance(failure, UpstreamError) and "100000 bytes" in str(failure)


def test_an_upstream_that_says_nothing_is_given_up() -> None:
    """When its time is over, and not before."""
    clock = Clock()
    waiting = asked(Api(None), clock)
    clock.advance(9)
    assert not waiting.called
    clock.advance(2)
    assert isinstance(failure_of(waiting), UpstreamTimeout)
    assert not clock.getDelayedCalls()
