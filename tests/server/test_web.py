"""What git has to be for a server to start."""

import os
from pathlib import Path

import pytest

from cachew.plumbing.errors import CachewError
from cachew.server.web import exec_path


def git_that(tmp_path: Path, script: str) -> str:
    """Return a ``PATH`` whose git is a script."""
    (tmp_path / "git").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "git").chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def test_git_says_where_its_programs_are() -> None:
    """The installed git is taken as it is."""
    assert (exec_path(os.environ["PATH"]) / "git-http-backend").is_file()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo rubbish", "git says that its programs are in 'rubbish', where git-http-backend is not"),
        ("printf '\\377\\001'", "where git-http-backend is not"),
        ("exit 3", "git --exec-path ended with 3"),
        ("exec sleep 60", "did not end within 0.5 seconds"),
    ],
)
def test_a_git_that_does_not_work_is_told_in_a_sentence(tmp_path: Path, script: str, words: str) -> None:
    """A wrapper that prints something else, fails or hangs keeps the server from starting, with the reason."""
    with pytest.raises(CachewError) as caught:
        exec_path(git_that(tmp_path, script), patience=0.5)
    assert words in str(caught.value)


def test_no_git_is_told(tmp_path: Path) -> None:
    """So is a machine without git."""
    with pytest.raises(CachewError, match="git is not installed"):
        exec_path(str(tmp_path))
