"""The app routes requests, tells failures and logs each request once."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, Logger, capturedLogs

from cachew.http.requests import allow_methods
from cachew.http.site import make_site
from cachew.plumbing.errors import Forbidden, MethodNotAllowed, UpstreamTimeout
from cachew.plumbing.metrics import Metrics
from cachew.web.app import App, route_path
from cachew.web.unrestricted import Unrestricted
from tests.fakes.clock import FakeClock
from tests.web.adminfront import Wire


class Things:
    """Routes to test with."""

    def __init__(self) -> None:
        self.waiting: Deferred[None] = Deferred()
        self.ended: list[str] = []

    def mount(self, app: Klein) -> None:
        app.route("/things/fine")(self.fine)
        app.route("/things/<name>")(self.fail)
        app.route("/things/half/way")(self.half)
        app.route("/things/wait/here")(self.wait)

    async def fine(self, request: Any) -> bytes:
        allow_methods(request, "GET")
        request.outcome.source = "memory"
        return b"fine"

    async def fail(self, request: Any, name: str) -> bytes:
        raise {"slow": UpstreamTimeout("https://h/", "late"), "bug": KeyError("secret")}[name]

    async def half(self, request: Any) -> None:
        request.setHeader(b"Content-Length", b"10")
        request.write(b"half")
        raise UpstreamTimeout("https://h/", "late")

    async def wait(self, request: Any) -> None:
        try:
            await self.waiting
        except CancelledError:
            self.ended.append("cancelled")
            raise


class OtherThings:
    """Routes with the same names as :class:`Things`."""

    def mount(self, app: Klein) -> None:
        app.route("/other")(self.fine)

    async def fine(self, request: Any) -> bytes:
        return b"other"


async def git(request: Any) -> bytes:
    request.outcome.route = "git refs"
    return b"git " + bytes(request.uri)


class Visitors(Unrestricted):
    """Are let in by what a test says.

    :param admit: does so.
    """

    def __init__(self, admit: Callable[[Any], object] = lambda request: None) -> None:
        self._admit = admit

    def admit(self, request: Any) -> None:
        self._admit(request)

    def client_of(self, request: Any) -> str:
        return "client"


class Front:
    """An app on a connection in memory."""

    def __init__(self, **arguments: Any) -> None:
        self.clock, self.metrics, self.things = FakeClock(), Metrics(), Things()
        self.events: list[dict[str, Any]] = []
        self.app = App(
            routes=[self.things, OtherThings()],
            git=git,
            metrics=self.metrics,
            clock=self.clock,
            version="1.2",
            admission=Visitors(**arguments),
        )
        self.app.log = Logger("cachew.web.app", observer=cast(ILogObserver, self.events.append))
        self.transport = Wire()

    def send(self, target: str | bytes, method: str | bytes = "GET") -> None:
        self.channel = cast(Any, make_site(self.app, reactor=self.clock).buildProtocol(None))
        self.channel.makeConnection(self.transport)
        line = [part.encode() if isinstance(part, str) else part for part in (method, target)]
        self.channel.dataReceived(b" ".join([*line, b"HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"]))

    def ask(self, target: str | bytes, method: str | bytes = "GET") -> tuple[int, dict[str, str], bytes]:
        self.send(target, method)
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        return int(first.split(" ")[1]), dict(line.split(": ", 1) for line in lines), body

    def hang_up(self) -> None:
        from twisted.internet.error import ConnectionLost
        from twisted.python.failure import Failure

        self.channel.connectionLost(Failure(ConnectionLost()))


def test_answers_with_its_name_and_safe_headers() -> None:
    """Every response names the server and forbids browsers to guess and to run what is in it."""
    status, headers, _ = Front().ask("/other")
    assert (status, headers["Server"]) == (200, "cachew/1.2")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in headers["Content-Security-Policy"]


def test_equally_named_handlers_of_two_classes_do_not_mix() -> None:
    """Two route classes may call their handlers the same."""
    assert Front().ask("/things/fine")[2] == b"fine"
    assert Front().ask("/other")[2] == b"other"


def test_tells_a_named_failure() -> None:
    """A failure is told as text with its status, and logged as a warning without traceback."""
    front = Front()
    status, headers, body = front.ask("/things/slow")
    assert (status, body) == (504, b"upstream https://h/: late\n")
    assert headers["Content-Length"] == str(len(body))
    assert [event["log_level"].name for event in front.events] == ["warn", "info"]


def test_an_unforeseen_failure_is_logged_and_not_shown() -> None:
    """An exception that nobody foresaw gives 500 with a short text, and its traceback to the log."""
    front = Front()
    status, _, body = front.ask("/things/bug")
    assert (status, body) == (500, b"internal error; the server's log has the details\n")
    assert front.events[0]["log_failure"].check(KeyError)


def test_a_failure_after_the_first_byte_breaks_the_connection() -> None:
    """A response that fails half way is cut off, never ended as if it were whole."""
    front = Front()
    front.ask("/things/half/way")
    assert front.transport.disconnecting
    assert front.transport.value().endswith(b"\r\n\r\nhalf")
    front.hang_up()
    assert front.events[-1]["status"] == "gone"


def test_a_client_that_leaves_cancels_its_request() -> None:
    """When the client goes away its coroutine is cancelled, and nothing is logged but the request."""
    front = Front()
    front.send("/things/wait/here")
    front.hang_up()
    assert front.things.ended == ["cancelled"]
    assert [event["status"] for event in front.events] == ["gone"]


def test_a_request_that_the_server_gives_up_is_told() -> None:
    """A request that is cancelled while its client is there gets 503."""
    front = Front()
    front.send("/things/wait/here")
    front.things.waiting.cancel()
    assert front.transport.value().startswith(b"HTTP/1.1 503 ")


def test_head_has_no_body_and_other_methods_are_refused() -> None:
    """HEAD is allowed wherever GET is; what is not allowed is told what would be."""
    status, _, body = Front().ask("/things/fine", "HEAD")
    assert (status, body) == (200, b"")
    status, headers, _ = Front().ask("/things/fine", "DELETE")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_logs_a_request_when_it_ends() -> None:
    """One event tells method, path, status, bytes, time, source and client; the query is left out."""
    front = Front()
    front.ask("/things/fine?token=secret")
    (event,) = front.events
    told = {name: event[name] for name in ("method", "path", "status", "bytes", "seconds", "source", "client")}
    assert told == {
        "method": "GET", "path": "/things/fine", "status": 200, "bytes": 4, "seconds": 0.0, "source": "memory",
        "client": "client",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "route", "status"),
    [("/things/fine", "things", "200"), ("/nothing", "other", "404"), ("/git/h/r", "git refs", "200")],
)
def test_counts_requests_by_route_and_status(target: str, route: str, status: str) -> None:
    """The metrics count each request under a route of a fixed vocabulary."""
    front = Front()
    front.ask(target)
    assert front.metrics.registry.get_sample_value("cachew_requests_total", {"route": route, "status": status}) == 1
    assert front.metrics.registry.get_sample_value("cachew_request_seconds_count", {"route": route}) == 1


@pytest.mark.parametrize("route", ["things", "other", "git info/refs", "git git-upload-archive", "git lfs", "git file"])
def test_routes_are_there_before_anybody_asks_for_them(route: str) -> None:
    """A rate sees the first request, too, whatever it is for."""
    registry = Front().metrics.registry
    assert registry.get_sample_value("cachew_requests_total", {"route": route, "status": "200"}) == 0
    assert registry.get_sample_value("cachew_request_seconds_count", {"route": route}) == 0


def test_metrics_count_bytes_by_their_origin_and_failures_by_their_kind() -> None:
    """What leaves is counted under where it came from, what goes wrong under what it is."""
    fine, slow = Front(), Front()
    fine.ask("/things/fine")
    origin = {"source": "memory"}
    assert fine.metrics.registry.get_sample_value("cachew_response_bytes_total", origin) == len(b"fine")
    slow.ask("/things/slow")
    assert slow.metrics.registry.get_sample_value("cachew_failures_total", {"kind": "UpstreamTimeout"}) == 1


@pytest.mark.parametrize("path", ["/git/h/r/info/refs?a=b", "/git/", "/git/h/a%2Fb", "/git/h/%7F"])
def test_whatever_is_below_git_reaches_its_handler_as_it_came(path: str) -> None:
    """The git handler sees the raw target."""
    assert f"git {path}".encode() in Front().ask(path)[2]


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/git/%ff/x", 400),
        ("/git/h/%00", 400),
        (b"/git/\xff\xfe", 400),
        ("/%67it/h/r", 404),
        ("//git/h/r", 404),
        ("/git//r", 404),
        ("/things//fine", 404),
        ("//things/fine", 404),
        ("/./things/fine", 404),
        ("/", 404),
        ("/git", 404),
        ("/things/fine/", 404),
        ("/%E2%82", 400),
    ],
)
def test_odd_paths_are_refused_and_never_redirected(target: str | bytes, status: int) -> None:
    """A path that is not exactly a route is refused with a text, and nothing is logged as a failure."""
    front = Front()
    assert front.ask(target)[0] == status
    assert not [event for event in front.events if "log_failure" in event]


def test_an_odd_method_is_refused() -> None:
    """A method that is no ASCII text is a bad request."""
    assert Front().ask("/other", b"G\xffT")[0] == 400


def test_admits_before_any_route() -> None:
    """What the guard raises is the answer, and it sees the path as routes see it."""
    seen = []

    def admit(request: Any) -> None:
        seen.append(route_path(request))
        raise Forbidden("not you")

    status, _, body = Front(admit=admit).ask("/%74hings/fine")
    assert (status, body, seen) == (403, b"not you\n", ["/things/fine"])


@pytest.mark.parametrize("target", ["/git/bob:TOKEN@host/org/repo?token=TOKEN", b"/other?\xc3\xa9", "//other"])
def test_a_refused_head_says_as_much_as_get_and_logs_no_target(target: str | bytes) -> None:
    """HEAD that is refused before any route announces what GET has, and only its own line is logged."""

    def admit(request: Any) -> None:
        raise Forbidden("not you")

    with capturedLogs() as logged:
        answers = {method: Front(admit=admit).ask(target, method) for method in ("GET", "HEAD")}
    assert [answers["HEAD"][0], answers["HEAD"][2]] == [answers["GET"][0], b""]
    assert answers["HEAD"][1]["Content-Length"] == str(len(answers["GET"][2]))
    assert logged == []


def test_allow_methods_names_head_with_get() -> None:
    """The allowed methods of a GET route include HEAD."""
    refuse: Callable[..., None] = allow_methods
    request = type("Request", (), {"method": b"PUT"})()
    with pytest.raises(MethodNotAllowed) as caught:
        refuse(request, "GET", "POST")
    assert caught.value.allowed == ("GET", "POST", "HEAD")


@pytest.mark.parametrize(
    ("path", "logged"),
    [
        ("/git/bob:TOKEN@host/org/repo/info/refs", "/git/***@host/org/repo/info/refs"),
        ("/git/TOKEN@host/org/repo", "/git/***@host/org/repo"),
        ("/git/bob%3aTOKEN%40host/org/repo", "/git/***%40host/org/repo"),
        ("/%67it/bob:TOKEN@host/x", "/%67it/***@host/x"),
        ("/git/https://TOKEN@host/org/repo", "/git/https://***@host/org/repo"),
        ("/git/https:/bob:TOKEN@host/org/repo", "/git/https:/***@host/org/repo"),
        ("/git/a:TOKEN@b:TOKEN@host/x", "/git/***@host/x"),
        ("/other/x:TOKEN@host", "/other/***@host"),
        ("/git/host/org/repo@v1/x", "/git/host/org/repo@v1/x"),
        ("/api/v1/object/space/a@b", "/api/v1/object/space/a@b"),
    ],
)
def test_a_token_in_a_path_is_not_logged(path: str, logged: str) -> None:
    """User and token before a host's name, which `insteadOf = http://` makes of a URL, never reach the log."""
    front = Front()
    front.ask(path)
    events = [event for event in front.events if "path" in event]
    assert events and all(event["path"] == logged for event in events)
    assert not any(
        "TOKEN" in str(value) for event in front.events for value in event.values() if isinstance(value, str)
    )
