"""Frames and their table."""

import io
import os

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing import tarzst
from cachew.plumbing.tarzst import BadSeekTable, Frame, FramePart
from cachew.plumbing.workspace import Workspace


def read_whole(data: bytes) -> bytes:
    """Decompress as any zstd would, ignorant of the table."""
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()


def archive(*contents: bytes) -> bytes:
    """Make an archive of one frame for each content."""
    frames = [frame_of(content) for content in contents]
    table = tarzst.encode_table([(len(frame), len(content)) for frame, content in zip(frames, contents, strict=True)])
    return b"".join(frames) + table


def frame_of(content: bytes) -> bytes:
    """Make a frame."""
    workspace = Workspace(len(content))
    workspace.compress([content], tarzst.LEVEL)
    return b"".join(workspace.frame())


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_the_table_leads_to_every_frame(contents: list[bytes]) -> None:
    """Each frame that the table names decompresses alone to its part of the content."""
    whole = archive(*contents)
    length = tarzst.table_length(whole[-tarzst.FOOTER_SIZE :])
    assert length is not None
    frames = tarzst.decode_table(whole[-length:])
    parts = [tarzst.decompress(whole[f.offset : f.offset + f.length], f.size) for f in frames]
    assert parts == contents
    assert [f.start for f in frames] == [sum(map(len, contents[:n])) for n in range(len(contents))]
    assert sum(f.length for f in frames) + length == len(whole)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20))
def test_any_zstd_reads_the_archive_as_one_stream(contents: list[bytes]) -> None:
    """The table is invisible to a reader that doesn't know it."""
    assert read_whole(archive(*contents)) == b"".join(contents)


@given(st.binary(max_size=64))
def test_what_has_no_table_is_recognised(tail: bytes) -> None:
    """Bytes that end in no footer have no table, and bytes that claim one and have none are refused."""
    length = tarzst.table_length(tail)
    if length is not None:
        with pytest.raises(BadSeekTable):
            tarzst.decode_table(tail[: length - 1])


def test_a_table_with_checksums_is_read() -> None:
    """Other writers add four bytes of checksum to each entry, which are skipped."""
    body = b"".join(n.to_bytes(4, "little") for n in (10, 20, 99, 11, 21, 98))
    body += (2).to_bytes(4, "little") + b"\x80" + 0x8F92EAB1.to_bytes(4, "little")
    table = 0x184D2A5E.to_bytes(4, "little") + len(body).to_bytes(4, "little") + body
    assert tarzst.decode_table(table) == (Frame(0, 10, 0, 20), Frame(10, 11, 20, 21))


@pytest.mark.parametrize("at", [0, 4, 5, 9])
def test_a_damaged_table_is_refused(at: int) -> None:
    """A table whose magic number, length or count is wrong is no table."""
    table = bytearray(tarzst.encode_table([(5, 6), (7, 8)]))
    table[at if at < 8 else len(table) - at] ^= 1
    with pytest.raises(BadSeekTable):
        tarzst.decode_table(bytes(table))


def test_a_frame_of_another_size_than_announced_is_refused() -> None:
    """No memory is taken for a frame that says something else than the table."""
    data = frame_of(b"x" * 1000)
    with pytest.raises(ValueError, match="differs"):
        tarzst.decompress(data, 999)


@pytest.mark.parametrize("change", ["cut", "flip"])
def test_a_broken_frame_is_refused(change: str) -> None:
    """A frame that was cut or changed never gives content."""
    data = frame_of(os.urandom(1000))
    broken = data[:-1] if change == "cut" else data[:500] + bytes([data[500] ^ 1]) + data[501:]
    with pytest.raises(ValueError, match="decompress"):
        tarzst.decompress(broken, 1000)


@given(st.lists(st.integers(0, 50), max_size=12), st.integers(1, 40))
def test_segments_are_cut_into_frames_of_one_size(sizes: list[int], limit: int) -> None:
    """Every frame but the last is full, and together they are the stream."""
    whole = [bytes([n]) * size for n, size in enumerate(sizes)]
    frames = list(tarzst.into_frames(whole, limit))
    parts = [part for frame in frames for part in frame if not isinstance(part, FramePart)]
    assert b"".join(parts) == b"".join(whole)
    assert all(sum(map(tarzst.segment_size, frame)) == limit for frame in frames[:-1])
