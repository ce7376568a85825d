"""Request bodies, inflated as they come."""

import gzip
from collections.abc import Sequence

import pytest
from twisted.internet.defer import Deferred

from cachew.http.inflating import copy_inflated
from cachew.plumbing.errors import BadRequest, TooLarge, UnsupportedEncoding
from cachew.plumbing.streams import PIECE, PushSource
from tests.fakes.settled import failure_of, value_of

LIMIT = 10 * 1024 * 1024
WANTS = b"".join(b"0032want %040x\n" % (number * 0x9E3779B97F4A7C15) for number in range(40_000))


async def inflated(source: PushSource, encoding: str | None, limit: int) -> bytes:
    """Return what a body says."""
    pieces: list[bytes] = []
    await copy_inflated(source, pieces.append, encoding=encoding, limit=limit)
    return b"".join(pieces)


def reading(pieces: Sequence[bytes], encoding: str | None, limit: int) -> Deferred[bytes]:
    """Read a body that arrives in these pieces."""
    source = PushSource()
    for piece in pieces:
        source.data(piece)
    source.finish()
    result = Deferred.fromCoroutine(inflated(source, encoding, limit))
    assert source.closed
    return result


def inflate(pieces: Sequence[bytes], encoding: str | None = "gzip", limit: int = LIMIT) -> bytes:
    return value_of(reading(pieces, encoding, limit))


def refusal_of(pieces: Sequence[bytes], encoding: str | None = "gzip", limit: int = LIMIT) -> type:
    """Return how reading such a body fails."""
    return type(failure_of(reading(pieces, encoding, limit)))


@pytest.mark.parametrize("size", [1000, 65_536, PIECE])
def test_gzip_in_pieces(size: int) -> None:
    """A request of git's comes out as it went in, however it is cut."""
    packed = gzip.compress(WANTS)
    assert inflate([packed[start : start + size] for start in range(0, len(packed), size)]) == WANTS
    assert inflate([packed], "X-Gzip ") == WANTS


def test_plain() -> None:
    """Without an encoding the body is what came."""
    assert inflate([b"a", b"b"], None) == inflate([b"ab"], "identity") == inflate([b"ab"], "") == b"ab"


def test_bombs() -> None:
    """What inflates beyond the limit, or more than a request can, is refused before it is all there."""
    bomb = gzip.compress(bytes(50 * 1024 * 1024))
    assert refusal_of([bomb]) is TooLarge
    assert refusal_of([bomb], limit=1024**3) is TooLarge
    assert refusal_of([b"x" * 11], None, limit=10) is TooLarge


@pytest.mark.parametrize("together", [True, False])
def test_more_after_the_end(together: bool) -> None:
    """What follows the gzip data is refused, whether it comes with its end or later."""
    packed = gzip.compress(b"body")
    assert refusal_of([packed + b"more"] if together else [packed, b"more"]) is BadRequest


def test_an_unknown_encoding() -> None:
    """What can't be decoded is refused before it is read."""
    failed = Deferred.fromCoroutine(inflated(PushSource(), "br", LIMIT))
    assert isinstance(failure_of(failed), UnsupportedEncoding)


def test_broken_data() -> None:
    """Data that breaks off or is no gzip is refused."""
    assert refusal_of([gzip.compress(WANTS)[:-9]]) is BadRequest
    assert refusal_of([b"no gzip at all"]) is BadRequest
