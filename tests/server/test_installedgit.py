"""What is found out about git before anything starts."""

from pathlib import Path

import pytest

from cachew.plumbing.errors import CachewError
from cachew.server.installedgit import installed_git

SHELL = "/bin:/usr/bin"


def program(directory: Path, text: str) -> str:
    """Put a program called git in a directory and return a search path that finds it first."""
    path = directory / "git"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"{directory}:{SHELL}"


def test_the_installed_git_is_known() -> None:
    """Its version is a number with dots, and its programs are where it says."""
    git = installed_git(SHELL)
    assert git.version.split(".")[0].isdecimal() and (git.exec_path / "git-http-backend").is_file()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo rubbish", "does not say its version"),
        ("exec sleep 60", "has not ended after"),
        ("exit 3", "failed with exit status 3"),
        ("printf '\\377\\001'", "does not say its version"),
        ("echo git version 2.20.0", "git 2.20.0 is too old: 2.37 or newer"),
        ("echo git version 1", "git 1 is too old"),
        ('[ "$1" = --version ] && echo git version 2.39.5 || echo /nowhere', "no git-http-backend"),
    ],
)
def test_a_git_that_is_none_is_told_in_a_sentence(tmp_path: Path, text: str, words: str) -> None:
    """A git that prints rubbish, hangs or fails at the start is named as what is wrong."""
    with pytest.raises(CachewError, match=words):
        installed_git(program(tmp_path, text), seconds=0.5)


def test_no_git_is_told(tmp_path: Path) -> None:
    """Without git the search path is named."""
    with pytest.raises(CachewError, match="git is not installed"):
        installed_git(str(tmp_path))


def test_without_proc_nothing_is_started(tmp_path: Path) -> None:
    """In a root without /proc each git would fail with 127; the check and the start say what to do instead."""
    with pytest.raises(CachewError, match="is not mounted, and without it git can't be started: mount -t proc"):
        installed_git(SHELL, proc=tmp_path)
