"""What is written down of names by changes."""

from pathlib import Path

import pytest
import pytest_twisted

from cachew.plumbing.journal import Journal
from tests.fakes.inlinethreads import InlineThreads


def _journal(path: Path) -> Journal[int]:
    return Journal(path=path, in_thread=InlineThreads(), read=int, write=str, lost="nothing is known")


@pytest_twisted.ensureDeferred
async def test_a_name_is_known_by_its_last_line(tmp_path: Path) -> None:
    """And not at all after a line that says nothing of it; the file is as short as it can be after a start."""
    journal = _journal(tmp_path / "deep" / "file")
    for name, value in (("a", 1), ("b", 2), ("a", 3), ("b", None), ("c", 4)):
        await journal.note(name, value)
    assert await _journal(tmp_path / "deep" / "file").load() == {"a": 3, "c": 4}
    assert (tmp_path / "deep" / "file").read_bytes() == b'["a", "3"]\n["c", "4"]\n'


@pytest_twisted.ensureDeferred
async def test_a_line_that_a_crash_has_cut_off_is_nobodys(tmp_path: Path) -> None:
    """What was not on the disk when the server ended was relied on by nobody."""
    (tmp_path / "file").write_bytes(b'["a", "1"]\n["b", "2')
    assert await _journal(tmp_path / "file").load() == {"a": 1}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("line", [b"{", b"[]", b"1", b'["a", "x"]', b'[1, "1"]', b"\xff", b"[" * 100_000])
async def test_a_line_that_cannot_be_read_may_have_been_about_any_name(tmp_path: Path, line: bytes) -> None:
    """So nothing is known, and the log says what that means."""
    (tmp_path / "file").write_bytes(b'["a", "1"]\n' + line + b"\n")
    assert await _journal(tmp_path / "file").load() == {}
    assert (tmp_path / "file").read_bytes() == b""


@pytest_twisted.ensureDeferred
async def test_a_directory_in_its_place_is_set_aside(tmp_path: Path) -> None:
    """Under a running server and before a start."""
    journal = _journal(tmp_path / "file")
    await journal.note("a", 1)
    (tmp_path / "file").unlink()
    (tmp_path / "file").mkdir()
    await journal.note("b", 2)
    assert await journal.load() == {"b": 2}
    (tmp_path / "file").unlink()
    (tmp_path / "file").mkdir()
    assert await journal.load() == {}
    await journal.note("c", 3)
    assert await journal.load() == {"c": 3}
