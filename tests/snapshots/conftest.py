"""Real repositories, real git and threads for the tests of snapshots."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.python.threadpool import ThreadPool

from cachew.mirrors.commands import CommandSettings, GitCommands
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from tests.snapshots.repositories import BareMirror, Output, bare, commit, git


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Return a repository with two branches, a tag, and two commits on ``main``."""
    directory = tmp_path / "work"
    git(tmp_path, "init", "-q", "--template=", "-b", "main", str(directory))
    commit(directory, {"README": "hello\n", "dir/file with space.txt": "one\n", "big": os.urandom(300_000)})
    git(directory, "tag", "-a", "-m", "first", "v1")
    git(directory, "checkout", "-q", "-b", "other")
    commit(directory, {"other": "on the other branch\n"})
    git(directory, "checkout", "-q", "main")
    commit(directory, {"README": "hello again\n"})
    return directory


@pytest.fixture
def mirror(tmp_path: Path, work: Path) -> BareMirror:
    """Return a bare mirror of ``work``."""
    return bare(work, tmp_path / "mirrors" / "repo.git")


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Return two real threads."""
    from twisted.internet import reactor

    pool = ThreadPool(0, 2)
    pool.start()
    yield Threads(reactor=reactor, pool=pool)  # type: ignore[arg-type]
    pool.stop()


@pytest.fixture
def processes() -> Processes:
    """Return what starts real processes."""
    from twisted.internet import reactor

    return Processes(reactor=reactor)


@pytest.fixture
def commands(tmp_path: Path) -> GitCommands:
    """Return the git commands with an empty home."""
    (tmp_path / "home").mkdir()
    return GitCommands(CommandSettings(path=os.environ["PATH"], home=tmp_path / "home"))


@pytest.fixture
def output() -> Output:
    """Return an empty output."""
    return Output()
