"""Answers of HTTP servers, as RFC 9112 has them and as rubbish has them."""

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from cachew.client.httpanswer import BrokenAnswer, HttpAnswer, Incoming, set_timeout

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets that are connected: ours and the server's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def answered(pair: tuple[socket.socket, socket.socket], said: bytes, method: str = "GET") -> tuple[HttpAnswer, bytes]:
    """Return an answer that was sent before the connection was closed, and its body."""
    ours, theirs = pair

    def send() -> None:
        theirs.sendall(said)
        theirs.close()

    sending = threading.Thread(target=send)
    sending.start()
    answer, body, room = HttpAnswer(Incoming(ours), method), b"", memoryview(bytearray(7))
    while count := answer.readinto(room):
        body += room[:count]
    sending.join()
    return answer, body


@pytest.mark.parametrize(
    ("said", "method", "body", "stays"),
    [
        (OK + b"Content-Length: 9\r\n\r\n123456789", "GET", b"123456789", True),
        (OK + b"content-length:9\n\n123456789", "GET", b"123456789", True),
        (OK + b"Content-Length: 9\r\nContent-Length: 9\r\n\r\n123456789", "GET", b"123456789", True),
        (OK + b"Content-Length: 9\r\n\r\n123456789and more", "GET", b"123456789", False),
        (OK + b"Content-Length: 9\r\nConnection: close\r\n\r\n123456789", "GET", b"123456789", False),
        (OK + b"Content-Length: 9\r\n\r\n", "HEAD", b"", True),
        (OK + b"\r\nto the end", "GET", b"to the end", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n1", "GET", b"1", False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n1", "GET", b"1", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", b"", True),
        (b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n" + OK + b"Content-Length: 1\r\n\r\n1", "GET", b"1", True),
        (
            CHUNKED + b"3;a=b\r\n123\r\nA\r\n1234567890\r\n0\r\nT: t\r\n\r\n",
            "GET",
            b"1231234567890",
            True,
        ),
    ],
)
def test_reads_a_body(
    pair: tuple[socket.socket, socket.socket], said: bytes, method: str, body: bytes, stays: bool
) -> None:
    """A body ends where its head says, and only what can follow it is left for another one."""
    answer, found = answered(pair, said, method)
    assert (found, answer.is_whole) == (body, stays)


def test_reads_fields(pair: tuple[socket.socket, socket.socket]) -> None:
    """Fields keep their names and their order; one may go on in the next line."""
    answer, _ = answered(pair, b'HTTP/1.1 206 Some of it \r\nETag:  "1" \r\nX-A: a\r\n\tb\r\nX-a: \xfc\r\n\r\n', "HEAD")
    assert (answer.status, answer.reason) == (206, "Some of it")
    assert answer.fields == [("ETag", '"1"'), ("X-A", "a b"), ("X-a", "\xfc")]


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"Content-Length : 1\r\n\r\n1",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1, 2\r\n\r\n1",
        OK + b"Content-Length: 0x1\r\n\r\n1",
        OK + b"A: " + b"a" * 200_000 + b"\r\n\r\n",
        OK + b"A: a\r\n" * 50_000 + b"\r\n",
        CHUNKED + b"no\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"3\r\n12",
        CHUNKED + b"3\r\n123 is not all\r\n0\r\n\r\n",
        OK + b"Content-Length: 9\r\n\r\n1234",
    ],
)
def test_refuses_what_is_no_answer(pair: tuple[socket.socket, socket.socket], said: bytes) -> None:
    """Rubbish, and what ends too early, is a broken connection, and nobody reads it for long."""
    pair[1].settimeout(10)
    with pytest.raises(BrokenAnswer):
        answered((pair[0], _Patient(pair[1])), said)  # type: ignore[arg-type]


class _Patient:
    """A server that does not mind when the client has heard enough."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer

    def sendall(self, said: bytes) -> None:
        """Send."""
        with suppress(OSError):
            self._peer.sendall(said)

    def close(self) -> None:
        """Close."""
        self._peer.close()


def test_waits_no_longer_than_it_may(pair: tuple[socket.socket, socket.socket]) -> None:
    """A server that says nothing is given up, and one that says little is heard."""
    set_timeout(pair[0], 0.02)
    with pytest.raises(TimeoutError, match="timed out"):
        HttpAnswer(Incoming(pair[0]), "GET")
    pair[1].sendall(OK + b"Content-Length: 9\r\n\r\n1234")
    answer, room = HttpAnswer(Incoming(pair[0]), "GET"), memoryview(bytearray(9))
    assert answer.readinto(room) == 4
    with pytest.raises(TimeoutError):
        answer.readinto(room)


class _OtherTimes(socket.socket):
    """A connection on a system of 32 bits whose times have 64."""

    def setsockopt(self, *_: object) -> None:
        """Refuse."""
        raise OSError(errno.EINVAL, "Invalid argument")


def test_waits_no_longer_where_the_system_keeps_other_times() -> None:
    """A system that does not take our form of a time-out is not asked to keep it."""
    ours, theirs = socket.socketpair()
    with _OtherTimes(fileno=ours.detach()) as peer, theirs:
        set_timeout(peer, 0.02)
        with pytest.raises(TimeoutError):
            HttpAnswer(Incoming(peer), "GET")
