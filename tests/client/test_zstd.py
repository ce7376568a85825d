"""Zstandard by the library and by the program: the same content, the same refusals."""

import io
import os

import pytest
import zstandard

from cachew.client import zstd
from cachew.client.clienterrors import ArchiveBroken

CONTENT = b"content " * 10_000 + os.urandom(5_000)


def test_the_program_reads_what_the_library_writes_and_back() -> None:
    """A frame is a frame, whoever makes it; its size is checked."""
    frame = zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT)
    assert b"".join(zstd.by_program(io.BytesIO(frame), len(CONTENT) + 1)) == CONTENT
    assert b"".join(zstd.by_program(io.BytesIO(frame + frame), None)) == CONTENT * 2
    made = zstd.deflated_by_program(CONTENT, level=3)
    assert zstd.inflate(made, size=len(CONTENT)) == CONTENT
    assert zstandard.frame_content_size(made) == len(CONTENT)


@pytest.mark.parametrize(
    "spoil", [lambda frame: frame[:-9], lambda frame: frame[:50] + bytes([frame[50] ^ 1]) + frame[51:], lambda _: b"no"]
)
def test_damage_is_noticed(spoil: object) -> None:
    """By both of them."""
    assert callable(spoil)
    frame = spoil(zstandard.ZstdCompressor(write_checksum=True).compress(CONTENT))
    with pytest.raises(ArchiveBroken):
        b"".join(zstd.by_program(io.BytesIO(frame), None))
    with pytest.raises(ArchiveBroken):
        zstd.inflate(frame, size=len(CONTENT))


def test_no_more_than_announced() -> None:
    """A frame that holds more than was said is refused, however much more."""
    frame = zstandard.ZstdCompressor().compress(bytes(10**7))
    with pytest.raises(ArchiveBroken):
        zstd.inflate_into(memoryview(frame), memoryview(bytearray(100)))
    assert len(b"".join(zstd.by_program(io.BytesIO(frame), 101))) == 101
