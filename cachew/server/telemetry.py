"""Traces of requests, sent by OpenTelemetry to a collector (OTLP over HTTP); the extra ``otel`` brings what that needs.

Spans wait in memory and are sent by a thread of OpenTelemetry's own; a collector that is away costs spans and nothing
else. Clients go on with a trace that they have begun by ``traceparent``.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from twisted.logger import Logger
from twisted.web.resource import Resource

from cachew.config.settings import TracingSettings
from cachew.plumbing.errors import CachewError
from cachew.plumbing.threads import Threads
from cachew.plumbing.tracing import UNTRACED, Fact, Span
from cachew.web.traced import Traced

_SEND_TIMEOUT = 3.0
_UNTRACED_PATHS = ("/_liveness", "/_readiness", "/metrics")


class ExtraMissing(CachewError):
    """What the config asks for is not installed."""


class _ToLog(logging.Handler):
    """Tells in the server's log what OpenTelemetry's complains of, once for each kind of complaint in a row."""

    log = Logger()
    _last = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Take a complaint."""
        if record.msg != self._last:
            self._last = str(record.msg)
            self.log.warn("traces: {reason}", reason=record.getMessage()[:300])


class TracedSpan:
    """A span of OpenTelemetry's.

    :param tracer: begins those that are part of it.
    :param span: the span.
    """

    def __init__(self, tracer: Any, span: Any) -> None:
        self._tracer, self._span = tracer, span

    def begin(self, name: str, *, leaves: bool, facts: Mapping[str, Fact]) -> Span:
        """Begin a part of it."""
        from opentelemetry.trace import SpanKind

        kind = SpanKind.CLIENT if leaves else SpanKind.INTERNAL
        return TracedSpan(
            self._tracer,
            self._tracer.start_span(name, context=self._context(), kind=kind, attributes=dict(facts)),
        )

    def headers(self) -> Mapping[str, str]:
        """Return ``traceparent``, and ``tracestate`` when there is one."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, context=self._context())
        return carrier

    def end(self, *, failed: str = "", facts: Mapping[str, Fact] | None = None) -> None:
        """End it."""
        from opentelemetry.trace import StatusCode

        self._span.set_attributes(dict(facts or {}))
        if failed:
            self._span.set_status(StatusCode.ERROR, failed)
        self._span.end()

    def _context(self) -> Any:
        from opentelemetry.context import Context
        from opentelemetry.trace import set_span_in_context

        return set_span_in_context(self._span, Context())


class Telemetry:
    """Begins the spans of requests.

    :param provider: OpenTelemetry's, None where nothing is traced.
    :param threads: where what waits is sent at the end.
    :param give_up: has what can't be sent by then be dropped.
    :param patience: seconds in which it may be sent.
    """

    def __init__(
        self,
        provider: Any,
        threads: Threads,
        *,
        give_up: Callable[[], object] = lambda: None,
        patience: float = _SEND_TIMEOUT,
    ) -> None:
        self._provider = provider
        self._threads = threads
        self._give_up = give_up
        self._patience = patience
        self._tracer = None if provider is None else provider.get_tracer("cachew")

    def request(self, method: str, path: str, headers: Mapping[str, str]) -> Span:
        """Begin the span of a client's request.

        :param path: as it may be logged.
        :param headers: ``traceparent`` and ``tracestate`` of the request, as far as it has them.
        """
        if self._tracer is None or path in _UNTRACED_PATHS:
            return UNTRACED
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract(headers, context=Context())
        facts = {"http.request.method": method, "url.path": path}
        return TracedSpan(
            self._tracer, self._tracer.start_span(method, context=context, kind=SpanKind.SERVER, attributes=facts)
        )

    def root(self, resource: Resource) -> Resource:
        """Return what answers like a resource and has its requests traced."""
        return resource if self._tracer is None else Traced(resource, self)

    async def close(self) -> None:
        """Send what waits; the rest of the server has to be closed too, however long a collector hangs."""
        if self._provider is not None:
            await self._threads(self._send_last)

    def _send_last(self) -> None:
        late = threading.Timer(self._patience, self._give_up)
        late.daemon = True
        late.start()
        try:
            self._provider.shutdown()
        finally:
            late.cancel()


def make_telemetry(settings: TracingSettings, *, version: str, threads: Threads) -> Telemetry:
    """Make what traces requests.

    :raise ExtraMissing: when the config asks for traces and OpenTelemetry is not installed.
    """
    if settings.endpoint is None:
        return Telemetry(None, threads)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError:
        raise ExtraMissing("tracing.endpoint needs OpenTelemetry: pip install 'cachewd[otel]'") from None
    complaints = logging.getLogger("opentelemetry")
    complaints.propagate = False
    complaints.handlers = [_ToLog()]
    provider = TracerProvider(
        resource=Resource.create({"service.name": settings.service_name, "service.version": version}),
        sampler=ParentBased(TraceIdRatioBased(1 / settings.one_in)),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=settings.endpoint, timeout=_SEND_TIMEOUT)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Telemetry(provider, threads, give_up=exporter.shutdown)
