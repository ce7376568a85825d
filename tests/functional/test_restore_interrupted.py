"""Restores that something happens to on the way, through a whole server, and what the workspace is like after."""

import hashlib
import os
import random
import re
import signal
import sys
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from cachew.mirrors.kinds import MIRRORED_KIND
from cachew.snapshots.variants import Variant
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitcgi import git_environment
from tests.functional.gitclient import Git, Result, Run
from tests.functional.heldproxy import HeldProxy
from tests.functional.repositories import Repository
from tests.functional.restoring import PROJECT, cachew_command
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
INDEXED = re.compile(
    r"^(\S.*)\n  ctime: (\d+):(\d+)\n  mtime: (\d+):(\d+)\n.*ino: (\d+)\n.*\n  size: (\d+)", re.MULTILINE
)
"""A file as ``git ls-files --debug`` shows it."""
CONFIG = '[git]\nsnapshot-interval = "0s"\nbundle-interval = "0s"\nmirror-snapshot-interval = "0s"\n'


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """A repository whose snapshot is downloaded in several parts."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3, files=120)
    data = hashlib.shake_256(b"large").digest(12_000_000)
    repositories.push_commit(repository, name="large", data=data)
    return repository


async def with_snapshot(cachew: Cachew) -> HeldProxy:
    """Have the snapshot made and return a way to the server."""
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.snapshots.archives.make(mirror.identity, Variant("snapshot"))
    return HeldProxy(reactor=reactor, port=cachew.parts.server.addresses[0].port)


def begin(git: Git, url: str) -> Run:
    """Begin a restore and return its process."""
    environment = git_environment(git.home, git.config) | {"PYTHONPATH": str(PROJECT)}
    words = [f"--chdir={git.home}", sys.executable, "-m", "cachew.cli.main", "--url", url, "git", "restore", URL, "x"]
    run = Run(b"")
    reactor.spawnProcess(run, "setsid", ["setsid", "env", *words], env=environment, path=None)
    return run


async def check(git: Git, repository: Repository) -> None:
    """See that the restored workspace is whole."""
    assert (await git.run("-C", "x", "rev-parse", "HEAD")).out == repository.commit()
    assert (await git.run("-C", "x", "status", "--porcelain")).out == ""
    await git.run("-C", "x", "fsck", "--strict")
    assert not [path for path in git.home.iterdir() if "cachew" in path.name]


@pytest_twisted.ensureDeferred
async def test_the_snapshot_is_replaced_meanwhile(
    upstream: Upstream, repository: Repository, git: Git, start: Start
) -> None:
    """A client that has parts of one snapshot notices that there is another, starts over, and has that one whole."""
    cachew = await start(CONFIG + 'ref-check-interval = "0s"')
    way = await with_snapshot(cachew)
    stopped: Deferred[None] = Deferred()
    way.stop_after_parts(1, lambda: stopped.callback(None))
    run = begin(git, way.start())
    await stopped
    repositories.push_commit(repository, "main", "replaced")
    mirror = await cachew.mirrored("org/repo")
    answer = await cachew.parts.mirrors.freshness.refs(mirror.identity, MIRRORED_KIND, None)
    await mirror.updates.sync(answer.listing, answer.started)
    await cachew.parts.snapshots.archives.make(mirror.identity, Variant("snapshot"))
    before = await cachew.metrics()
    assert b'route="git snapshot.tar.zst",status="412"' not in before
    way.go_on()
    result: Result = await run.done
    assert result.code == 0, result.err
    assert b'route="git snapshot.tar.zst",status="412"' in await cachew.metrics()
    await check(git, repository)
    assert (git.home / "x/pushed").read_bytes() == b"replaced"
    await way.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("seed", range(4))
async def test_the_client_is_killed_and_run_again(
    upstream: Upstream, repository: Repository, git: Git, start: Start, seed: int
) -> None:
    """Killed at any byte a client leaves no half checkout, and the same command works the next time."""
    cachew = await start(CONFIG)
    way = await with_snapshot(cachew)
    url = way.start()
    place = random.Random(seed).randrange(1, 12_000_000)
    run = begin(git, url)
    way.call_after_bytes(place, run.kill)
    result: Result = await run.done
    assert result.code == -signal.SIGKILL
    assert not (git.home / "x").exists(), f"killed after {place} bytes"
    await cachew_command(reactor, git, "--url", url, "git", "restore", URL, "x")
    await check(git, repository)
    await cachew.quiet()
    await way.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("bundle", [False, True])
async def test_the_first_status_hashes_nothing(
    upstream: Upstream, repository: Repository, git: Git, start: Start, bundle: bool
) -> None:
    """The index of a restored workspace tells what its files are like, and git believes it."""
    cachew = await start(CONFIG + 'ref-check-interval = "0s"')
    await with_snapshot(cachew)
    if bundle:
        repositories.push_commit(repository, "main", "newer", name="newer")
        await cachew_command(reactor, git, "--url", cachew.url, "git", "restore", URL, "ahead")
        await cachew.quiet()
    await cachew_command(reactor, git, "--url", cachew.url, "git", "restore", URL, "x")
    index = git.home / "x/.git/index"
    untouched = index.read_bytes()
    listed = (await git.run("-C", "x", "ls-files", "--debug")).out
    known = INDEXED.findall(listed)
    assert len(known) >= 121
    for name, *fields in known:
        found = os.lstat(git.home / "x" / name)
        times = [part for stamp in (found.st_ctime_ns, found.st_mtime_ns) for part in divmod(stamp, 10**9)]
        assert list(map(int, fields)) == [*times, found.st_ino & 0xFFFFFFFF, found.st_size], name
    assert (await git.run("-C", "x", "diff-files")).out == "", "plumbing, which refreshes nothing, sees no change"
    # Whoever hashes a file again sees that it is another one now.
    for name, *_ in known:
        if name != "newer":  # git itself has just written it, in the same moment as the index, so it must look again
            spoil(git.home / "x" / name)
    # Git looks into files that are as young as their index; here a snapshot may have been made in this very second.
    later = index.stat().st_mtime_ns + 2 * 10**9
    os.utime(index, ns=(later, later))
    config = {"core.trustctime": "false"}
    assert (await git.run("-C", "x", "status", "--porcelain", config=config)).out == ""
    assert index.read_bytes() == untouched


def spoil(path: Path) -> None:
    """Change a file's contents and nothing else of it but its ctime."""
    status = path.stat()
    with open(path, "r+b") as file:
        first = file.read(1)
        file.seek(0)
        file.write(bytes([first[0] ^ 1]) if first else b"")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
