"""A policy server's decision is needed where one is configured, and no decision is a no."""

import json
from ipaddress import ip_address
from types import SimpleNamespace
from typing import Any

import pytest
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from cachew.config.rules import Asked
from cachew.http.site import make_site
from cachew.plumbing.errors import Busy, CachewError, Forbidden
from cachew.plumbing.metrics import Metrics
from cachew.web.access.opa import ExternalDecision
from cachew.web.app import App
from cachew.web.unrestricted import Unrestricted
from tests.fakes.clock import FakeClock
from tests.fakes.settled import failure_of
from tests.web.adminfront import Wire

ASKED = Asked(ip_address("10.1.2.3"), "GET", "/git/h/r/info/refs", {"x-team": "a", "authorization": "s", "cookie": "s"})


class Agent:
    """Answers what it is told to, or waits."""

    def __init__(self, code: int = 200, body: bytes | None = b"", *, fails: bool = False) -> None:
        self.code, self.body, self.fails = code, body, fails
        self.asked: list[Any] = []

    def post(self, url: str, *, data: bytes, headers: dict[str, str]) -> Deferred[Any]:
        self.asked.append(json.loads(data)["input"])
        if self.fails:
            raise ConnectionError("refused")
        if self.body is None:
            return Deferred()
        return succeed(SimpleNamespace(code=self.code, content=lambda: succeed(self.body)))


def decide(agent: Agent) -> CachewError | None:
    """Return what a request is refused with, None when it is let through."""
    clock = FakeClock()
    opa = ExternalDecision(url="http://opa/v1/data/allow", http=agent, reactor=clock, timeout=1)
    outcome: list[Any] = []
    deferred = Deferred.fromCoroutine(opa.require(ASKED, "10.0.0.7:4711"))
    deferred.addBoth(lambda result: outcome.append(result and result.value))
    clock.advance(1.1)
    answer: CachewError | None = outcome[0]
    return answer


@pytest.mark.parametrize("body", [b'{"result": true}', b'{"result": {"allow": true, "why": "x"}}'])
def test_yes(body: bytes) -> None:
    """A plain yes lets the request through."""
    assert decide(Agent(body=body)) is None


@pytest.mark.parametrize("body", [b'{"result": false}', b"{}", b'{"result": "true"}', b'{"result": {"allow": 1}}'])
def test_no(body: bytes) -> None:
    """Anything that is not a plain yes, an undefined decision among it, refuses the request."""
    assert isinstance(decide(Agent(body=body)), Forbidden)


@pytest.mark.parametrize(
    "agent", [Agent(500, b"{}"), Agent(body=b"<html>"), Agent(body=b"[]"), Agent(body=None), Agent(fails=True)]
)
def test_no_decision_is_no(agent: Agent) -> None:
    """An agent that fails, talks nonsense or takes too long lets nobody in."""
    assert isinstance(decide(agent), Busy)


def test_a_client_that_leaves_is_no_failure_of_the_agent() -> None:
    """Nothing is logged of it, or whoever likes could fill the log."""
    clock = FakeClock()
    opa = ExternalDecision(url="http://opa/v1/data/allow", http=Agent(body=None), reactor=clock, timeout=1)
    deciding = Deferred.fromCoroutine(opa.require(ASKED, "10.0.0.7:4711"))
    deciding.cancel()
    assert isinstance(failure_of(deciding), CancelledError) and not clock.getDelayedCalls()


def test_credentials_are_not_told() -> None:
    """The agent learns who asks for what, in the original's words, and no credential."""
    agent = Agent(body=b'{"result": true}')
    decide(agent)
    assert agent.asked == [
        {
            "method": "GET",
            "path": ["git", "h", "r", "info", "refs"],
            "headers": {"x-team": "a"},
            "remote_addr": "10.0.0.7:4711",
            "address": "10.1.2.3",
        }
    ]


class Front(Unrestricted):
    """An app whose requests wait for a decision."""

    decides = True

    def __init__(self) -> None:
        self.waiting: list[Deferred[None]] = []
        self.served: list[str] = []
        clock = FakeClock()
        app = App(routes=[self], git=self.serve, metrics=Metrics(), clock=clock, version="0", admission=self)
        self.site = make_site(app, reactor=clock)

    def mount(self, app: Klein) -> None:
        app.route("/_liveness")(self.serve)

    async def serve(self, request: Any) -> bytes:
        self.served.append(request.raw_path.decode())
        return b"content"

    async def decide(self, request: Any) -> None:
        self.waiting.append(Deferred())
        await self.waiting[-1]

    def ask(self, path: str, method: str = "GET") -> tuple[Wire, Any]:
        wire = Wire()
        channel: Any = self.site.buildProtocol(None)
        channel.makeConnection(wire)
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        return wire, channel


def test_nothing_is_done_before_the_decision() -> None:
    """A request is handled when it is allowed and not before; a refused one never is."""
    front = Front()
    wire, _ = front.ask("/git/a")
    assert not front.served and not wire.value()
    front.waiting.pop().callback(None)
    assert front.served == ["/git/a"] and wire.value().endswith(b"\r\n\r\ncontent")
    wire, _ = front.ask("/git/b")
    front.waiting.pop().errback(Forbidden("no"))
    assert front.served == ["/git/a"] and wire.value().startswith(b"HTTP/1.1 403 ")


def test_health_needs_no_decision() -> None:
    """Probes are answered though the agent is down."""
    front = Front()
    wire, _ = front.ask("/_liveness")
    assert wire.value().startswith(b"HTTP/1.1 200 ") and not front.waiting


def test_a_client_that_leaves_ends_the_question() -> None:
    """When nobody waits for the decision any more, it is given up."""
    front = Front()
    _, channel = front.ask("/git/a")
    channel.connectionLost(Failure(ConnectionDone()))
    assert front.waiting[0].called and not front.served
