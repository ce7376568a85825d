"""An upstream in memory, scripted request by request."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from treq.testing import RequestTraversalAgent
from twisted.web.client import HTTPConnectionPool
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cachew.plumbing.metrics import Metrics
from cachew.plumbing.pktline import FLUSH, Packet, encode_all
from cachew.upstream.agent import Agents, NamedAgent
from cachew.upstream.backoff import Backoff
from cachew.upstream.client import UpstreamBounds, UpstreamClient
from cachew.upstream.hosts import Hosts
from cachew.upstream.redirects import Redirects
from cachew.upstream.spellings import Spellings
from tests.fakes.clock import FakeClock
from tests.fakes.spellings import spelled_as_asked

ADVERTISEMENT = "application/x-git-upload-pack-advertisement"
RESULT = "application/x-git-upload-pack-result"


@dataclass
class Seen:
    """A request as the upstream saw it."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Upstream:
    """Answers requests from a script and remembers them.

    :param script: answers in order: status, headers and body, or None for silence.
    """

    script: list[tuple[int, dict[str, str], bytes] | None] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    silent: list[Any] = field(default_factory=list)

    def git(self, *packets: Packet, kind: str = ADVERTISEMENT, **headers: str) -> None:
        """Answer with packets and a flush."""
        self.say(200, encode_all([*packets, FLUSH]), **{"Content-Type": kind, **headers})

    def v2(self, *features: bytes) -> None:
        """Answer with a v2 advertisement."""
        self.git(b"version 2\n", b"agent=git/2\n", b"ls-refs=unborn\n", b"object-format=sha1\n", *features)

    def refs(self, *lines: str) -> None:
        """Answer with an ls-refs response."""
        self.git(*(line.encode() + b"\n" for line in lines), kind=RESULT)

    def say(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Answer anything; underscores in header names stand for dashes."""
        self.script.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    def answer(self, request: Any) -> Any:
        """Play the next answer."""
        headers = {
            name.decode().lower(): values[0].decode() for name, values in request.requestHeaders.getAllRawHeaders()
        }
        url = f"{headers['host']}{request.uri.decode()}"
        self.seen.append(Seen(request.method.decode(), url, headers, request.content.read()))
        answer = self.script.pop(0)
        if answer is None:
            self.silent.append(request)
            return NOT_DONE_YET
        status, extra, body = answer
        request.setResponseCode(status)
        for name, value in extra.items():
            request.setHeader(name, value)
        return body


class _Root(Resource):
    isLeaf = True

    def __init__(self, answer: Callable[[Any], Any]) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: Any) -> Any:
        return self._answer(request)


@pytest.fixture
def upstream() -> Upstream:
    """Return the upstream."""
    return Upstream()


@pytest.fixture
def clock() -> FakeClock:
    """Return the clock of the client under test."""
    return FakeClock()


@pytest.fixture
def hosts() -> Hosts:
    """Return the admitted hosts."""
    return Hosts(upstreams={"git.example": None, "other.example": None, "plain.example": "http://plain.example/"})


@pytest.fixture
def spellings(clock: FakeClock) -> Spellings:
    """Return what is known of spellings: that git.example and the others want none with ``.git``."""
    return spelled_as_asked(clock)


@pytest.fixture
def client(upstream: Upstream, clock: FakeClock, hosts: Hosts, spellings: Spellings) -> UpstreamClient:
    """Return a client that reaches the upstream in memory."""
    agent = NamedAgent(RequestTraversalAgent(_Root(upstream.answer)), "git/2.39.5 cachew/1.0")
    return UpstreamClient(
        reactor=clock,
        agents=Agents(agent, agent, HTTPConnectionPool(clock)),
        redirects=Redirects(hosts),
        spellings=spellings,
        backoff=Backoff(clock=clock, random=lambda: 0.0),
        metrics=Metrics(),
        bounds=UpstreamBounds(check=10, first_byte=20, idle=30, listing=10_000),
    )
