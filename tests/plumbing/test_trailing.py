"""Files that end in their own digest, however they come."""

import hashlib

import pytest

from cachew.plumbing.trailing import TrailingDigest

CONTENT = bytes(range(256)) * 3
FILE = CONTENT + hashlib.sha1(CONTENT).digest()


@pytest.mark.parametrize("step", [1, 7, 19, 20, 21, 100, len(FILE)])
def test_a_sound_file_is_sound_in_whatever_pieces(step: int) -> None:
    """Pieces shorter than the digest, as long and longer."""
    digest = TrailingDigest(hashlib.sha1())
    for start in range(0, len(FILE), step):
        digest.update(FILE[start : start + step])
    assert digest.holds()


@pytest.mark.parametrize(
    "damaged", [b"", FILE[:-1], FILE + b"x", b"x" + FILE[1:], FILE[:-1] + b"\0", hashlib.sha1(b"other").digest()]
)
def test_damage_is_noticed(damaged: bytes) -> None:
    """Cut, longer, or other bytes anywhere."""
    digest = TrailingDigest(hashlib.sha1())
    digest.update(damaged)
    assert not digest.holds()
