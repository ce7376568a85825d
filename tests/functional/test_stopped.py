"""Processes of git that are stopped in the midst of their work: nobody else waits for them, and nothing is left."""

import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from select import select

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import ProcessFailed
from cachew.server.installedgit import installed_git
from tests.functional import repositories
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import Repository
from tests.functional.server import UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
CONFIG = f'{UNSCHEDULED}ref-check-interval = "0s"\nserve-timeout = "1s"\nmax-processes = 1\nfetch-wait = "1s"\n'
_STOPS = """#!/bin/sh
# Stops itself and a child of its own, if it is told to, and is the real program otherwise.
case " $* " in *" --exec-path "*) echo '{programs}'; exit;; esac
if [ -e '{programs}/stop' ]; then
    case " $0 $* " in *"$(cat '{programs}/stop')"*)
        rm '{programs}/stop'
        {says}
        sleep 600 >/dev/null 2>&1 &
        echo $$ $! >'{programs}/pids'
        kill -STOP 0
    esac
fi
exec '{real}' "$@"
"""
_BEGINNING = "printf 'Content-Type: application/x-git-upload-pack-result\\r\\n\\r\\n000dpackfile\\n'"


class Stopping:
    """A git whose processes can be told to stop.

    :param programs: a directory for it.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        programs.mkdir()
        os.mkfifo(programs / "pids")
        self._written: Deferred[list[int]] = Deferred()
        self._reader = _Reader(programs / "pids", self._written)
        self.says("")

    @property
    def search_path(self) -> str:
        """Where it is found."""
        return f"{self._programs}:{os.environ['PATH']}"

    def says(self, words: str) -> None:
        """Have it run a command of the shell before it stops."""
        git = shutil.which("git")
        backend = installed_git(os.environ["PATH"]).exec_path / "git-http-backend"
        for name, real in (("git", git), ("git-http-backend", backend)):
            script = self._programs / name
            script.write_text(_STOPS.format(programs=self._programs, real=real, says=words))
            script.chmod(0o755)

    def stop(self, words: str) -> None:
        """Have the next one stop whose command line has some words in it."""
        (self._programs / "stop").write_text(words)

    def close(self) -> None:
        """Wait for none any more."""
        self._reader.close()

    async def stopped(self) -> "Group":
        """Wait until it has stopped."""
        return Group(*await self._written)


class _Reader(FileDescriptor):
    """Reads a line of numbers out of a pipe with a name, once."""

    def __init__(self, pipe: Path, written: Deferred[list[int]]) -> None:
        super().__init__(reactor)
        self._file = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        self._written = written
        self.startReading()

    def fileno(self) -> int:
        return self._file

    def doRead(self) -> None:
        said = os.read(self._file, 100)
        self.close()
        self._written.callback([int(word) for word in said.split()])

    def close(self) -> None:
        """Read no more."""
        if self._file >= 0:
            self.stopReading()
            os.close(self._file)
            self._file = -1


class Group:
    """A process and one that it has started."""

    def __init__(self, leader: int, child: int) -> None:
        self.leader = leader
        self._ends = [os.pidfd_open(pid) for pid in (leader, child)]

    def is_gone(self) -> bool:
        """Wait for the end of both."""
        try:
            return all(select([end], [], [], 10)[0] for end in self._ends)
        finally:
            for end in self._ends:
                os.close(end)


@pytest.fixture
def stopping(tmp_path: Path) -> Iterator[Stopping]:
    """Returns a git that can be stopped."""
    made = Stopping(tmp_path / "programs")
    yield made
    made.close()


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """Returns a repository."""
    return repositories.make_repository(upstream.path("org/repo"))


@pytest_twisted.async_yield_fixture
async def cachew(tmp_path: Path, upstream: Upstream, stopping: Stopping, git: Git) -> AsyncIterator[Cachew]:
    """Starts a server with that git."""
    made = Cachew(
        reactor=reactor,
        state=tmp_path / "state",
        upstream=upstream.url,
        config=CONFIG,
        search_path=stopping.search_path,
    )
    await made.start()
    git.instead_of(*made.instead_of)
    yield made
    await made.stop()


async def cloned(git: Git, name: str) -> str:
    """Clone through the server and return the commit."""
    await git.run("clone", "-q", URL, name)
    return (await git.run("-C", name, "rev-parse", "HEAD")).out


@pytest_twisted.ensureDeferred
async def test_an_upload_pack_that_stops_before_its_first_byte(
    cachew: Cachew, upstream: Upstream, repository: Repository, stopping: Stopping, git: Git
) -> None:
    """After serve-timeout the upstream answers its client; its group is gone, and its place, the only one, is free."""
    await cachew.mirrored("org/repo")
    asked = upstream.count("pack")
    stopping.stop("git-http-backend")
    cloning = Deferred.fromCoroutine(cloned(git, "one"))
    group = await stopping.stopped()
    assert await cloning == repository.commit()
    assert upstream.count("pack") == asked + 1
    assert group.is_gone()
    await cachew.quiet()
    assert cachew.parts.runtime.processes.running == 0
    assert await cloned(git, "two") == repository.commit()
    assert upstream.count("pack") == asked + 1, "the mirror serves again"


@pytest_twisted.ensureDeferred
async def test_an_upload_pack_that_stops_in_the_midst_of_a_pack(
    cachew: Cachew, repository: Repository, stopping: Stopping, git: Git
) -> None:
    """Its client's git says that the pack has ended early; nothing is left, and the next clone works."""
    await cachew.mirrored("org/repo")
    stopping.says(_BEGINNING)
    stopping.stop("git-http-backend")
    cloning = Deferred.fromCoroutine(git.run("clone", "-q", URL, "one", check=False))
    group = await stopping.stopped()
    failed = await cloning
    assert failed.code == 128 and "early EOF" in failed.err, failed
    assert group.is_gone()
    await cachew.quiet()
    assert cachew.parts.runtime.processes.running == 0
    assert await cloned(git, "two") == repository.commit()


@pytest_twisted.ensureDeferred
async def test_a_repack_that_stops_holds_up_no_client(
    cachew: Cachew, repository: Repository, stopping: Stopping, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was pushed since is the upstream's answer after fetch-wait, and ensure-refs says that it took too long."""
    mirror = await cachew.mirrored("org/repo")
    # Children are looked for where the process itself would.
    monkeypatch.setenv("PATH", stopping.search_path)
    stopping.stop(" pack-refs ")
    repacking = Deferred.fromCoroutine(mirror.maintenance.repack())
    group = await stopping.stopped()
    pushed = repositories.push_commit(repository)
    assert await cloned(git, "one") == pushed
    body = json.dumps({"commits": [pushed]}).encode()
    path = "/git/git.example/org/repo/ensure-refs"
    late = await ask(reactor, cachew.url, "POST", path, "Content-Type: application/json", body=body)
    assert late.status == 504 and b"within 1 second" in late.body
    os.killpg(group.leader, signal.SIGKILL)
    with pytest.raises(ProcessFailed):
        await repacking
    assert group.is_gone()
    await cachew.quiet()
    assert (await cachew.post("org/repo/ensure-refs", {"commits": [pushed]}))["missing_commits"] == []
