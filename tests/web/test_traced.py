"""Requests as spans: what is part of them, what they are told of, and when they end."""

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from cachew.plumbing import tracing
from cachew.plumbing.tracing import UNTRACED, Fact, Span
from cachew.web.traced import Traced
from tests.fakes.disturbance import FakeRequest, Steps


class Noted:
    """A span that takes note of its end."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, Mapping[str, Fact]]] = []

    def begin(self, name: str, *, leaves: bool, facts: Mapping[str, Fact]) -> Span:
        """Begin nothing."""
        return UNTRACED

    def headers(self) -> Mapping[str, str]:
        """Return none."""
        return {}

    def end(self, *, failed: str = "", facts: Mapping[str, Fact] | None = None) -> None:
        """End."""
        self.ends.append((failed, facts or {}))


class Tracing:
    """A resource that is traced, and the tracer.

    :param span: what requests are.
    """

    def __init__(self, span: Span) -> None:
        self.span = span
        self.begun: list[tuple[str, str, Mapping[str, str]]] = []
        self.seen: list[Span] = []

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Span:
        """Begin a span."""
        self.begun.append((method, path, headers))
        return self.span

    def render(self, request: object) -> str:
        """Answer, and note of which span that is part."""
        self.seen.append(tracing.current())
        return "answered"

    def ask(self, request: Any) -> object:
        """Have a request answered."""
        return Traced(cast(Any, self), self).render(request)


def asking(**headers: str) -> Any:
    """Return a request."""
    request = FakeRequest(Steps(slow=False), **cast(Any, headers))
    request.raw_path, request.raw_query = b"/git/git.example/org/repo/info/refs", b"service=secret"
    return request


def test_what_is_done_for_a_request_is_part_of_its_span() -> None:
    """The handler sees the span, and nobody does who is not answering that request."""
    traced = Tracing(Noted())
    context = copy_context()
    assert context.run(traced.ask, asking()) == "answered"
    assert traced.seen == [traced.span]
    assert context.run(tracing.current) is UNTRACED and tracing.current() is UNTRACED


def test_a_tracer_is_told_no_secrets() -> None:
    """It gets the method, the path without its query, and of the headers those that belong to traces."""
    traced = Tracing(Noted())
    traced.ask(asking(traceparent="00-1-2-01", tracestate="a=b", Authorization="Basic abc"))
    path = "/git/git.example/org/repo/info/refs"
    assert traced.begun == [("GET", path, {"traceparent": "00-1-2-01", "tracestate": "a=b"})]


def test_of_two_parents_it_is_none() -> None:
    """A header that was sent twice is left out."""
    traced, request = Tracing(Noted()), asking(traceparent="00-1-2-01")
    request.requestHeaders.addRawHeader("traceparent", "00-3-4-01")
    traced.ask(request)
    assert traced.begun[0][2] == {}


@pytest.mark.parametrize(("status", "failed"), [(200, ""), (404, ""), (499, ""), (500, "500"), (503, "503")])
def test_a_span_ends_when_the_answer_has(status: int, failed: str) -> None:
    """Not before; it is told what the request turned out to be, and only what the server failed in has failed."""
    span, request = Noted(), asking()
    Tracing(span).ask(request)
    request.code = status
    request.outcome.route, request.outcome.source, request.outcome.id = "git info/refs", "mirror", "7"
    assert span.ends == []
    request.finish()
    facts = {
        "http.route": "git info/refs",
        "http.response.status_code": status,
        "cachew.source": "mirror",
        "cachew.request_id": "7",
    }
    assert span.ends == [(failed, facts)]


def test_an_answer_that_breaks_off_has_failed() -> None:
    """Whatever its status said; nothing is raised for it."""
    span, request = Noted(), asking()
    Tracing(span).ask(request)
    request._lost(Failure(CancelledError()))
    assert [failed for failed, _ in span.ends] == ["it broke off"]
    assert span.ends[0][1]["cachew.source"] == request.outcome.route


def test_a_request_that_is_not_traced_is_answered_all_the_same() -> None:
    """Where the tracer takes no part in it, nothing waits for its end."""
    traced, request = Tracing(UNTRACED), asking()
    assert traced.ask(request) == "answered" and traced.seen == [UNTRACED]
    request.finish()
