"""Files that are put in place of others, and what is removed."""

import errno
import os
from pathlib import Path

import pytest

from cachew.plumbing.diskspace import put_in_place, remove, room_to_grow
from tests.fakes.systemlimits import largest_file


def test_a_file_is_put_in_place_of_whatever_lies_there(tmp_path: Path) -> None:
    """Of nothing, of a file, of a directory, and with a directory where it is written first."""
    path = tmp_path / "file"
    for content in (b"1", b"2"):
        put_in_place(path, content)
        assert path.read_bytes() == content
    path.unlink()
    for directory in (path / "deep", tmp_path / "file.new"):
        directory.mkdir(parents=True)
    put_in_place(path, b"3")
    assert path.read_bytes() == b"3" and os.listdir(tmp_path) == ["file"]


def test_what_can_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    """The file is as it was."""
    path = tmp_path / "file"
    put_in_place(path, b"before")
    with largest_file(10), pytest.raises(OSError, match="too large"):
        put_in_place(path, b"a" * 20, aside=".lock")
    assert path.read_bytes() == b"before" and os.listdir(tmp_path) == ["file"]


def test_whatever_lies_there_is_removed(tmp_path: Path) -> None:
    """A file, a directory, a link to one, nothing."""
    (tmp_path / "directory" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "directory")
    (tmp_path / "file").touch()
    for name in ("link", "file", "none"):
        remove(tmp_path / name)
    assert os.listdir(tmp_path) == ["directory"]
    remove(tmp_path / "directory")
    assert os.listdir(tmp_path) == []


def test_what_grows_leaves_so_much(tmp_path: Path) -> None:
    """What was begun with less left may take a little all the same."""
    megabyte, left = 1 << 20, [0]
    for began, now, may in [(900, 500, True), (900, 499, False), (400, 340, True), (400, 330, False), (400, 900, True)]:
        left[0] = began * megabyte
        has_room = room_to_grow(tmp_path, 500 * megabyte, free=lambda directory: left[0])
        left[0] = now * megabyte
        assert has_room() is may, (began, now)
    assert room_to_grow(tmp_path, 0, free=lambda directory: 0)()


def test_what_cannot_be_looked_at_stops_nothing(tmp_path: Path) -> None:
    """A disk that fails says so to who writes there; a look at its room must not fail in his stead."""

    def free(directory: Path) -> int:
        raise OSError(errno.EIO, "Input/output error")

    assert room_to_grow(tmp_path, 500, free=free)()
