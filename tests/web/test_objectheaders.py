"""Which headers are stored with an object."""

import pytest

from cachew.plumbing.errors import BadRequest
from cachew.web.objectheaders import last_modified, returned, storable, time_to_live, uploaded_tag


def test_stores_what_describes_the_content() -> None:
    """Content headers and a client's own are stored, several values of one name as one."""
    came = [(b"Content-Type", [b"text/plain"]), (b"X-Mine", [b"a", b"b"]), (b"Content-Encoding", [b"gzip"])]
    assert storable(came) == {"Content-Type": "text/plain", "X-Mine": "a, b", "Content-Encoding": "gzip"}


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "cookie", "Proxy-Authorization", "Set-Cookie", "X-Forwarded-For"),
        *("Host", "Content-Length", "Transfer-Encoding", "Time-To-Live", "If-Match", "User-Agent", "ETag", "Date"),
        *("Content-Security-Policy", "Location", "Access-Control-Allow-Origin", "X-Content-Type-Options"),
        *("X-Accel-Redirect", "X-Accel-Expires", "X-Sendfile", "X-LIGHTTPD-send-file", "X-Reproxy-URL"),
    ],
)
def test_drops_the_exchange_s_own(name: str) -> None:
    """Transport, identity and origin headers are neither stored nor, if they ever were, given back."""
    assert storable([(name.encode(), [b"x"])]) == {}
    assert returned({name: "x"}) == []


def test_drops_what_connection_names() -> None:
    """A header that Connection names belongs to the connection."""
    assert storable([(b"Connection", [b"close, X-Hop"]), (b"X-Hop", [b"1"]), (b"X-End", [b"2"])]) == {"X-End": "2"}


def test_gives_back_no_line_breaks() -> None:
    """A stored value can't begin another header."""
    assert returned({"A": "b\r\nc: d", "B": "\xe9\u2713"}) == [(b"A", b"b  c: d"), (b"B", b"\xe9?")]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Sun, 15 Jan 2023 12:30:00 GMT", 1673785800),
        ("Sunday, 15-Jan-23 12:30:00 GMT", 1673785800),
        ("Sun, 15 Jan 2062 12:30:00 GMT", 1700000000),
        ("last week", 1700000000),
    ],
)
def test_takes_the_uploader_s_date(said: str, expected: float) -> None:
    """The uploader knows best when the content changed, unless that is no date or lies after the upload."""
    assert last_modified(storable([(b"last-modified", [said.encode()])]), 1700000000) == expected
    assert last_modified({}, 1700000000) == 1700000000


def test_reads_go_durations() -> None:
    """Time-To-Live has Go's form; nothing and zero leave it to the cache."""
    assert [time_to_live(text) for text in ("1h30m", "250ms", "", "0s")] == [5400.0, 0.25, None, None]
    for text in ("1", "soon", "-1h"):
        with pytest.raises(BadRequest):
            time_to_live(text)


def test_reads_strong_tags_only() -> None:
    """An uploaded tag is strong and in quotes."""
    assert (uploaded_tag('"v1"'), uploaded_tag("")) == ("v1", None)
    for text in ('W/"v1"', "v1", '"', '""', '"a b"'):
        with pytest.raises(BadRequest):
            uploaded_tag(text)
