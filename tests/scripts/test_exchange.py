"""Recorded requests and whole answers."""

import gzip

import pytest

from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from scripts.benchmarks.exchange import complete, dechunked, is_fetch, made_new, parse_head, recorded

FETCH = encode_all([b"command=fetch", DELIM, b"want " + b"1" * 40, b"done\n", FLUSH])


def test_a_request_is_replayed_to_another_server() -> None:
    """Headers of the connection are replaced, all others are kept."""
    exchange = recorded("POST", "/git-upload-pack", [("Host", "a:1"), ("Git-Protocol", "version=2")], b"0000")
    assert exchange.render(address="b:2", base="/x.git", last=True) == (
        b"POST /x.git/git-upload-pack HTTP/1.1\r\nHost: b:2\r\nGit-Protocol: version=2\r\n"
        b"Content-Length: 4\r\nConnection: close\r\n\r\n0000"
    )


def test_a_compressed_request_is_kept_plain() -> None:
    """The body is inflated and no longer called compressed."""
    exchange = recorded("POST", "/p", [("Content-Encoding", "gzip")], gzip.compress(FETCH))
    assert (exchange.body, exchange.headers) == (FETCH, ())
    assert is_fetch(exchange)


def test_a_fetch_is_made_new() -> None:
    """One have that no server knows comes before done, nothing else changes."""
    new = made_new(recorded("POST", "/p", [], FETCH), "2" * 40)
    assert new.body == encode_all(
        [b"command=fetch", DELIM, b"want " + b"1" * 40, b"have " + b"2" * 40 + b"\n", b"done\n", FLUSH]
    )


@pytest.mark.parametrize(
    ("head", "received", "tail", "whole"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", 5, b"hello", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5", 4, b"hell", False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", 9, b"0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", 9, b"half", False),
        (b"HTTP/1.0 200 OK", 9, b"whatever", True),
    ],
)
def test_an_answer_that_broke_off_is_noticed(head: bytes, received: int, tail: bytes, whole: bool) -> None:
    """An answer is whole when it has its length or its last chunk."""
    assert complete(parse_head(head), received, tail) is whole


def test_chunks_are_joined() -> None:
    """The body and its end are found once the last chunk is there."""
    data = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
    assert dechunked(data + b"more") == (b"abcde", len(data))
    assert dechunked(data[:-3]) is None


def test_what_is_not_http_is_refused() -> None:
    """Anything but a status line is an error."""
    with pytest.raises(ValueError, match="not HTTP"):
        parse_head(b"SSH-2.0")
