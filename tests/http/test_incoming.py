"""Bodies end where their framing says, however the wire is cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachew.http.incoming import ChunkedFraming, Framing, framing_for
from cachew.plumbing.errors import BadRequest


def feed(framing: Framing, wire: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Feed a wire in pieces and return the body and what follows it."""
    edges = sorted({0, *(cut for cut in cuts if cut < len(wire)), len(wire)})
    body = rest = b""
    for start, end in pairwise(edges):
        if framing.ended:
            rest += wire[start:end]
        else:
            piece, left = framing.take(wire[start:end])
            body, rest = body + piece, rest + left
    return body, rest


CUTS = st.lists(st.integers(0, 300))


@settings(deadline=None)
@given(body=st.binary(max_size=200), rest=st.binary(max_size=20), cuts=CUTS)
def test_length(body: bytes, rest: bytes, cuts: list[int]) -> None:
    """A body of known length is exactly so long."""
    framing = framing_for(len(body))
    assert feed(framing, body + rest, cuts) == (body, rest)
    assert framing.ended
    assert framing.remaining == 0


@settings(deadline=None)
@given(chunks=st.lists(st.binary(min_size=1, max_size=50)), rest=st.binary(max_size=20), cuts=CUTS)
def test_chunks(chunks: list[bytes], rest: bytes, cuts: list[int]) -> None:
    """Chunks are joined; extensions and trailers are dropped."""
    wire = b"".join(b"%X;name=value\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    framing = framing_for(None)
    assert feed(framing, wire + b"0\r\nTrailer: x\r\n\r\n" + rest, cuts) == (b"".join(chunks), rest)
    assert framing.ended


def test_unfinished() -> None:
    """A body is not at its end before its last chunk."""
    framing = ChunkedFraming()
    assert framing.take(b"3\r\nabc\r\n0\r\n") == (b"abc", b"")
    assert (framing.ended, framing.remaining) == (False, None)


@pytest.mark.parametrize(
    "wire",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b"1 1\r\n",
        b"1 \r\n",
        b"1\t\r\n",
        b" 1\r\n",
        b"1\n",
        b"1;\x00\r\n",
        b"1;a\nb\r\n",
        b"1" * 16 + b"\r\n",
        b"1" * 2000,
        b"1\r\nab\r\n",
        b"1\r\na\n\n",
        b"1\r\na\r\r",
        b"0\r\nno trailer\r\n",
        b"0\r\nX: a\nb\r\n",
        b"0\r\n" + b"X: y\r\n" * 3000,
        b"0\r\n" + b"X" * 9000,
    ],
)
def test_malformed(wire: bytes) -> None:
    """A malformed chunk, and lines without end, are refused."""
    framing = ChunkedFraming()
    with pytest.raises(BadRequest):
        framing.take(wire)
        framing.take(b"\r\n" * 3)
