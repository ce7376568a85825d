"""Traces, with what OpenTelemetry keeps in memory for tests."""

import threading
from typing import Any, cast

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from twisted.web.resource import Resource

from cachew.plumbing.tracing import UNTRACED
from cachew.server.telemetry import Telemetry
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import result_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collected:
    """Traces of requests, and what is sent of them."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.telemetry = Telemetry(provider, cast(Any, InlineThreads()))

    def spans(self) -> list[Any]:
        """Return what was sent."""
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def collected() -> Collected:
    return Collected()


def parent_of(span: Any) -> str | None:
    return None if span.parent is None else f"{span.context.trace_id:032x} {span.parent.span_id:016x}"


@pytest.mark.parametrize(
    ("shown", "parent"),
    [
        (f"00-{TRACE}-{PARENT}-01", f"{TRACE} {PARENT}"),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        ("00-" + "x" * 100_000, None),
        ("", None),
    ],
)
def test_a_trace_that_a_client_has_begun_goes_on_if_it_is_one(
    collected: Collected, shown: str, parent: str | None
) -> None:
    """Whatever else a stranger sends in its place has the request be one of its own, and fails nothing."""
    headers = {"traceparent": shown, "tracestate": "a=b,,=\x01" * 50}
    span = collected.telemetry.request("GET", "/git/git.example/org/repo", headers)
    part = span.begin("git", leaves=False, facts={"id": 1})
    assert part.headers()["traceparent"].split("-")[1] == span.headers()["traceparent"].split("-")[1]
    part.end(failed="ProcessFailed")
    span.end(facts={"http.response.status_code": 502})
    inner, outer = collected.spans()
    assert parent_of(outer) == parent and inner.parent.span_id == outer.context.span_id
    assert not inner.status.is_ok and outer.status.is_unset


def test_what_is_asked_for_every_second_is_traced_by_nobody(collected: Collected) -> None:
    """Neither is anything where no traces are asked for, which costs no request a hop."""
    assert collected.telemetry.request("GET", "/_liveness", {}) is UNTRACED
    off, resource = Telemetry(None, cast(Any, InlineThreads())), Resource()
    assert off.request("GET", "/", {}) is UNTRACED and off.root(resource) is resource
    result_of(off.close())


class HungProvider:
    """Sends to a collector that takes the connection and does not answer, until it is given up."""

    def __init__(self) -> None:
        self.given_up = threading.Event()
        self.ended = False

    def get_tracer(self, name: str) -> object:
        return object()

    def shutdown(self) -> None:
        """Send what waits."""
        assert self.given_up.wait(20)
        self.ended = True


def test_a_collector_that_hangs_does_not_keep_the_server_from_closing() -> None:
    """What it did not take in the time of one request is dropped: the other parts have to be closed in time, too."""
    provider = HungProvider()
    threads = cast(Any, InlineThreads())
    result_of(Telemetry(provider, threads, give_up=provider.given_up.set, patience=0.01).close())
    assert provider.ended


def test_a_collector_that_takes_everything_is_not_given_up() -> None:
    """Nothing is left behind of the patience with one that hangs."""
    provider = HungProvider()
    provider.given_up.set()
    given_up: list[None] = []
    before = threading.active_count()
    threads = cast(Any, InlineThreads())
    result_of(Telemetry(provider, threads, give_up=lambda: given_up.append(None), patience=60).close())
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(20)
    assert threading.active_count() == before and not given_up
