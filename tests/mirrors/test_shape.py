"""What git would refuse a whole repository for."""

from pathlib import Path

import pytest

from cachew.mirrors.shape import misshapen
from tests.fakes.repositoryform import CONFIG, repository

A, B = "a" * 40, "b" * 40
HEADER = "# pack-refs with: peeled fully-peeled sorted \n"


def found(path: Path, digits: int = 40) -> list[str]:
    """Return what is misshapen."""
    return sorted(misshapen(path, config=CONFIG, digits=digits))


@pytest.mark.parametrize(
    "packed",
    [
        None, "", HEADER, f"{A} refs/heads/a\n", f"{HEADER}{A} refs/heads/a\n^{B}\n{B} refs/heads/\u2028\n",
    ],
)  # fmt: skip
def test_what_git_takes(tmp_path: Path, packed: str | None) -> None:
    """Nothing is said of it, and a ref's lock is no ref."""
    path = repository(tmp_path)
    if packed is not None:
        (path / "packed-refs").write_text(packed)
    for name, content in {"main": f"{A}\n", "bare": A, "link": "ref: refs/heads/main\n", "x.lock": ""}.items():
        (path / "refs/heads" / name).write_text(content)
    assert found(path) == []
    (path / "HEAD").write_text(f"{A}\n")
    assert found(path) == []


@pytest.mark.parametrize(
    "packed",
    [
        f"{HEADER}{A} refs/heads/a", f"{A}refs/heads/a\n", f"{A} refs/heads/a\n\n", f"{A[1:]} refs/heads/a\n",
        f"{A.upper()} refs/heads/a\n", f"{'0' * 40} refs/heads/a\n", f"{A} heads/a\n", "\0" * 50, f"{A} refs/heads/a\0",
        f"^{A}\n{A} refs/heads/a\n", f"{HEADER}^{A}\n", f"{A} refs/tags/a\n^{B}\n^{B}\n",
        f"{HEADER}{HEADER}{A} refs/heads/a\n", f"{A} refs/heads/a\n{HEADER}", "# something else\n",
    ],
)  # fmt: skip
def test_packed_refs_that_git_refuses(tmp_path: Path, packed: str) -> None:
    """Each wrong line, and each line in a wrong place."""
    (repository(tmp_path) / "packed-refs").write_text(packed)
    assert found(tmp_path) == ["packed-refs"]


@pytest.mark.parametrize("head", ["", "\0" * 41, "ref: heads/main\n", f"{A[1:]}\n", "0" * 40, "ref: refs/heads/a\nb\n"])
def test_a_head_that_git_refuses(tmp_path: Path, head: str) -> None:
    """It is told by its name; so is one that is not there."""
    (repository(tmp_path) / "HEAD").write_text(head)
    assert found(tmp_path) == ["HEAD"]
    (tmp_path / "HEAD").unlink()
    assert found(tmp_path) == ["HEAD"]


@pytest.mark.parametrize("content", ["", "\0" * 41, f"{A[1:]}\n", "ref: elsewhere\n", "0" * 40])
def test_loose_refs_that_git_refuses(tmp_path: Path, content: str) -> None:
    """A power failure leaves empty ones."""
    place = repository(tmp_path) / "refs/heads/deep"
    place.mkdir()
    (place / "main").write_text(content)
    assert found(tmp_path) == ["refs/heads/deep/main"]


def test_what_is_missing_or_is_no_directory(tmp_path: Path) -> None:
    """All of it is told at once."""
    assert found(tmp_path) == ["HEAD", "config", "objects", "objects/pack", "refs"]
    repository(tmp_path / "b")
    (tmp_path / "b/packed-refs").mkdir()
    (tmp_path / "b/objects/pack").rmdir()
    (tmp_path / "b/objects/pack").touch()
    (tmp_path / "b/config").write_text(CONFIG + "[include]\n")
    assert found(tmp_path / "b") == ["config", "objects/pack", "packed-refs"]


def test_object_ids_are_of_the_repositorys_length(tmp_path: Path) -> None:
    """Those of the other hash function name nothing here."""
    (repository(tmp_path) / "refs/heads/main").write_text(f"{A}\n")
    assert found(tmp_path, 64) == ["refs/heads/main"]
    (tmp_path / "refs/heads/main").write_text("a" * 64)
    assert found(tmp_path, 64) == []
