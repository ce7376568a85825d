"""``git-remote-cachew`` ended in the midst of a seed, in the ways in which that happens."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.archives import git, make_upstream, seekable, snapshot_members, tar
from tests.fakes.cachew_server import Stored, running_server
from tests.functional.gitcgi import git_environment
from tests.functional.helperclones import install_helper


@dataclass
class Held:
    """A server that begins to send a snapshot and stops.

    :param url: of the repository.
    :param reached: is set when it has stopped.
    :param go_on: ends its pause.
    """

    url: str
    reached: threading.Event
    go_on: threading.Event


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """Such a server."""
    upstream = make_upstream(tmp_path / "upstream")
    git(upstream, "repack", "-a", "-d", "-q")
    members = snapshot_members(upstream, tmp_path / "scratch", origin="https://git.example/org/repo")
    reached, go_on = threading.Event(), threading.Event()

    def hold(gets: int) -> None:
        if gets >= 2:
            reached.set()
            go_on.wait(30)

    with running_server() as server:
        path = "/git/git.example/org/repo/snapshot.tar.zst"
        server.objects[path] = Stored(seekable(tar(members)), before=hold)
        yield Held(f"{server.url}/git/git.example/org/repo", reached, go_on)
        go_on.set()


def started(tmp_path: Path, *words: str) -> "subprocess.Popen[bytes]":
    """Start a git that finds the helper, as the leader of a process group, with no signal ignored."""
    environment = git_environment(tmp_path, {}) | install_helper(tmp_path / "bin")
    command = ["env", "--default-signal", "git", *words]
    return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, start_new_session=True)


@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_clone_that_is_interrupted(tmp_path: Path, held: Held, number: signal.Signals, whole_group: bool) -> None:
    """Whoever is told to end, a clone leaves nothing behind."""
    clone = started(tmp_path, "clone", "-q", f"cachew::{held.url}", "new")
    assert held.reached.wait(30)
    (os.killpg if whole_group else os.kill)(clone.pid, number)
    # Every process of it holds its standard error open.
    clone.communicate()
    assert clone.returncode != 0
    assert not (tmp_path / "new").exists()


def test_what_is_ignored_stays_so(tmp_path: Path, held: Held) -> None:
    """A clone under nohup outlives its terminal, and its seed with it."""
    clone = started(
        tmp_path, "-c", "alias.quietly=!trap '' HUP; exec git clone", "quietly", f"cachew::{held.url}", "new"
    )
    assert held.reached.wait(30)
    os.killpg(clone.pid, signal.SIGHUP)
    held.go_on.set()
    assert b"without its snapshot" not in clone.communicate()[1]


def test_a_fetch_that_is_killed(tmp_path: Path, held: Held) -> None:
    """Even when git itself can say nothing more, its helper goes, and the repository has nothing that it had not."""
    git(tmp_path, "init", "-q", "new")
    before = set((tmp_path / "new/.git").rglob("*"))
    fetch = started(tmp_path, "-C", "new", "fetch", "-q", f"cachew::{held.url}")
    assert held.reached.wait(30)
    fetch.send_signal(signal.SIGKILL)
    fetch.communicate()
    assert {path for path in (tmp_path / "new/.git").rglob("*") if path.name != "FETCH_HEAD"} == before


def test_the_plain_helper_is_killed(tmp_path: Path, held: Held) -> None:
    """Without git's own helper nothing goes on, also in the midst of a seed."""
    clone = started(tmp_path, "clone", "-q", f"cachew::{held.url}", "new")
    assert held.reached.wait(30)
    os.kill(_plain_helper(os.getsid(clone.pid)), signal.SIGKILL)
    clone.communicate()
    assert clone.returncode != 0
    assert not (tmp_path / "new").exists()


def _plain_helper(session: int) -> int:
    """Return the process id of git's own helper in a session."""
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            name, _, rest = (directory / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        if name == "git-remote-http" and int(rest.split()[3]) == session:
            return int(directory.name)
    raise AssertionError("git's own helper does not run")
