"""The pkt-line framing, in pieces of all sizes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing.errors import BadRequest
from cachew.plumbing.pktline import DELIM, FLUSH, MAX_PAYLOAD, RESPONSE_END, Decoder, decode, encode, encode_all, text

PACKETS = st.lists(st.one_of(st.sampled_from([FLUSH, DELIM, RESPONSE_END]), st.binary(max_size=60)), max_size=12)


@given(packets=PACKETS, size=st.integers(min_value=1, max_value=40))
def test_pieces_make_no_difference(packets: list[bytes], size: int) -> None:
    """What was framed comes back, however the stream is cut."""
    stream = encode_all(packets)
    decoder, got = Decoder(), []
    for start in range(0, len(stream), size):
        got += list(decoder.feed(stream[start : start + size]))
    assert got == packets == decode(stream) and not decoder.rest


def test_known_bytes() -> None:
    """The framing is git's."""
    assert encode(b"a\n") == b"0006a\n" and encode(b"") == b"0004"
    assert encode_all([b"x", FLUSH, DELIM, RESPONSE_END]) == b"0005x000000010002"
    assert len(encode(b"x" * MAX_PAYLOAD)) == 65520


@pytest.mark.parametrize("data", [b"0003", b"zzzz", b"+123", b"00 5x", b"0009ab", b"00"])
def test_malformed(data: bytes) -> None:
    """What is no pkt-line is refused."""
    with pytest.raises(BadRequest):
        decode(data)


def test_too_long() -> None:
    """A longer payload than git takes is not sent."""
    with pytest.raises(ValueError, match="65517"):
        encode(b"x" * (MAX_PAYLOAD + 1))


def test_a_reader_that_stops_early_loses_nothing() -> None:
    """Whoever takes one packet and leaves finds the rest at the next feed."""
    decoder = Decoder()
    for packet in decoder.feed(b"0005a0005b00"):
        assert packet == b"a"
        break
    assert list(decoder.feed(b"05c")) == [b"b", b"c"]


def test_text() -> None:
    """One newline at the end is framing; special packets have no text."""
    assert text(b"line\n") == b"line" and text(b"line") == b"line"
    with pytest.raises(BadRequest):
        text(FLUSH)
