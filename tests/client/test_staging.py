"""Staging directories: whole or not there, and no leftovers."""

import subprocess
import sys
from pathlib import Path

import pytest

from cachew.client.clienterrors import BadUsage, ExtractionFailed
from cachew.client.staging import Staging, check_target, has_content, publish, remove_leftovers

KILLED = """
import os, sys
from pathlib import Path
from cachew.client.staging import Staging
staging = Staging(target=Path(sys.argv[1]), within=False).__enter__()
(staging.fresh("tree") / "file").write_text("x")
print("ready", flush=True)
sys.stdin.read()
"""


def names(directory: Path) -> list[str]:
    """Return what is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def test_moves_what_was_made_into_place(tmp_path: Path) -> None:
    """What was made becomes the target, and nothing else stays."""
    target = tmp_path / "new/parents/repo"
    with Staging(target=target, within=False) as staging:
        assert staging.path("x").parent.name.startswith(".repo.cachew-")
        tree = staging.fresh("tree")
        (tree / "file").write_text("x")
        publish(tree, target)
    assert names(target) == ["file"]
    assert names(target.parent) == ["repo"]


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    """Neither staging nor new parent directories survive a failure."""
    with pytest.raises(RuntimeError), Staging(target=tmp_path / "a/b/repo", within=False) as staging:
        (staging.fresh("tree") / "file").write_text("x")
        raise RuntimeError
    assert names(tmp_path) == []


def test_fills_an_empty_directory(tmp_path: Path) -> None:
    """An empty directory that exists is filled and stays the same directory."""
    target = tmp_path / "repo"
    target.mkdir()
    inode = target.stat().st_ino
    assert check_target(target) == target
    with Staging(target=target, within=True) as staging:
        tree = staging.fresh("tree")
        (tree / ".git").mkdir()
        (tree / "file").write_text("x")
        publish(tree, target)
    assert names(target) == [".git", "file"]
    assert target.stat().st_ino == inode


def test_what_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    """A file that appears in the target meanwhile is not overwritten, and the target stays as it was."""
    target = tmp_path / "repo"
    target.mkdir()
    with pytest.raises(ExtractionFailed), Staging(target=target, within=True) as staging:
        tree = staging.fresh("tree")
        (tree / "a").write_text("new")
        (tree / "b").write_text("new")
        (target / "b").write_text("old")
        publish(tree, target)
    assert names(target) == ["b"]
    assert (target / "b").read_text() == "old"


def test_refuses_what_is_there(tmp_path: Path) -> None:
    """A file is no target, and of a directory it is known whether something is in it."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadUsage, match="exists"):
        check_target(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/.empty.cachew-killed").mkdir()
    assert has_content(tmp_path) and not has_content(tmp_path / "empty") and not has_content(tmp_path / "none")


def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    """A killed run's directory goes with the next run for the same target; a living run's stays."""
    target = tmp_path / "repo"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        remove_leftovers(target)
        assert len(names(tmp_path)) == 1
        other.kill()
    remove_leftovers(tmp_path / "another")
    assert len(names(tmp_path)) == 1
    with Staging(target=target, within=False):
        assert len(names(tmp_path)) == 1
    assert names(tmp_path) == []


def test_the_next_run_removes_what_was_not_removed_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is ended while he cleans up leaves what is still known for a leftover."""

    def ended(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "repo"
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", ended)
        with pytest.raises(KeyboardInterrupt), Staging(target=target, within=False) as staging:
            (staging.fresh("tree") / "file").write_text("x")
    assert len(names(tmp_path)) == 1
    remove_leftovers(target)
    assert names(tmp_path) == []


def test_who_is_ended_while_he_begins_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """New parent directories and an empty staging directory go too when there is no time to lock it."""

    def ended(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", ended)
        with pytest.raises(KeyboardInterrupt), Staging(target=tmp_path / "a/b/repo", within=False):
            pass
    assert names(tmp_path) == []


def test_leaves_strangers_alone(tmp_path: Path) -> None:
    """A directory that only looks like staging and holds no lock is not removed."""
    stranger = tmp_path / ".repo.cachew-mine"
    stranger.mkdir()
    (stranger / "precious").write_text("x")
    remove_leftovers(tmp_path / "repo")
    assert names(stranger) == ["precious"]


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    """A place that cannot be written to is named."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExtractionFailed, match="cannot write to"), Staging(target=tmp_path / "file/repo", within=False):
        pass


def test_takes_any_name_that_a_directory_can_have(tmp_path: Path) -> None:
    """A name that fills what the file system allows leaves room for that of the staging directory."""
    target = tmp_path / ("é" * 127)
    with Staging(target=target, within=False) as staging:
        publish(staging.fresh("tree"), target)
    assert names(tmp_path) == [target.name]


def test_a_place_that_is_none_is_told_before_anything_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that leads to itself, and a path from a current directory that has been removed, are mistakes."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(BadUsage, match="leads to itself"):
        check_target(tmp_path / "loop")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(BadUsage, match="current directory has been removed"):
        check_target(Path("repo"))
    assert check_target(tmp_path / "repo") == tmp_path / "repo"
