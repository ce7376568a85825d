"""Many refs, written into ``packed-refs`` in one go."""

import os
from pathlib import Path

import pytest

from cachew.mirrors import packedrefs

A, B, C = ("a" * 40, "b" * 40, "c" * 40)
PEELED, SORTED = "# pack-refs with: peeled fully-peeled sorted \n", "# pack-refs with: sorted \n"


def packed(path: Path, content: str) -> Path:
    """Write the file of a repository."""
    (path / "packed-refs").write_text(content)
    return path


def content(path: Path) -> str:
    """Return it, after nothing else was left."""
    assert not (path / "packed-refs.lock").exists()
    return (path / "packed-refs").read_text()


def test_a_repository_that_has_none(tmp_path: Path) -> None:
    """The refs are sorted by their bytes, annotated tags with what they lead to."""
    refs = {"refs/tags/v1": A, "refs/heads/b": B, "refs/heads/a-b": C, "refs/heads/a/b": C}
    assert packedrefs.rewrite(tmp_path, refs, {A: B}) == set(refs)
    lines = f"{C} refs/heads/a-b\n{C} refs/heads/a/b\n{B} refs/heads/b\n{A} refs/tags/v1\n^{B}\n"
    assert content(tmp_path) == PEELED + lines


def test_others_stay_and_what_moves_loses_what_it_led_to(tmp_path: Path) -> None:
    """A tag that is a commit now leads nowhere else; what is deleted goes with what it led to."""
    packed(tmp_path, f"{PEELED}{A} refs/tags/gone\n^{B}\n{A} refs/tags/moves\n^{B}\n{A} refs/tags/stays\n^{B}\n")
    done = packedrefs.rewrite(tmp_path, {"refs/tags/moves": C}, {}, deletions=["refs/tags/gone", "refs/tags/never"])
    assert done == {"refs/tags/moves", "refs/tags/gone", "refs/tags/never"}
    assert content(tmp_path) == f"{PEELED}{C} refs/tags/moves\n{A} refs/tags/stays\n^{B}\n"


def test_loose_refs_are_left_to_git(tmp_path: Path) -> None:
    """git reads them first, so writing or deleting beside them would do nothing; a left directory is no ref."""
    packed(tmp_path, f"{PEELED}{A} refs/heads/deleted\n{A} refs/heads/moved\n")
    (tmp_path / "refs/heads/empty").mkdir(parents=True)
    for name in ("moved", "deleted"):
        (tmp_path / "refs/heads" / name).write_text(f"{A}\n")
    refs = {"refs/heads/moved": B, "refs/heads/empty": B}
    assert packedrefs.rewrite(tmp_path, refs, {}, deletions=["refs/heads/deleted"]) == {"refs/heads/empty"}
    assert content(tmp_path) == f"{PEELED}{A} refs/heads/deleted\n{B} refs/heads/empty\n{A} refs/heads/moved\n"


@pytest.mark.parametrize("header", ["", "# pack-refs with: peeled \n", SORTED])
def test_a_file_that_does_not_tell_what_every_tag_leads_to(tmp_path: Path, header: str) -> None:
    """It goes on telling only what it told: git looks for itself then."""
    packed(tmp_path, f"{header}{A} refs/tags/v1\n")
    packedrefs.rewrite(tmp_path, {"refs/heads/main": B}, {})
    assert content(tmp_path) == f"{SORTED}{B} refs/heads/main\n{A} refs/tags/v1\n"


def test_names_are_any_bytes_but_a_newline(tmp_path: Path) -> None:
    """Also what ends a line for others, and what is no UTF-8."""
    odd = ["refs/heads/a\u2028b", "refs/heads/\x85", os.fsdecode(b"refs/heads/\xff\xfe")]
    packedrefs.rewrite(tmp_path, dict.fromkeys(odd, A), {})
    packedrefs.rewrite(tmp_path, {"refs/heads/main": B}, {}, deletions=odd[1:])
    assert content(tmp_path) == f"{PEELED}{A} refs/heads/a\u2028b\n{B} refs/heads/main\n"


@pytest.mark.parametrize("head", [f"^{B}\n", f"{PEELED}^{B}\n", f"{PEELED}{A} refs/tags/a\n^{B}\n^{C}\n"])
def test_what_leads_from_no_tag_is_not_written_again(tmp_path: Path, head: str) -> None:
    """git would refuse the whole repository for it."""
    packed(tmp_path, f"{head}{A} refs/tags/b\n^{B}\n")
    packedrefs.rewrite(tmp_path, {"refs/heads/main": B, "refs/tags/a": A}, {A: B})
    expected = f"{B} refs/heads/main\n{A} refs/tags/a\n^{B}\n{A} refs/tags/b\n^{B}\n"
    assert content(tmp_path).partition("\n")[2] == expected


def test_another_process_has_the_lock(tmp_path: Path) -> None:
    """Nothing is done, and its lock stays."""
    (packed(tmp_path, PEELED) / "packed-refs.lock").write_text("another's")
    assert packedrefs.rewrite(tmp_path, {"refs/heads/main": A}, {}) == set()
    assert (tmp_path / "packed-refs").read_text() == PEELED
    assert (tmp_path / "packed-refs.lock").read_text() == "another's"


def test_a_disk_that_fails(tmp_path: Path) -> None:
    """It is told; nothing is changed, and no lock is left in git's way."""
    (tmp_path / "packed-refs").mkdir()
    with pytest.raises(OSError, match="packed-refs"):
        packedrefs.rewrite(tmp_path, {"refs/heads/main": A}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["packed-refs"]
