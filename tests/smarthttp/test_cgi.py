"""Headers of CGI programs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.errors import BadRequest
from cachew.smarthttp.cgi import MAX_HEADER, CgiHead, HeadParser

pytestmark = pytest.mark.timeout(20)
WHOLE = b"Status: 404 Not Found\r\nContent-Type: text/plain\r\nX-Empty:\r\n\r\nbody\r\n\r\nmore"
HEAD = CgiHead(404, (("content-type", "text/plain"), ("x-empty", "")), b"body\r\n\r\nmore")


@given(st.integers(1, len(WHOLE) - 1))
def test_any_split(at: int) -> None:
    """A header is read alike wherever its pieces are cut."""
    parser = HeadParser()
    first = parser.feed(WHOLE[:at])
    if first is None:
        first = parser.feed(WHOLE[at:])
        assert first == HEAD
    else:
        assert (first.status, first.headers) == (HEAD.status, HEAD.headers)
        assert first.rest + WHOLE[at:] == HEAD.rest


def test_bare_newlines_and_no_status() -> None:
    """Lines may end without a carriage return, and the status is 200 unless it is named."""
    assert HeadParser().feed(b"A: b\nC:  d e \n\n") == CgiHead(200, (("a", "b"), ("c", "d e")), b"")


@pytest.mark.parametrize(
    "data",
    [
        b"no colon\r\n\r\n",
        b": value\r\n\r\n",
        b"A b: c\r\n\r\n",
        b"A: b\r\n folded\r\n\r\n",
        b"A: b\rC: d\r\n\r\n",
        b"A: \x00\r\n\r\n",
        b"Status: 99 Low\r\n\r\n",
        b"Status: 2000\r\n\r\n",
        b"Status: ok\r\n\r\n",
        b"A: " + b"x" * MAX_HEADER,
        b"A: " + b"x" * MAX_HEADER + b"\r\n\r\n",
    ],
)
def test_refused(data: bytes) -> None:
    """Malformed and endless headers are refused."""
    with pytest.raises(BadRequest):
        HeadParser().feed(data)
