"""Real repositories for the tests of the git protocol."""

import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.plumbing.jobs import Slots
from cachew.plumbing.process import Processes
from cachew.smarthttp.backend import Backend


@dataclass(frozen=True)
class Git:
    """Runs git with an environment of its own."""

    home: Path

    @property
    def env(self) -> dict[str, str]:
        """An environment in which only the test's settings count."""
        names = ("AUTHOR", "COMMITTER")
        people = {f"GIT_{n}_NAME": "T" for n in names} | {f"GIT_{n}_EMAIL": "t@example.org" for n in names}
        dates = {f"GIT_{n}_DATE": "2026-01-01T00:00:00Z" for n in names}
        return (
            people
            | dates
            | {
                "PATH": os.environ["PATH"],
                "HOME": str(self.home),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_TERMINAL_PROMPT": "0",
                "LC_ALL": "C",
            }
        )

    def __call__(self, *words: str, stdin: bytes = b"") -> str:
        """Run git and return what it prints."""
        done = subprocess.run(("git", *words), env=self.env, input=stdin, capture_output=True, check=True, timeout=20)
        return done.stdout.decode().strip()


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """Git in an empty home."""
    home = tmp_path / "home"
    home.mkdir()
    return Git(home)


@pytest.fixture
def repository(git: Git, tmp_path: Path) -> Path:
    """A bare repository with three commits, two branches and two tags."""
    work, bare = tmp_path / "work", tmp_path / "mirror"
    git("init", "-q", "-b", "main", str(work))
    for number in range(3):
        (work / "file").write_text(f"{number}\n" * 1000)
        git("-C", str(work), "add", "file")
        git("-C", str(work), "commit", "-q", "-m", f"commit {number}")
    git("-C", str(work), "tag", "-a", "v1", "-m", "one", "HEAD~1")
    git("-C", str(work), "tag", "light")
    git("-C", str(work), "branch", "dév", "HEAD~2")
    git("clone", "-q", "--bare", str(work), str(bare))
    git("-C", str(bare), "config", "uploadpack.allowFilter", "true")
    git("-C", str(bare), "config", "uploadpack.allowAnySHA1InWant", "true")
    return bare


@pytest_twisted.async_yield_fixture
async def processes() -> AsyncIterator[Processes]:
    """Processes that are stopped after the test."""
    processes = Processes(reactor=reactor, grace=1.0)
    yield processes
    await processes.stop()


@pytest.fixture
def slots() -> Slots:
    """Two places."""
    return Slots(limit=2)


@pytest.fixture
def backend(processes: Processes, slots: Slots, git: Git) -> Backend:
    """The real git-http-backend."""
    exec_path = Path(git("--exec-path"))
    return Backend(processes=processes, exec_path=exec_path, slots=slots, home=git.home)
