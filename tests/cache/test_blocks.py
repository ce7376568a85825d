"""Digests of content by blocks."""

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachew.cache.blocks import BLOCK, Blocks, ContentDigest
from cachew.plumbing.errors import CorruptObject

CONTENT = bytes(range(256)) * (BLOCK // 256) + b"\x01" * BLOCK + b"the rest"
ENDS = [0, BLOCK, 2 * BLOCK, len(CONTENT)]


def digested(*pieces: bytes) -> ContentDigest:
    """Return the digest of content that came in pieces."""
    digest = ContentDigest()
    for piece in pieces:
        digest.update(piece)
    return digest


BLOCKS = digested(CONTENT).blocks()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, len(CONTENT)), max_size=6))
def test_it_doesn_t_matter_in_which_pieces_content_comes(cuts: list[int]) -> None:
    """Size, digest of the whole and digests of the blocks are those of the content."""
    edges = [0, *sorted(cuts), len(CONTENT)]
    digest = digested(*(CONTENT[start:end] for start, end in pairwise(edges)))
    assert (digest.size, digest.digest) == (len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    assert digest.blocks() == BLOCKS


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (BLOCK, 1), (BLOCK + 1, 2), (2 * BLOCK, 2)])
def test_there_is_a_digest_for_each_block_begun(size: int, count: int) -> None:
    """None for nothing, and none more where the content ends with a block."""
    blocks = digested(bytes(size)).blocks()
    assert blocks.count == count and blocks.consistent
    assert not Blocks(size + BLOCK, blocks.digests).consistent


@pytest.mark.parametrize("first", [0, 1, 2])
def test_content_is_checked_from_any_block_on(first: int) -> None:
    """Of one block or of all that follow."""
    BLOCKS.verify(first, CONTENT[ENDS[first] :])
    BLOCKS.verify(first, memoryview(CONTENT)[ENDS[first] : ENDS[first + 1]])


@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, 2 * BLOCK, len(CONTENT) - 1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    """Wherever it is, and the block is named."""
    damaged = bytearray(CONTENT)
    damaged[place] ^= 1
    with pytest.raises(CorruptObject, match=f"block {place // BLOCK} "):
        BLOCKS.verify(0, bytes(damaged))


@pytest.mark.parametrize(
    ("first", "data"),
    [
        (0, CONTENT[:-1]),
        (0, CONTENT + b"x"),
        (0, CONTENT[: BLOCK - 1]),
        (1, CONTENT[:BLOCK]),
        (0, CONTENT[BLOCK : 2 * BLOCK]),
        (2, CONTENT[2 * BLOCK :] * 2),
        (3, b"x"),
    ],
)
def test_what_is_short_long_or_of_another_place_is_noticed(first: int, data: bytes) -> None:
    """A block in another's place is as bad as a changed one."""
    with pytest.raises(CorruptObject):
        BLOCKS.verify(first, data)


@pytest.mark.parametrize(
    ("offset", "length", "numbers"),
    [
        (0, 0, []),
        (5, -1, []),
        (0, 1, [0]),
        (BLOCK - 1, 1, [0]),
        (BLOCK - 1, 2, [0, 1]),
        (BLOCK, BLOCK, [1]),
        (0, len(CONTENT), [0, 1, 2]),
    ],
)
def test_the_blocks_of_a_region(offset: int, length: int, numbers: list[int]) -> None:
    """All that it touches and no other."""
    assert list(BLOCKS.covering(offset, length)) == numbers


def test_the_last_block_ends_with_the_content() -> None:
    """The others where the next one begins."""
    assert [BLOCKS.bounds(number) for number in range(3)] == list(pairwise(ENDS))


def test_digests_are_kept_as_text() -> None:
    """What is no such text is refused."""
    assert Blocks.from_text(len(CONTENT), BLOCKS.to_text()) == BLOCKS
    for text in ("*", "AAA", "AA==AA"):
        with pytest.raises(ValueError):
            Blocks.from_text(1, text)
