"""Content in memory and how much of it there is."""

import gc

import pytest

from cachew.cache.content import Content, ContentSource, Usage
from cachew.plumbing.streams import PIECE, read_all
from tests.fakes.settled import result_of


def content(usage: Usage, *pieces: bytes) -> Content:
    """Return content that came in pieces."""
    made = Content(usage)
    for piece in pieces:
        made.append(piece)
    made.settle()
    return made


def test_content_counts_as_long_as_anybody_refers_to_it() -> None:
    """A stream over it does, until it is closed."""
    usage = Usage()
    made = content(usage, b"12345", b"67")
    source = ContentSource(made, 0, made.size)
    del made
    gc.collect()
    assert usage.present == 7
    source.close()
    gc.collect()
    assert usage.present == 0


def test_what_is_dropped_counts_no_more_and_never_again() -> None:
    """Though somebody still refers to it."""
    usage = Usage()
    made = content(usage, b"12345")
    made.drop()
    assert usage.present == 0
    del made
    gc.collect()
    assert usage.present == 0


def test_small_pieces_become_large_ones() -> None:
    """What came byte by byte is not kept so."""
    made = content(Usage(), *(b"x" * 1024 for _ in range(PIECE // 1024 + 1)))
    assert [len(piece) for piece in made.pieces] == [PIECE, 1024] and made.size == PIECE + 1024


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (0, 0), (3, 4), (4, 1), (5, 5), (9, 1), (10, 0)])
def test_a_region_is_read_across_pieces(offset: int, length: int) -> None:
    """Whether it is taken as bytes or as it lies in memory."""
    made = Content(Usage())
    made.pieces, made.size = [b"0123", b"4", b"56789"], 10
    expected = b"0123456789"[offset : offset + length]
    assert result_of(read_all(ContentSource(made, offset, length), 100)) == expected
    source, taken = ContentSource(made, offset, length), b""
    while (region := result_of(source.region(2))) is not None:
        taken += bytes(region.data)
    assert taken == expected


def test_a_closed_stream_ends() -> None:
    """Nothing more comes."""
    source = ContentSource(content(Usage(), b"12345"), 0, 5)
    assert result_of(source.read(2)) == b"12"
    source.close()
    assert result_of(source.read(2)) == b"" and result_of(source.region(2)) is None
