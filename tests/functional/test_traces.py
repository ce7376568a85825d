"""One trace from a client's request to git's processes, the upstream and the store, sent to a collector."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Site

from cachew.config.load import load
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.upstream import Upstream

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(Resource):
    """Takes traces by OTLP over HTTP."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []
        self.url = ""

    def render_POST(self, request: Any) -> bytes:
        """Keep the spans."""
        received = ExportTraceServiceRequest.FromString(request.content.read())
        self.spans += [span for one in received.resource_spans for scope in one.scope_spans for span in scope.spans]
        return b""


@pytest_twisted.async_yield_fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector that listens."""
    found = Collector()
    site = Site(found)
    site.noisy = False
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    found.url = f"http://127.0.0.1:{port.getHost().port}/v1/traces"
    yield found
    await port.stopListening()


def facts(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value or str(one.value.int_value) for one in span.attributes}


@pytest_twisted.ensureDeferred
async def test_a_fetch_is_one_trace(upstream: Upstream, git: Git, start: Start, collector: Collector) -> None:
    """What a client's request leads to is part of the trace that it has begun; the upstream goes on with it."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start(
        f'[tracing]\nendpoint = "{collector.url}"\n[pack-cache]\nenabled = false\n[git]\nref-check-interval = "0s"'
    )
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    shown = {"http.extraHeader": f"traceparent: 00-{TRACE}-{PARENT}-01"}
    await git.run("clone", "-q", "https://git.example/org/repo", "clone", config=shown)
    await (await cachew.admin("GET", "/_liveness")).content()
    await cachew.stop()
    ours = [span for span in collector.spans if span.trace_id.hex() == TRACE]
    requests = {span.span_id: span for span in ours if span.kind == Span.SPAN_KIND_SERVER}
    assert {span.parent_span_id.hex() for span in requests.values()} == {PARENT}
    assert {facts(span)["url.path"].rpartition("/")[2] for span in requests.values()} == {"refs", "git-upload-pack"}
    assert {facts(span)["http.response.status_code"] for span in requests.values()} == {"200"}
    parts = [span for span in ours if span.parent_span_id in requests]
    assert {"upstream request", "git-http-backend"} <= {span.name for span in parts}
    asked = [one.headers["traceparent"] for one in upstream.journal.of() if "traceparent" in one.headers]
    assert asked and {one.split("-")[1] for one in asked} == {TRACE}
    assert {one.split("-")[2] for one in asked} <= {span.span_id.hex() for span in parts}
    assert all(facts(span).get("url.path") != "/_liveness" for span in collector.spans)


def test_traces_are_off_by_default() -> None:
    """Without an endpoint nothing is traced, and OpenTelemetry is not even imported."""
    settings = load("", environ={}).tracing
    assert (settings.endpoint, settings.one_in) == (None, 1)
    assert "import opentelemetry" not in (Path(__file__).parents[2] / "cachew/plumbing/tracing.py").read_text()
