"""Requests whose handling is traced, from before anything is known of them until they have ended."""

from collections.abc import Mapping
from contextvars import copy_context
from typing import Any, Protocol

from twisted.python.failure import Failure
from twisted.web.resource import Resource

from cachew.http.requests import StreamingRequest
from cachew.plumbing import tracing
from cachew.plumbing.tracing import UNTRACED, Span
from cachew.web.app import loggable_path

_HEADERS = ("traceparent", "tracestate")


class Tracer(Protocol):
    """Begins spans of requests."""

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Span:
        """Begin one, of a path without its query and of the headers of the request that belong to traces."""


class Traced(Resource):
    """Answers requests like another resource, each as a span that all that is done for it is part of.

    :param resource: the other.
    :param tracer: begins the spans.
    """

    isLeaf = True

    def __init__(self, resource: Resource, tracer: Tracer) -> None:
        super().__init__()
        self._resource = resource
        self._tracer = tracer

    def render(self, request: StreamingRequest) -> Any:
        """Answer a request."""
        return copy_context().run(self._render, request)

    def _render(self, request: StreamingRequest) -> Any:
        span = self._tracer.request(request.method.decode("latin-1"), loggable_path(request), _of_traces(request))
        if span is not UNTRACED:
            tracing.enter(span)
            request.notifyFinish().addBoth(_ended, request, span)
        return self._resource.render(request)


def _of_traces(request: StreamingRequest) -> Mapping[str, str]:
    found = {name: request.requestHeaders.getRawHeaders(name, []) for name in _HEADERS}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _ended(result: object, request: StreamingRequest, span: Span) -> None:
    outcome, gone = request.outcome, isinstance(result, Failure)
    span.end(
        failed="it broke off" if gone else str(request.code) if request.code >= 500 else "",
        facts={
            "http.route": outcome.route,
            "http.response.status_code": request.code,
            "cachew.source": outcome.source or outcome.route,
            "cachew.request_id": outcome.id,
        },
    )
