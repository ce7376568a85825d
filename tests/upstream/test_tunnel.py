"""Tunnels through a proxy, over a transport in memory."""

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from cachew.upstream.proxies import Proxy
from cachew.upstream.tunnel import ProxyRefused, TunnelEndpoint
from tests.fakes.settled import failure_of, value_of


class Inner(Protocol):
    """What is spoken within."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.append(reason)


class Way:
    """The way to a proxy, and what comes over it."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.protocol: Any = None
        self.made: Deferred[Any] = Deferred()

    def connect(self, factory: Any) -> Deferred[Any]:
        self.protocol = factory.buildProtocol(None)
        return self.made

    def open(self) -> None:
        self.protocol.makeConnection(self.transport)
        self.made.callback(self.protocol)


def connecting(way: Any, known: str | None = None, host: str = "git.example") -> Deferred[Any]:
    async def credentials() -> str | None:
        return known

    proxy = Proxy("http://proxy.example:3128", credentials)
    endpoint = TunnelEndpoint(proxy=proxy, way=way, host=host, port=443)
    return endpoint.connect(Factory.forProtocol(Inner))


@pytest.mark.parametrize(
    ("known", "host", "asked"),
    [
        (None, "git.example", b"CONNECT git.example:443 HTTP/1.1\r\nHost: git.example:443\r\n\r\n"),
        (
            "bob:secret",
            "2001:db8::1",
            b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n"
            b"Proxy-Authorization: Basic Ym9iOnNlY3JldA==\r\n\r\n",
        ),
    ],
)
def test_the_proxy_is_asked_and_shown_what_it_wants(known: str | None, host: str, asked: bytes) -> None:
    """Nothing of it is for the host behind."""
    way = Way()
    connected = connecting(way, known, host)
    way.open()
    assert way.transport.value() == asked
    connected.cancel()
    failure_of(connected)


@pytest.mark.parametrize("size", [1, 1000])
def test_what_follows_the_proxys_answer_is_the_hosts(size: int) -> None:
    """However it is cut; then the connection's end is too."""
    way = Way()
    connected = connecting(way)
    way.open()
    sent = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\nhello"
    for start in range(0, len(sent), size):
        way.protocol.dataReceived(sent[start : start + size])
    inner = value_of(connected)
    assert inner.heard == b"hello"
    way.protocol.dataReceived(b" there")
    way.protocol.connectionLost(Failure(ConnectionDone()))
    assert inner.heard == b"hello there" and len(inner.ended) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 407 Who are you\r\n\r\n", "answered 407 Who are you to CONNECT"),
        (b"HTTP/1.0 502\r\n\r\n", "answered 502 to CONNECT"),
        (b"SSH-2.0-x\r\n\r\n", "something that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000, "something that is not HTTP"),
    ],
)
def test_a_proxy_that_does_not_connect_is_told_in_its_words(answer: bytes, words: str) -> None:
    """Or by what it isn't, once it has said more than a head is; the connection is broken off."""
    way = Way()
    connected = connecting(way)
    way.open()
    way.protocol.dataReceived(answer)
    failure = failure_of(connected)
    assert isinstance(failure, ProxyRefused) and words in str(failure)
    assert way.transport.disconnecting or way.transport.disconnected


def test_a_proxy_that_hangs_up_is_told() -> None:
    """As the connection's end."""
    way = Way()
    connected = connecting(way)
    way.open()
    way.protocol.dataReceived(b"HTTP/1.1 2")
    way.protocol.connectionLost(Failure(ConnectionDone()))
    assert isinstance(failure_of(connected), ConnectionDone)


@pytest.mark.parametrize("opened", [True, False])
def test_who_gives_it_up_leaves_no_connection(opened: bool) -> None:
    """Whether the proxy or its answer was waited for."""
    way = Way()
    connected = connecting(way)
    if opened:
        way.open()
    connected.cancel()
    assert isinstance(failure_of(connected), CancelledError)
    assert not opened or way.transport.disconnecting or way.transport.disconnected
