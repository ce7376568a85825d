"""The renewal of an index: git takes the files as unchanged without reading them."""

import os
from pathlib import Path

import pytest

from cachew.client.gitindex import refreshed, regular_files
from tests.fakes.archives import git, make_upstream


def lstat(tree: Path, path: bytes) -> os.stat_result | None:
    """Return what is on disk."""
    try:
        return os.lstat(os.fsencode(tree) + b"/" + path)
    except FileNotFoundError:
        return None


def age(tree: Path) -> None:
    """Give every file another time, as extraction does."""
    for path in tree.rglob("*"):
        if ".git" not in path.parts:
            os.utime(path, (1_500_000_000, 1_500_000_000), follow_symlinks=False)


@pytest.mark.parametrize("version", ["2", "3", "4"])
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_git_finds_nothing_to_rehash(tmp_path: Path, version: str, object_format: str) -> None:
    """After the renewal diff-files, which compares no content, finds every file as the index has it."""
    tree = make_upstream(tmp_path / "repo", object_format=object_format)
    for number in range(40):
        (tree / f"directory{'x' * number}").mkdir()
        (tree / f"directory{'x' * number}/{'n' * (number * 5 + 1)}").write_text(str(number))
    git(tree, "add", "--all")
    if version == "3":
        (tree / "later").write_text("x")
        git(tree, "add", "--intent-to-add", "later")
    git(tree, "update-index", "--index-version", version)
    age(tree)
    assert git(tree, "diff-files", "--name-only") != ""
    index = tree / ".git/index"
    oid_size = 20 if object_format == "sha1" else 32
    index.write_bytes(refreshed(index.read_bytes(), lstat=lambda path: lstat(tree, path), oid_size=oid_size))
    assert git(tree, "diff-files", "--name-only") == ("later" if version == "3" else "")
    assert git(tree, "status", "--short").split("\n") != []


def test_leaves_changed_files_to_git(tmp_path: Path) -> None:
    """Files of another size or type, and missing ones, stay as the index had them."""
    tree = make_upstream(tmp_path / "repo")
    age(tree)
    (tree / "bin/run").chmod(0o644)
    (tree / "src/a name with spaces.txt").write_text("longer than before\n")
    (tree / "empty").unlink()
    index = tree / ".git/index"
    index.write_bytes(refreshed(index.read_bytes(), lstat=lambda path: lstat(tree, path), oid_size=20))
    assert git(tree, "status", "--short").splitlines() == [
        " M bin/run",
        " D empty",
        ' M "src/a name with spaces.txt"',
    ]


@pytest.mark.parametrize("version", ["2", "4"])
def test_tells_of_regular_files(tmp_path: Path, version: str) -> None:
    """With their contents' names and their sizes; links are none."""
    tree = make_upstream(tmp_path / "repo")
    git(tree, "update-index", "--index-version", version)
    index = (tree / ".git/index").read_bytes()[:-20]
    found = {one.path.decode(): (one.oid.hex(), one.size) for one in regular_files(index, oid_size=20)}
    paths = ["bin/run", "empty", "src/a name with spaces.txt"]
    assert found == {path: (git(tree, "rev-parse", f"HEAD:{path}"), (tree / path).stat().st_size) for path in paths}


@pytest.mark.parametrize("index", [b"", b"DIRC", b"DIRC\0\0\0\x02\0\0\0\x05" + bytes(40), b"XXXX" + bytes(60)])
def test_refuses_what_is_no_index(index: bytes) -> None:
    """A damaged index is an error, not a crash."""
    with pytest.raises(ValueError, match="index"):
        refreshed(index, lstat=lambda _: None, oid_size=20)
    with pytest.raises(ValueError, match="index"):
        list(regular_files(index[:-20], oid_size=20))
