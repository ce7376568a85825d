"""Content encodings that nobody asked for, undone as the body comes."""

import gzip
import zlib

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.plumbing.streams import PushSource, Source, read_all
from cachew.upstream.decoding import codings_of, decoded
from tests.fakes.settled import failure_of, value_of

URL = "https://git.example/"
TEXT = b"".join(b"003d%040x refs/heads/b%05d\n" % (number * 0x9E3779B97F4A7C15, number) for number in range(9000))


def raw_deflate(data: bytes) -> bytes:
    """Compress as some servers do, without zlib's head and end."""
    made = zlib.compressobj(wbits=-15)
    return made.compress(data) + made.flush()


def sent(body: bytes, size: int = 10**9) -> PushSource:
    """Return a body that comes in pieces of a size."""
    source = PushSource()
    for start in range(0, len(body), size):
        source.data(body[start : start + size])
    source.finish()
    return source


def reading(source: Source) -> Deferred[bytes]:
    return Deferred.fromCoroutine(read_all(source, 10**9))


def content(body: bytes, *codings: str, size: int = 10**9) -> bytes:
    return value_of(reading(decoded(sent(body, size), list(codings), upstream=URL)))


def refusal(body: bytes, *codings: str) -> str:
    """Return in which words a body's reader is told that it is no good."""
    failure = failure_of(reading(decoded(sent(body), list(codings), upstream=URL)))
    assert isinstance(failure, UpstreamUnreachable)
    return str(failure)


@pytest.mark.parametrize(
    ("lines", "codings"),
    [
        ([], []),
        (["gzip"], ["gzip"]),
        ([" GZip , deflate"], ["gzip", "deflate"]),
        (["deflate", "x-gzip"], ["deflate", "x-gzip"]),
        (["identity"], []),
        (["none, ,"], []),
    ],
)
def test_encodings_are_read_in_the_order_in_which_they_were_applied(lines: list[str], codings: list[str]) -> None:
    """Over several headers, in any case; what says that nothing was done is none."""
    headers = [(b"Content-Encoding", line.encode()) for line in lines]
    assert codings_of([(b"Content-Type", b"gzip"), *headers]) == codings


@pytest.mark.parametrize("size", [1, 2, 1000, 10**9])
@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(TEXT), "gzip"),
        (gzip.compress(TEXT), "x-gzip"),
        (zlib.compress(TEXT), "deflate"),
        (raw_deflate(TEXT), "deflate"),
        (TEXT, ""),
    ],
)
def test_the_reader_gets_what_was_compressed_however_it_is_cut(body: bytes, coding: str, size: int) -> None:
    """With zlib's head or without it."""
    assert content(body, *filter(None, [coding]), size=size) == TEXT


def test_encodings_one_upon_the_other_are_undone_from_the_last() -> None:
    """Each in its turn."""
    assert content(gzip.compress(zlib.compress(TEXT)), "deflate", "gzip") == TEXT


@pytest.mark.parametrize("size", [1, 10**9])
def test_members_of_gzip_are_one_content(size: int) -> None:
    """One after the other; what else follows is padding."""
    assert content(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip", size=size) == b"one two"
    assert content(gzip.compress(b"one") + bytes(512), "gzip", size=size) == b"one"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_body_without_a_byte_has_no_content(coding: str) -> None:
    """As the answer to HEAD has, or 204."""
    assert content(b"", coding) == b""


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_content_that_inflates_to_nothing_is_empty(coding: str) -> None:
    """It has an end, and no byte before it."""
    assert content(gzip.compress(b"") if coding == "gzip" else zlib.compress(b""), coding) == b""


@pytest.mark.parametrize(
    ("body", "coding"),
    [(gzip.compress(TEXT), "gzip"), (zlib.compress(TEXT), "deflate"), (raw_deflate(TEXT), "deflate")],
)
def test_a_body_that_breaks_off_is_no_content(body: bytes, coding: str) -> None:
    """Wherever it does: behind its first byte, within, or before its end."""
    for length in (1, 2, len(body) // 2, len(body) - 1):
        assert "broke off" in refusal(body[:length], coding)


def test_a_second_member_that_breaks_off_is_told() -> None:
    """What came before it is no whole content either."""
    assert "broke off" in refusal(gzip.compress(b"one") + gzip.compress(TEXT)[:-1], "gzip")


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(TEXT)[:-8] + bytes(8)])
def test_damaged_data_is_told(body: bytes) -> None:
    """Also when only the checksum at its end says so."""
    assert "is damaged" in refusal(body, "gzip")


def test_a_read_gives_no_more_than_was_asked_for() -> None:
    """However much there is in a few compressed bytes."""
    source = decoded(sent(gzip.compress(bytes(5_000_000))), ["gzip"], upstream=URL)
    assert all(len(value_of(Deferred.fromCoroutine(source.read(1000)))) == 1000 for _ in range(5))
    source.close()


@pytest.mark.parametrize("codings", [["br"], ["gzip", "zstd"], ["gzip"] * 4])
def test_what_cant_be_undone_is_refused_and_closed(codings: list[str]) -> None:
    """Before a byte of it is read."""
    source = sent(b"body")
    with pytest.raises(UpstreamUnreachable, match="nobody asked for"):
        decoded(source, codings, upstream=URL)
    assert source.closed


def test_who_closes_what_is_decoded_closes_what_comes() -> None:
    """Through all encodings."""
    source = sent(b"body")
    decoded(source, ["gzip", "deflate"], upstream=URL).close()
    assert source.closed
