"""The root of everything that is served: mounts the routes, tells failures to clients, logs every request once.

Route classes offer ``mount(app)`` and register their paths with ``app.route``. Their coroutines raise the exceptions
of :mod:`cachew.plumbing.errors`; no handler sets an error status itself.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from secrets import token_hex
from typing import Any, Protocol, cast

from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from werkzeug.routing import PathConverter

from cachew.http.requests import StreamingRequest
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import BadRequest, NotFound
from cachew.plumbing.logs import REQUEST_ID, begin_request, chosen_id
from cachew.plumbing.metrics import Metrics
from cachew.web.failures import FailureResponse, answer_to, write_head
from cachew.web.unrestricted import Unrestricted

Handler = Callable[..., Awaitable[object] | object]

_LOGGED_PATH = 500
_USER = re.compile(
    # At the place of the host, or after a scheme, or with a password: whatever comes before the last "@".
    r"((?:^/+(?:git|%67it|g%69t|gi%74)/+|(?:https?|ssh|git)(?::|%3a)/+|/(?=[^/]*(?::|%3a)[^/]*(?:@|%40))))[^/]*(@|%40)",
    re.IGNORECASE,
)
_HEALTH = frozenset({"_liveness", "_readiness"})
_GIT = (
    "info/refs", "git-upload-pack", "git-receive-pack", "git-upload-archive", "snapshot.tar.zst", "snapshot.bundle",
    "lfs-snapshot.tar.zst", "bundle-list", "ensure-refs", "lfs", "file",
)  # fmt: skip
"""What is asked for below ``/git/``."""
_PROBES = _HEALTH | {"metrics"}
OBJECTS = "/api/v1/object/"
"""Below it a path ends in a key, which may be any text; no other path has control characters that split lines."""
_DEFAULT_HEADERS = (
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    # What an upstream's error page or a stored object says must not run on this origin.
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'; sandbox"),
)


class Routes(Protocol):
    """A group of routes."""

    def mount(self, app: Klein) -> None:
        """Register the routes with ``app.route(path)(coroutine_function)``."""


@dataclass(frozen=True)
class OwnAddress:
    """Where clients find this server.

    :param url: without a slash at its end; empty for where each request says.
    :param hsts: seconds for which browsers shall come back over HTTPS only; 0 tells them nothing.
    """

    url: str = ""
    hsts: int = 0


class _AnyText(PathConverter):
    """The rest of a path, whatever characters are in it."""

    regex = r"[^/][\s\S]*?"


class _Router(Klein):
    """Klein, strict about slashes and safe for equally named handlers of different classes."""

    def __init__(self) -> None:
        super().__init__()
        self.url_map.merge_slashes = False
        self.url_map.converters["path"] = _AnyText

    def route(self, url: str, *args: Any, branch: bool = False, **kwargs: Any) -> Any:
        kwargs.setdefault("endpoint", f"{len(self.endpoints)} {url}")
        return super().route(url, *args, branch=branch, **kwargs)

    def execute_endpoint(self, endpoint: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        answering = maybeDeferred(super().execute_endpoint, endpoint, request, *args, **kwargs)
        return answering.addCallback(_announced, request)


class App(Resource):
    """The root resource.

    :param routes: what is mounted.
    :param git: answers whatever lies below ``/git/``; it reads ``request.raw_path`` itself.
    :param metrics: where requests are counted.
    :param clock: for how long requests take.
    :param version: shown in the ``Server`` header.
    :param admission: who is let in to any route.
    :param address: where clients find this server.
    """

    isLeaf = True
    log = Logger()

    def __init__(
        self,
        *,
        routes: Iterable[Routes],
        git: Handler,
        metrics: Metrics,
        clock: Clock,
        version: str,
        admission: Unrestricted | None = None,
        address: OwnAddress | None = None,
    ) -> None:
        super().__init__()
        self._metrics = metrics
        self._clock = clock
        self._admission = admission or Unrestricted()
        self._address = address or OwnAddress()
        self._server = f"cachew/{version}".encode()
        klein = _Router()
        klein.route("/git/", branch=True)(git)
        for group in routes:
            group.mount(klein)
        klein.handle_errors(Exception)(cast("Any", self._failed))
        self._klein = klein.resource()
        self.paths = frozenset(rule.rule for rule in klein.url_map.iter_rules())
        """The paths of all routes, as Klein has them."""
        self._known = frozenset(path.split("/")[1] for path in self.paths)
        metrics.begin_routes([*(name or "root" for name in self._known), "other", *(f"git {kind}" for kind in _GIT)])

    def render(self, request: StreamingRequest) -> Any:
        """Answer a request, under an id that all that is done for it has."""
        return copy_context().run(self._render, request)

    def _render(self, request: StreamingRequest) -> Any:
        self._begin(request)
        try:
            _check_target(request)
            self._admission.admit(request)
        except Exception as error:
            _send(request, self._refuse(request, error))
            return NOT_DONE_YET
        if not self._admission.decides or request.outcome.route in _HEALTH:
            return self._klein.render(request)
        deciding = Deferred.fromCoroutine(self._render_decided(request))
        request.notifyFinish().addErrback(lambda gone: deciding.cancel())
        deciding.addErrback(lambda failure: failure.trap(CancelledError) and None)
        return NOT_DONE_YET

    async def _render_decided(self, request: StreamingRequest) -> None:
        try:
            await self._admission.decide(request)
        except CancelledError:
            raise
        except Exception as error:
            answer: Any = self._refuse(request, error)
        else:
            answer = self._klein.render(request)
        if answer is not NOT_DONE_YET:
            _send(request, answer)

    def _begin(self, request: StreamingRequest) -> None:
        identifier = chosen_id(_shown_id(request), lambda: token_hex(8))
        begin_request(identifier)
        request.outcome.id = identifier
        request.own_url = self._address.url
        request.setHeader(REQUEST_ID.encode(), identifier.encode())
        request.setHeader(b"Server", self._server)
        for name, value in _DEFAULT_HEADERS:
            request.setHeader(name, value)
        if self._address.hsts and self._admission.is_https(request):
            request.setHeader(b"Strict-Transport-Security", b"max-age=%d" % self._address.hsts)
        first = request.postpath[0].decode("latin-1") if request.postpath else ""
        if first in self._known:
            request.outcome.route = first or "root"
        began = self._clock.seconds()
        context = copy_context()
        request.notifyFinish().addBoth(lambda result: context.run(self._ended, result, request, began))

    def _ended(self, result: object, request: StreamingRequest, began: float) -> None:
        outcome = request.outcome
        complete = not isinstance(result, Failure) or request.has_left
        status = str(request.code) if complete else "gone"
        seconds = self._clock.seconds() - began
        self._metrics.requests.labels(outcome.route, status).inc()
        self._metrics.answers += 1
        self._metrics.request_seconds.labels(outcome.route).observe(seconds)
        self._metrics.response_bytes.labels(outcome.source or outcome.route).inc(request.sentLength)
        # Probes come every second from everywhere; only a debugger wants to see them.
        log = self.log.debug if outcome.route in _PROBES else self.log.info
        log(
            "{method} {path}{shown_shape} {status} {bytes} bytes in {seconds:.3f}s from {source} for {client}",
            method=request.method.decode("latin-1"),
            path=loggable_path(request),
            status=request.code if complete else status,
            bytes=request.sentLength,
            seconds=seconds,
            source=outcome.source or outcome.route,
            client=self._admission.client_of(request),
            shape=outcome.shape,
            shown_shape=f" ({outcome.shape})" if outcome.shape else "",
        )

    async def _failed(self, request: StreamingRequest, failure: Failure) -> bytes | None:
        # What failed may have been begun for others.
        begin_request(request.outcome.id)
        answer = answer_to(cast(BaseException, failure.value))
        self._note(request, answer, failure)
        if not request.startedWriting:
            return write_head(request, answer)
        # Too late for a status: only a broken connection tells the client that what it has is not whole.
        gone = request.notifyFinish()
        request.abort()
        with suppress(Exception):
            await gone
        return None

    def _refuse(self, request: StreamingRequest, error: Exception) -> bytes:
        answer = answer_to(error)
        self._note(request, answer, Failure(error))
        return write_head(request, answer)

    def _note(self, request: StreamingRequest, answer: FailureResponse, failure: Failure) -> None:
        if answer.status >= 500 or request.startedWriting:
            self._metrics.failures.labels(type(failure.value).__name__).inc()
        if answer.unexpected:
            self.log.failure("{path} failed", failure=failure, path=loggable_path(request))
        elif request.outcome.route in _HEALTH:
            # A probe that is told to wait is no news, however often it asks.
            return
        elif answer.status >= 500 or request.startedWriting:
            self.log.warn("{path}: {error}", path=loggable_path(request), error=str(failure.value))


def _send(request: StreamingRequest, body: bytes) -> None:
    """Send an answer that is all there; twisted.web would log the whole target of a HEAD request that has one."""
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


def loggable_path(request: StreamingRequest) -> str:
    """Return a request's path for the log: without what may be secret, and of bounded length.

    That is its query, and user and token before a host's name, which ``insteadOf = http://`` puts into paths.
    """
    path: str = _USER.sub(r"\1***\2", request.raw_path.decode("ascii", "backslashreplace"))
    return path if len(path) <= _LOGGED_PATH else path[:_LOGGED_PATH] + "…"


def route_path(request: StreamingRequest) -> str:
    """Return the path as routes are matched against it: each segment percent-decoded once.

    Rules about paths must look at this and not at the raw path, lest ``/%61dmin/`` pass where ``/admin/`` does not.
    """
    return "/" + "/".join(segment.decode("utf-8", "replace") for segment in (*request.prepath, *request.postpath))


def _check_target(request: StreamingRequest) -> None:
    """Refuse what no route takes.

    :raise BadRequest: when the method or the path is not text, or not text of one line.
    """
    try:
        request.method.decode("ascii")
        path = b"/".join((*request.prepath, *request.postpath)).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None
    if ("\x00" in path or "\n" in path) and not request.raw_path.startswith(OBJECTS.encode()):
        raise BadRequest("a NUL or a line break in the path")
    if len(request.postpath) > 1 and not request.postpath[0]:
        # Klein would take "//admin/" for "/admin/".
        raise NotFound("not found")
    if request.postpath[:1] == [b"git"] and not request.raw_path.startswith(b"/git/"):
        raise NotFound("not found")


def _shown_id(request: StreamingRequest) -> str:
    values = request.requestHeaders.getRawHeaders(REQUEST_ID.encode(), [])
    return str(values[0].decode("latin-1")) if len(values) == 1 else ""


def _announced(answer: object, request: StreamingRequest) -> object:
    """Announce the length of an answer that is all there, so that it isn't sent in chunks."""
    whole = b"" if answer is None else answer
    if isinstance(whole, bytes) and not request.startedWriting and request.code not in NO_BODY_CODES:
        request.setHeader(b"Content-Length", str(len(whole)).encode())
    return answer
