"""Health, metrics, the log, the config and the server as a whole, as plain HTTP and JSON."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from klein import Klein
from prometheus_client.exposition import choose_encoder
from twisted.logger import Logger

from cachew.config.inforce import Reloaded
from cachew.http.requests import StreamingRequest, allow_methods
from cachew.plumbing.errors import BadRequest, Busy
from cachew.plumbing.logs import EventLog
from cachew.plumbing.metrics import Metrics
from cachew.web.access.login import AdminAccess
from cachew.web.forms import header, query_field, said
from cachew.web.status import ServerStatus


class AdminRoutes:
    """Routes for machines that look after the server.

    :param access: who may use them.
    :param status: the server.
    :param metrics: what ``/metrics`` shows.
    :param event_log: what is shown below ``/admin/log``, and whose level is set there.
    :param reload: reads the config again and follows it.
    """

    log = Logger()

    def __init__(
        self,
        *,
        access: AdminAccess,
        status: ServerStatus,
        metrics: Metrics,
        event_log: EventLog,
        reload: Callable[[], Awaitable[Reloaded]],
    ) -> None:
        self._reload = reload
        self._access = access
        self._status = status
        self._metrics = metrics
        self._event_log = event_log

    def mount(self, app: Klein) -> None:
        """Register the routes."""
        app.route("/_liveness")(self.liveness)
        app.route("/_readiness")(self.readiness)
        app.route("/metrics")(self.metrics)
        app.route("/admin/log/level")(self.log_level)
        app.route("/admin/log")(self.log_tail)
        app.route("/admin/reload")(self.reload)
        app.route("/admin/overview")(self.overview)

    async def liveness(self, request: StreamingRequest) -> bytes:
        """Say that the process answers."""
        allow_methods(request, "GET")
        return _text(request, "OK")

    async def readiness(self, request: StreamingRequest) -> bytes:
        """Say whether to send traffic here, and what else there is to say.

        A cache tier that fails is no reason to send none: what replicas share fails for all of them at once, and each
        goes on serving from its mirrors and its other tiers.
        """
        allow_methods(request, "GET")
        if reason := self._status.unready():
            raise Busy(reason, retry_after=1)
        return _text(request, "\n".join(["OK", *self._status.troubles()]))

    async def metrics(self, request: StreamingRequest) -> bytes:
        """Show the metrics in Prometheus' or OpenMetrics' text form."""
        allow_methods(request, "GET")
        self._access.require(request)
        encode, content_type = choose_encoder(header(request, "Accept"))
        request.setHeader(b"Content-Type", content_type.encode())
        body: bytes = encode(self._metrics.registry)
        return body

    async def log_level(self, request: StreamingRequest) -> bytes:
        """Show the least level that is logged; PUT with a level as text, JSON or form changes it."""
        allow_methods(request, "GET", "PUT")
        self._access.require(request)
        if request.method == b"PUT":
            level = query_field(request, "level") or await said(request, "level")
            try:
                self._event_log.level = level.strip().lower()
            except ValueError as error:
                raise BadRequest(str(error)) from None
            self.log.warn("the log level is now {new_level}", new_level=self._event_log.level)
        return _text(request, self._event_log.level.upper())

    async def log_tail(self, request: StreamingRequest) -> bytes:
        """Show the last lines of the log; ``after`` is the number of the last one that is known."""
        allow_methods(request, "GET")
        self._access.require(request)
        after = query_field(request, "after")
        lines, last = self._event_log.after(
            int(after) if after.isascii() and after.isdigit() and len(after) < 20 else 0
        )
        return json_body(request, {"lines": list(lines), "last": last})

    async def reload(self, request: StreamingRequest) -> bytes:
        """Read the config again; 422 with all that is wrong with it when there is a mistake, and nothing changes."""
        allow_methods(request, "POST")
        self._access.require(request)
        found = await self._reload()
        if found.problems:
            request.setResponseCode(422)
        return json_body(request, asdict(found))

    async def overview(self, request: StreamingRequest) -> bytes:
        """Show the server as a whole."""
        allow_methods(request, "GET")
        self._access.require(request)
        return json_body(request, asdict(await self._status.overview()))


def json_body(request: StreamingRequest, value: object) -> bytes:
    """Return a value as a response's JSON body, which nobody keeps."""
    return encoded_body(request, json.dumps(value).encode())


def encoded_body(request: StreamingRequest, encoded: bytes) -> bytes:
    """Return what is JSON already as a response's body, which nobody keeps."""
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Cache-Control", b"no-store")
    return encoded + b"\n"


def _text(request: StreamingRequest, text: str) -> bytes:
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Cache-Control", b"no-store")
    return text.encode() + b"\n"
