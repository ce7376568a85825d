"""What is looked at of a repository before anything is put into it: files alone."""

import os
from pathlib import Path

import pytest

from cachew.client.gitdir import GitDirectory

OID = "a" * 40


def made(root: Path) -> Path:
    """Make what ``git init`` leaves."""
    directory = root / "new/.git"
    for name in ("objects/pack", "objects/info", "refs/heads", "refs/tags"):
        (directory / name).mkdir(parents=True)
    (directory / "HEAD").write_text("ref: refs/heads/main\n")
    return directory


def looked(directory: Path) -> GitDirectory:
    """Look at it."""
    return GitDirectory(os.fsencode(directory))


def test_what_git_has_just_made_is_empty(tmp_path: Path) -> None:
    """Directories without files are nothing, and neither is a header in packed-refs."""
    directory = made(tmp_path)
    assert looked(directory).is_empty()
    (directory / "packed-refs").write_text("# pack-refs with: peeled fully-peeled sorted \n")
    (directory / "objects/pack/tmp_pack_x").touch()
    assert looked(directory).is_empty()


@pytest.mark.parametrize(
    "name",
    [
        f"objects/aa/{OID[2:]}",
        f"objects/pack/pack-{OID}.pack",
        f"objects/pack/pack-{OID}.idx",
        "objects/info/alternates",
        "refs/heads/main",
        "refs/remotes/origin/main",
    ],
)
def test_whatever_it_has_of_its_own_is_not_overwritten(tmp_path: Path, name: str) -> None:
    """An object, loose or packed, one that is borrowed, or a ref."""
    directory = made(tmp_path)
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    assert not looked(directory).is_empty()


def test_a_packed_ref_is_one(tmp_path: Path) -> None:
    """Also behind a header."""
    directory = made(tmp_path)
    (directory / "packed-refs").write_text(f"# pack-refs with: sorted \n{OID} refs/heads/main\n")
    assert not looked(directory).is_empty()


def test_what_is_no_repository_is_not_empty(tmp_path: Path) -> None:
    """Nothing is put where git has no place for objects."""
    assert not looked(tmp_path).is_empty() and not looked(tmp_path / "nowhere").is_empty()


@pytest.mark.parametrize("absolute", [True, False])
def test_a_linked_work_tree_shares_another_ones(tmp_path: Path, absolute: bool) -> None:
    """Objects, refs and config are looked for in the directory that it names."""
    directory = made(tmp_path)
    linked = directory / "worktrees/other"
    linked.mkdir(parents=True)
    (linked / "commondir").write_text(f"{directory}\n" if absolute else "../..\n")
    (directory / "config").write_text("shared")
    found = looked(linked)
    assert (found.common, found.config()) == (os.fsencode(directory), b"shared") and found.is_empty()
    (directory / "refs/heads/main").write_text(OID)
    assert not found.is_empty()


def test_refs_that_are_kept_otherwise(tmp_path: Path) -> None:
    """A reftable is noticed."""
    directory = made(tmp_path)
    assert not looked(directory).has_reftable
    (directory / "reftable").mkdir()
    assert looked(directory).has_reftable


def test_a_reftable_that_is_yet_to_come(tmp_path: Path) -> None:
    """A clone has it in its config before it has it."""
    directory = made(tmp_path)
    (directory / "config").write_text("[extensions]\n\trefStorage = reftable\n")
    assert looked(directory).has_reftable


def test_without_a_working_tree(tmp_path: Path) -> None:
    """As git writes it down."""
    directory = made(tmp_path)
    (directory / "config").write_text("[core]\n\tbare = false\n")
    assert not looked(directory).is_bare
    (directory / "config").write_text("[core]\n\tbare = true\n")
    assert looked(directory).is_bare


@pytest.mark.parametrize(
    ("config", "lacks"),
    [
        ('[remote "origin"]\n\turl = x\n', True),
        ('[remote "origin"]\n\turl = x\n\tlfsurl = y\n', False),
        ('[lfs]\n\tURL = z\n[remote "origin"]\n\tLfsUrl = y\n', False),
        ('[remote "origin"]\n\turl = x\n\tlfsurl = http://h/git/g/new/info/lfs\n', False),
        ('[remote "origin"]\n\turl = x\n\tlfsurl = http://h/git/g/old/info/lfs\n', True),
        ('[remote "origin"]\n\turl = x\n\tlfsurl = http://other/git/g/old/info/lfs\n', False),
        ('[remote "other"]\n\turl = x\n', False),
        ("", False),
    ],
)
def test_whether_lfs_may_need_an_address(tmp_path: Path, config: str, lacks: bool) -> None:
    """Where the config has the remote and no address in whatever case; without a config there is no remote."""
    directory = made(tmp_path)
    if config:
        (directory / "config").write_text(config)
    assert looked(directory).lacks_lfs_address(b"origin", b"http://h/git/g/new") is lacks
