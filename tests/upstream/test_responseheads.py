"""What of an answer's head is understood, as by libcurl 7.88: ``lib/http.c`` and ``lib/http.h``."""

import gzip
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web._newclient import Request
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.plumbing.streams import read_all
from cachew.upstream.connectionfailures import explain
from cachew.upstream.exchange import raw
from cachew.upstream.headers import first
from cachew.upstream.responsebodies import response_source
from cachew.upstream.responseheads import GenerousProtocol
from tests.fakes.settled import failure_of, value_of

OK = b"HTTP/1.1 200 OK\r\n"


def answered(head: bytes, body: bytes = b"") -> "Deferred[Any]":
    """Send a request whose answer is this."""
    connection = GenerousProtocol()
    connection.makeConnection(StringTransport())
    request = connection.request(Request(b"GET", b"/", Headers({"Host": ["git.example"]}), None))
    connection.dataReceived(head + b"\r\n" + body)
    return request


def body_of(response: Any) -> bytes:
    """Read its body to the end."""
    source = response_source(response, upstream="https://git.example", reactor=Clock(), idle=1.0)
    return value_of(Deferred.fromCoroutine(read_all(source, 100)))


@pytest.mark.parametrize(
    "head",
    [
        OK + b"Content-Security-Policy: " + b"x" * 99_000 + b"\r\n",
        OK + b"X-One: %b\r\n" % (b"x" * 1000) * 250,
        OK + b"X Odd: 1\r\n: 2\r\n",
        OK + b"Transfer-Encoding: identity\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK,
    ],
)
def test_what_is_none_of_our_business_is_passed_over(head: bytes) -> None:
    """Long lines, many of them and odd names keep nobody from what git would get."""
    response = value_of(answered(head + b"Content-Length: 4\r\nX-Seen: yes\r\n", b"0000"))
    assert response.code == 200 and first(raw(response.headers), b"x-seen") == b"yes"
    assert body_of(response) == b"0000"


def test_what_a_proxy_has_changed_is_an_answer() -> None:
    """A proxy that transforms answers says 203 (RFC 9110, section 15.3.4), of which git makes nothing."""
    response = value_of(answered(b"HTTP/1.1 203 Non-Authoritative Information\r\nContent-Length: 4\r\n", b"0000"))
    assert (response.code, body_of(response)) == (200, b"0000")


@pytest.mark.parametrize(
    ("lines", "encoding"),
    [
        (b"Transfer-Encoding: gzip, chunked\r\n", b"gzip"),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: Chunked\r\n", b"gzip"),
        (b"Transfer-Encoding: chunked\r\n", None),
    ],
)
def test_what_is_compressed_for_the_transfer(lines: bytes, encoding: bytes | None) -> None:
    """It is taken for compressed content, which is undone where answers are read."""
    data = gzip.compress(b"0000")
    response = value_of(answered(OK + lines, b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)))
    assert first(raw(response.headers), b"content-encoding") == encoding
    assert body_of(response) == data


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (OK + b"X-Long: " + b"x" * 200_000, "a header line of more than 100 KiB"),
        (OK + b"X-One: %b\r\n" % (b"x" * 1000) * 400, "a head of more than 300 KiB"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 21, "more than 20 interim answers"),
        (OK + b"Transfer-Encoding: chunked, frotz\r\n", "a coding that is not understood: b'frotz'"),
        (OK + b"nonsense\r\n", "its answer is no HTTP"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "its answer is no HTTP"),
        (b"HTTP/1.1 OK\r\n", "its answer is no HTTP"),
    ],
)
def test_what_cant_be_read_is_told_in_words(head: bytes, words: str) -> None:
    """The client reads what is wrong with its upstream's answer."""
    failure = failure_of(answered(head))
    assert isinstance(failure, Exception)
    told = explain("https://git.example/org/repo", failure)
    assert isinstance(told, UpstreamUnreachable) and words in str(told)


class Endless:
    """A body of which there is always more to come."""

    length: Any

    def __init__(self, length: int | None) -> None:
        self.length = UNKNOWN_LENGTH if length is None else length
        self.stopped = 0

    def startProducing(self, consumer: Any) -> "Deferred[None]":
        consumer.write(b"PACK")
        return Deferred()

    def stopProducing(self) -> None:
        self.stopped += 1

    def pauseProducing(self) -> None:
        """Wait."""

    def resumeProducing(self) -> None:
        """Go on."""


@pytest.mark.parametrize("length", [10, None])
@pytest.mark.parametrize("persistent", [True, False])
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("status", [b"302 F", b"401 U", b"413 T", b"500 E", b"200 OK"])
def test_an_answer_that_comes_before_its_request_is_sent(
    status: bytes, apart: bool, persistent: bool, length: int | None
) -> None:
    """It is given as it comes, nothing more is sent, and the connection ends though the peer takes nothing more."""
    connection, transport, body = GenerousProtocol(), StringTransport(), Endless(length)
    connection.makeConnection(transport)
    asked: Any = connection.request(Request(b"POST", b"/", Headers({"Host": ["git.example"]}), body, persistent))
    head, content = b"HTTP/1.1 " + status + b"\r\nContent-Length: 4\r\n\r\n", b"0000"
    if apart and not status.startswith(b"200"):
        connection.dataReceived(head)
        response = value_of(asked)
        connection.dataReceived(content)
    else:
        connection.dataReceived(head + content)
        response = value_of(asked)
    assert (response.code, body_of(response)) == (int(status[:3]), content)
    assert body.stopped == 1 and transport.producer is None
    assert transport.disconnected and transport.value().endswith(b"PACK" + (b"" if length else b"\r\n"))


def test_a_request_that_is_answered_while_it_is_sent_goes_on() -> None:
    """What isn't refused is sent to its end: a server may tell of its progress meanwhile."""
    connection, transport, body = GenerousProtocol(), StringTransport(), Endless(10)
    connection.makeConnection(transport)
    asked: Any = connection.request(Request(b"POST", b"/", Headers({"Host": ["git.example"]}), body))
    connection.dataReceived(OK + b"Content-Length: 4\r\n\r\n")
    assert not asked.called and not body.stopped
