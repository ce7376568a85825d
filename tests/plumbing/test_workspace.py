"""Frames made one after another in the same memory."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from cachew.plumbing import tarzst
from cachew.plumbing.tarzst import FramePart, Segment
from cachew.plumbing.workspace import Workspace

SIZE = 700_000


def made(workspace: Workspace, segments: Sequence[Segment], level: int = tarzst.LEVEL) -> bytes:
    """Make a frame and return its content as a reader gets it, who checks what the frame says of itself."""
    workspace.compress(segments, level)
    frame = b"".join(workspace.frame())
    assert len(frame) == workspace.length
    parameters = zstandard.get_frame_parameters(frame)
    assert parameters.has_checksum and parameters.content_size == workspace.size
    return tarzst.decompress(frame, workspace.size)


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=200), st.sampled_from([-1, 3])), max_size=8))
def test_one_after_another(contents: list[tuple[bytes, int]]) -> None:
    """Whatever was in it before, and at whichever level, a frame holds what was put in since."""
    workspace = Workspace(200)
    for content, level in contents:
        workspace.clear()
        assert workspace.room == 200
        half = len(content) // 2
        workspace.put(content[:half])
        assert workspace.room == 200 - half
        assert made(workspace, [content[half:]], level) == content


@pytest.mark.parametrize("level", [tarzst.LEVEL, tarzst.PACKED_LEVEL])
def test_what_does_not_compress(level: int) -> None:
    """There is room for a frame that is longer than its content."""
    data = os.urandom(SIZE)
    workspace = Workspace(SIZE)
    assert made(workspace, [data], level) == data
    assert workspace.length > SIZE


def test_files_and_bytes_make_one_frame(tmp_path: Path) -> None:
    """A frame takes parts of files as they are on disk, and records its content's size."""
    data = os.urandom(SIZE)
    (tmp_path / "file").write_bytes(data)
    content = b"head" + data[100:600_100] + b"tail"
    assert made(Workspace(SIZE), [b"head", FramePart(tmp_path / "file", 100, 600_000), b"tail"]) == content


def test_a_file_that_shrank_fails_the_frame(tmp_path: Path) -> None:
    """A frame never ends early without saying so."""
    (tmp_path / "file").write_bytes(b"short")
    with pytest.raises(EOFError):
        Workspace(SIZE).compress([FramePart(tmp_path / "file", 0, 6)], 1)


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """What was a file when it was listed and is a link now is not read."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic links"):
        Workspace(SIZE).compress([FramePart(tmp_path / "link", 0, 6)], 1)
