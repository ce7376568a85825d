"""Heads are read strictly and the same however they are cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachew.http.heads import Head, HeadReader, HeadRefused, parse_head
from cachew.http.limits import Limits

LIMITS = Limits(line=200, head=600, headers=10)


def read(*lines: bytes) -> Head:
    """Parse a head of these lines."""
    return parse_head(b"\r\n".join(lines), LIMITS)


def test_plain() -> None:
    """A plain request has no body and keeps its connection."""
    head = read(b"GET /a%20b?q=%zz HTTP/1.1", b"Host: h:81", b"X-Y:  z\t")
    assert head == Head(b"GET", b"/a%20b?q=%zz", b"HTTP/1.1", ((b"Host", b"h:81"), (b"X-Y", b"z")), 0, True, False)


def test_body_lengths() -> None:
    """A body is framed by its length or in chunks."""
    assert read(b"POST / HTTP/1.1", b"Host: h", b"Content-Length: 9223372036854775807").body_length == 2**63 - 1
    assert read(b"POST / HTTP/1.1", b"Host: h", b"Transfer-Encoding: Chunked").body_length is None
    assert read(b"POST / HTTP/1.1", b"Host: h", b"Content-Length: 5", b"Expect: 100-Continue").expects_continue


def test_old_version() -> None:
    """HTTP/1.0 needs no Host and its connection closes after the answer; it is never told to continue."""
    head = read(b"POST / HTTP/1.0", b"Connection: keep-alive", b"Content-Length: 1", b"Expect: 100-continue")
    assert (head.keep_alive, head.expects_continue) == (False, False)


def test_close() -> None:
    """``close`` may stand among other connection options."""
    assert not read(b"GET / HTTP/1.1", b"Host: h", b"Connection: Upgrade, CLOSE").keep_alive


@pytest.mark.parametrize(
    ("target", "path"),
    [(b"http://Other:8080/x?y", b"/x?y"), (b"HTTPS://Other:8080", b"/"), (b"http://Other:8080?y", b"/?y")],
)
def test_absolute_form(target: bytes, path: bytes) -> None:
    """An absolute target's authority takes the place of Host."""
    head = read(b"GET " + target + b" HTTP/1.1", b"host: h", b"A: b")
    assert head.target == path
    assert head.headers == ((b"A", b"b"), (b"Host", b"Other:8080"))


HOST = b"Host: h"


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (400, [b"GET / HTTP/1.1"]),
        (400, [b"GET / HTTP/1.1", HOST, HOST]),
        (400, [b"GET / HTTP/1.1", b"Host:"]),
        (400, [b"GET / HTTP/1.1", b"Host: a b"]),
        (400, [b"GET / HTTP/1.1", b"Host: a..b"]),
        (400, [b"GET / HTTP/1.1", b"Host: " + b"a" * 64]),
        (400, [b"GET / HTTP/1.1", b"Host: user@h"]),
        (400, [b"GET ftp://h/ HTTP/1.1", HOST]),
        (400, [b"GET http://u@h/ HTTP/1.1", HOST]),
        (400, [b"GET http:///x HTTP/1.1", HOST]),
        (400, [b"GET x HTTP/1.1", HOST]),
        (400, [b"GET /# HTTP/1.1", HOST]),
        (400, [b"GET /\xff HTTP/1.1", HOST]),
        (400, [b"GET /%ff HTTP/1.1", HOST]),
        (400, [b"GET /%g0 HTTP/1.1", HOST]),
        (400, [b"GET /\tx HTTP/1.1", HOST]),
        (400, [b"GET  / HTTP/1.1", HOST]),
        (400, [b"G(T / HTTP/1.1", HOST]),
        (400, [b"GET /", HOST]),
        (400, [b"GET / http/1.1", HOST]),
        (400, [b""]),
        (405, [b"CONNECT h:443 HTTP/1.1", HOST]),
        (405, [b"OPTIONS * HTTP/1.1", HOST]),
        (505, [b"GET / HTTP/2.0", HOST]),
        (400, [b"GET / HTTP/1.1", HOST, b" folded"]),
        (400, [b"GET / HTTP/1.1", HOST, b"X: y", b"\tfolded"]),
        (400, [b"GET / HTTP/1.1", HOST, b"X : y"]),
        (400, [b"GET / HTTP/1.1", HOST, b"X"]),
        (400, [b"GET / HTTP/1.1", HOST, b": y"]),
        (400, [b"GET / HTTP/1.1", HOST, b"X: a\rb"]),
        (400, [b"GET / HTTP/1.1", HOST, b"X: a\x00b"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Content-Length: 5"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: 5, 5"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: +5"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: 0x5"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: -1"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: 9223372036854775808"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: 100000000000000000000"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: identity"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: gzip, chunked"]),
        (400, [b"POST / HTTP/1.1", HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"]),
        (400, [b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"]),
        (417, [b"POST / HTTP/1.1", HOST, b"Expect: wonders"]),
        (431, [b"GET / HTTP/1.1", HOST, b"X: " + b"y" * 200]),
        (431, [b"GET / HTTP/1.1", *[b"X: y"] * 11]),
    ],
)
def test_refused(status: int, lines: list[bytes]) -> None:
    """What is ambiguous, malformed or too much is refused."""
    with pytest.raises(HeadRefused) as refusal:
        read(*lines)
    assert refusal.value.status == status


@pytest.mark.parametrize(
    ("status", "start"),
    [
        (400, b"GET / HTTP/1.1\nHost: h"),
        (400, b"\n"),
        (414, b"GET /" + b"x" * 200),
        (431, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 100),
        (400, b"GET / HTTP/1.1\r\nHost: h\n\n"),
        (400, b"\x16\x03\x01\x02\x00"),
    ],
)
def test_refused_before_its_end(status: int, start: bytes) -> None:
    """What can't be mended is refused without waiting for more."""
    with pytest.raises(HeadRefused) as refusal:
        HeadReader(LIMITS).feed(start)
    assert refusal.value.status == status


@settings(deadline=None)
@given(cuts=st.lists(st.integers(0, 80)), empty_line=st.booleans())
def test_pieces(cuts: list[int], empty_line: bool) -> None:
    """However a head is cut, it is read the same, and what follows it is left over."""
    wire = b"\r\n" * empty_line + b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n"
    whole = wire + b"abc"
    reader, found, rest = HeadReader(LIMITS), None, b""
    edges = sorted({0, *(cut for cut in cuts if cut < len(whole)), len(whole)})
    for start, end in pairwise(edges):
        if found is None:
            found = reader.feed(whole[start:end])
            rest = reader.rest
        else:
            rest += whole[start:end]
    assert found == read(b"POST /x HTTP/1.1", b"Host: h", b"Content-Length: 3")
    assert rest == b"abc"


LINES = st.sampled_from([b"\r\n", b"GET / HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n\r\n"])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=60) | LINES))
def test_anything(pieces: list[bytes]) -> None:
    """Any bytes give a head, a refusal, or the wish for more."""
    reader = HeadReader(LIMITS)
    try:
        for piece in pieces:
            if reader.feed(piece) is not None:
                break
    except HeadRefused as refusal:
        assert refusal.status in (400, 405, 414, 417, 431, 505)
