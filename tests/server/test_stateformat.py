"""A state directory says in which form it is written."""

from pathlib import Path

import pytest
from twisted.logger import capturedLogs

from cachew.server.stateformat import FORMAT, MARK, StateFormat, StateTooNew, check_format, mark_format, read_format


def test_what_is_marked_is_known(tmp_path: Path) -> None:
    """The mark is read back, and a directory without one is no reason to refuse it."""
    check_format(tmp_path)
    mark_format(tmp_path, "1.2.3+dirty")
    assert read_format(tmp_path) == StateFormat(FORMAT, "1.2.3+dirty")
    check_format(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [MARK]


def test_a_later_form_is_refused_in_a_clear_line(tmp_path: Path) -> None:
    """The line names the directory, who wrote it, and what to do; the mark stays."""
    later = StateFormat(FORMAT + 1, "9.8.7")
    (tmp_path / MARK).write_text(later.text())
    with pytest.raises(StateTooNew) as refused:
        check_format(tmp_path)
    assert all(word in str(refused.value) for word in (str(tmp_path), "9.8.7", "move the directory away"))
    assert read_format(tmp_path) == later


@pytest.mark.parametrize("at", range(0, 60, 3))
def test_a_damaged_mark_says_nothing(tmp_path: Path, at: int) -> None:
    """Whichever byte is another, no server is kept from its state; the mark is written anew."""
    text = bytearray(StateFormat(FORMAT + 1, "9.8.7").text().encode())
    text[at] ^= 1
    (tmp_path / MARK).write_bytes(bytes(text))
    check_format(tmp_path)
    mark_format(tmp_path, "1")
    assert read_format(tmp_path) == StateFormat(FORMAT, "1")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"x" * 100_000])
def test_a_mark_that_is_none_says_nothing(tmp_path: Path, content: bytes) -> None:
    """Nor does anything else in its place."""
    (tmp_path / MARK).write_bytes(content)
    check_format(tmp_path)
    mark_format(tmp_path, "1")
    assert read_format(tmp_path) == StateFormat(FORMAT, "1")


def test_a_directory_in_its_place_is_replaced(tmp_path: Path) -> None:
    """An empty one; another is left alone, and told of."""
    (tmp_path / MARK).mkdir()
    check_format(tmp_path)
    mark_format(tmp_path, "1")
    assert read_format(tmp_path) == StateFormat(FORMAT, "1")
    (tmp_path / MARK).unlink()
    (tmp_path / MARK / "something").mkdir(parents=True)
    with capturedLogs() as logs:
        mark_format(tmp_path, "1")
    assert len(logs) == 1 and (tmp_path / MARK / "something").is_dir()
