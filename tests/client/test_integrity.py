"""Whether what arrives is what was announced."""

from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256

import pytest

from cachew.client.clienterrors import DownloadCorrupt
from cachew.client.integrity import Integrity

PIECES = [bytes([number]) * 1000 for number in range(40)]
WHOLE = b"".join(PIECES)
TAG = f'"{sha256(WHOLE).hexdigest()}"'


@pytest.fixture
def nothing() -> Iterator[Integrity]:
    """One for which nothing is announced."""
    with closing(Integrity(size=None, etag="")) as integrity:
        yield integrity


def fed(size: int | None, etag: str, pieces: list[bytes]) -> None:
    """Let pieces arrive, and compare."""
    with closing(Integrity(size=size, etag=etag)) as integrity:
        for piece in pieces:
            integrity.add(memoryview(piece))
        integrity.verify()


def test_what_is_right() -> None:
    """In however many pieces it comes."""
    fed(len(WHOLE), TAG, PIECES)
    fed(len(WHOLE), TAG, [WHOLE])
    fed(None, TAG, PIECES)


@pytest.mark.parametrize(
    ("size", "etag", "pieces"),
    [
        (len(WHOLE), TAG, PIECES[:-1]),
        (len(WHOLE), TAG, [*PIECES, b"x"]),
        (len(WHOLE), TAG, PIECES[::-1]),
        (len(WHOLE) - 1, "", PIECES),
        (1, "", []),
        (None, TAG, []),
    ],
)
def test_what_is_not(size: int | None, etag: str, pieces: list[bytes]) -> None:
    """Too little, too much, in another order; each says what to do."""
    with pytest.raises(DownloadCorrupt) as caught:
        fed(size, etag, pieces)
    assert caught.value.advice == "Run the command again."


@pytest.mark.parametrize("etag", ["", '"tag"', f"W/{TAG}", TAG.strip('"'), TAG.upper(), f"{TAG}\n"])
def test_tags_that_are_no_digest_are_compared_with_nothing(etag: str) -> None:
    """Then the length alone counts."""
    with closing(Integrity(size=3, etag=etag)) as integrity:
        assert not integrity.is_digested
        integrity.add(b"abc")
        integrity.verify()


def test_a_piece_may_be_reused_once_it_is_settled() -> None:
    """The digest is of what was in it until then."""
    with closing(Integrity(size=None, etag=f'"{sha256(b"onetwo").hexdigest()}"')) as integrity:
        memory = bytearray(b"one")
        integrity.add(memoryview(memory))
        integrity.settle()
        memory[:] = b"two"
        integrity.add(memoryview(memory))
        integrity.verify()


def test_closing_twice_is_nothing(nothing: Integrity) -> None:
    """Whoever gives up a download may do so at any time."""
    nothing.close()
    nothing.verify()
