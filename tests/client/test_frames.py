"""zstd frames and their decompression."""

import os
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cachew.client import frames
from cachew.client.clienterrors import ArchiveBroken
from cachew.client.decompress import decompressed
from tests.fakes.archives import framed

CONTENT = os.urandom(150_000) + b"a" * 400_000


def cut(data: bytes, step: int) -> Iterator[bytes]:
    """Yield pieces of one size."""
    for start in range(0, len(data), step):
        yield data[start : start + step]


def inflate(data: bytes, step: int = 10_000) -> bytes:
    """Decompress with two threads."""
    return b"".join(decompressed(cut(data, step), threads=2))


def test_splits_frames_with_sizes() -> None:
    """Frames with a recorded size come whole, the seek table is left out."""
    found = list(frames.split(cut(framed(CONTENT, frame=100_000), 7)))
    assert [frame.content_size for frame in found if isinstance(frame, frames.WholeFrame)] == [100_000] * 5 + [50_000]


@pytest.mark.parametrize("step", [1, 13, 65_536, 10**9])
def test_decompresses_in_order(step: int) -> None:
    """However the stream is cut, the content comes in order."""
    content = CONTENT if step > 1 else CONTENT[:5000]
    assert inflate(framed(content, frame=1000), step) == content


def test_decompresses_frames_without_size() -> None:
    """A frame of unknown size is streamed, also between others and with a checksum."""
    streamer = zstandard.ZstdCompressor(write_checksum=True).compressobj()
    streamed = streamer.compress(CONTENT) + streamer.flush()
    assert inflate(framed(b"before") + streamed + framed(b"after")) == b"before" + CONTENT + b"after"


def test_streams_great_frames() -> None:
    """A frame with great content is never handed out whole."""
    content = bytes(frames.WHOLE_LIMIT + 1)
    frame = next(frames.split([zstandard.compress(content)]))
    assert isinstance(frame, frames.StreamedFrame)
    assert inflate(zstandard.compress(content)) == content


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=6), st.integers(1, 500))
def test_any_frames(contents: list[bytes], step: int) -> None:
    """Any sequence of frames gives what was compressed."""
    assert inflate(b"".join(zstandard.compress(content) for content in contents), step) == b"".join(contents)


@pytest.mark.parametrize("keep", [1, 5, 20, 60_000, -5])
def test_notices_a_cut_stream(keep: int) -> None:
    """A stream that ends within a frame is broken, wherever it is cut."""
    with pytest.raises(ArchiveBroken):
        inflate(framed(CONTENT)[:keep])


@pytest.mark.parametrize(
    "data",
    [
        b"<html>not an archive</html>",
        b"\x28\xb5\x2f\xfd\x21" + bytes(20),  # needs a dictionary
        b"\x28\xb5\x2f\xfd\x20\x05\x07\x00\x00" + bytes(20),  # a block of the reserved type
        b"\x28\xb5\x2f\xfd\x20\x05\x01\x00\x40" + bytes(300_000),  # a block that is too large
        zstandard.compress(CONTENT)[:-40] + bytes(40),
    ],
)
def test_refuses_what_is_broken(data: bytes) -> None:
    """What is not zstd, or damaged, is refused."""
    with pytest.raises(ArchiveBroken):
        inflate(data)


def test_refuses_a_frame_that_is_longer_than_its_content() -> None:
    """A small content size does not make the client collect an endless frame."""
    block = (131072 << 3).to_bytes(3, "little") + bytes(131072)
    with pytest.raises(ArchiveBroken):
        inflate(b"\x28\xb5\x2f\xfd\x20\x05" + block * 4)
