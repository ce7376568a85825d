"""Three servers and one store: processes of their own, as they run in a fleet."""

import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.python.threadpool import ThreadPool

from cachew.plumbing.bucket import Bucket, s3_store
from cachew.plumbing.threads import Threads
from cachew.replicas.objectstore import ObjectStoreRecords
from cachew.replicas.progress import Progress
from tests.fakes import objectservers
from tests.functional import repositories
from tests.functional.gitclient import Git, Run
from tests.functional.rawhttp import ask
from tests.functional.replicas import GitThatStops, ServerProcess, tiers
from tests.functional.repositories import Repository
from tests.functional.upstream import Upstream
from tests.web.wire import Response, patient

INTERVALS = 20
INTERVAL = 1.0
PREFIX = "fleet"
SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"
MADE = "made snapshot:git.example/org/repo, "
OUTDATED = "is outdated and was removed"
MADE_MIRROR = "made mirror:git.example/org/repo, "
FAST = f"""
[git]
snapshot-interval = "{INTERVAL}s"
mirror-snapshot-interval = "{5 * INTERVAL}s"
ref-check-interval = "100ms"
replica-timeout = "2s"
lfs-snapshots = false
repack-interval = "0s"
"""


@pytest.fixture
def stopping(tmp_path: Path) -> GitThatStops:
    """The servers' git, which can be had to stop in the midst of a snapshot."""
    return GitThatStops(tmp_path / "bin", "read-tree")


@pytest_twisted.async_yield_fixture
async def fleet(
    tmp_path: Path, upstream: Upstream, store: str, stopping: GitThatStops
) -> AsyncIterator[list[ServerProcess]]:
    """Three servers."""
    from twisted.internet import reactor

    servers = [
        ServerProcess(
            reactor=reactor,
            state=tmp_path / f"replica{number}",
            upstream=upstream.url,
            config=FAST + tiers(store, PREFIX),
            path=stopping.directory,
        )
        for number in range(3)
    ]
    try:
        await DeferredList([Deferred.fromCoroutine(server.start()) for server in servers], consumeErrors=True)
        assert all(server.ready for server in servers), "\n".join(line for one in servers for _, line in one.lines)
        yield servers
    finally:
        await DeferredList([Deferred.fromCoroutine(server.stop()) for server in servers])


@pytest.fixture
def progress(store: str) -> Iterator[Progress]:
    """What the servers have told each other."""
    from twisted.internet import reactor

    pool = ThreadPool(0, 2)
    pool.start()
    where = s3_store(
        bucket=objectservers.BUCKET,
        endpoint=store,
        prefix=PREFIX,
        access_key=objectservers.ACCESS_KEY,
        secret_key=objectservers.SECRET_KEY,
    )
    threads: Any = Threads(reactor=reactor, pool=pool)  # type: ignore[arg-type]
    yield Progress(records=ObjectStoreRecords(bucket=Bucket(store=where, threads=threads)), clock=lambda: 0.0)
    pool.stop()


async def first_of(servers: list[ServerProcess], text: str) -> None:
    """Wait until any server logs a line."""
    waits = [server.next(text) for server in servers if not server.ended]
    await patient(DeferredList(waits, fireOnOneCallback=True))
    for wait in waits:
        wait.addErrback(lambda failure: None)
        wait.cancel()


async def clone(git: Git, server: ServerProcess, name: str) -> str:
    """Clone the repository through a server, check it, and return its commit."""
    original, replacement = server.instead_of
    through = {f"url.{replacement}.insteadOf": original}
    await git.run("clone", "-q", "https://git.example/org/repo", name, config=through)
    await git.run("-C", name, "fsck", "--strict")
    return (await git.run("-C", name, "rev-parse", "HEAD")).out


def logged(servers: list[ServerProcess], text: str) -> list[float]:
    """Return when any server logged a line."""
    return sorted(moment for server in servers for moment in server.times(text))


async def holder_of(stopping: GitThatStops, servers: list[ServerProcess], begin: Callable[[], object]) -> ServerProcess:
    """Have the next snapshot never end, and return the server that is making it."""
    from twisted.internet import reactor

    notice = Run(b"")
    spawn: Any = reactor
    spawn.spawnProcess(notice, "setsid", ["setsid", "cat", str(stopping.notice)], env=None, path=None)
    stopping.stop_the_next()
    begin()
    words = (await patient(notice.done)).out
    (found,) = [server for server in servers if str(server.state) in words]
    return found


@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
async def test_three_servers_are_one(
    upstream: Upstream, git: Git, fleet: list[ServerProcess], stopping: GitThatStops, progress: Progress
) -> None:
    """Each has its mirror, one of them makes each snapshot, another one when that one is killed, and all agree."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=10, files=20, size=2000)
    cloning = [Deferred.fromCoroutine(clone(git, server, f"first{n}")) for n, server in enumerate(fleet)]
    assert set(await gatherResults(cloning)) == {repository.commit()}
    pushed = await push_and_wait(repository, fleet)
    made = logged(fleet, MADE)
    assert min(later - earlier for earlier, later in itertools.pairwise(made)) >= 0.7 * INTERVAL
    mirrors = logged(fleet, MADE_MIRROR)
    assert all(later - earlier >= 3.5 * INTERVAL for earlier, later in itertools.pairwise(mirrors))

    def push() -> None:
        pushed.append(repositories.push_commit(repository, "main", "the last"))

    doomed = await holder_of(stopping, fleet, push)
    await doomed.kill()
    left = [server for server in fleet if server is not doomed]
    await first_of(left, MADE)
    assert logged(left, "lease snapshot/git.example/org/repo taken from")
    answers = [await newest(server, pushed[-1]) for server in left]
    assert {answer.headers["etag"] for answer in answers} == {
        f'"{hashlib.sha256(answers[0].body).hexdigest()}"'
    }, "what is served is what was stored"
    for number, server in enumerate(left):
        assert await clone(git, server, f"last{number}") == pushed[-1]
    assert await progress.counted("made/snapshot/git.example/org/repo") == len(logged(fleet, MADE))


async def newest(server: ServerProcess, commit: str) -> Response:
    """Ask for the snapshot of a commit; a server may send the copy that it has while it learns of another."""
    from twisted.internet import reactor

    removed = len(server.times(OUTDATED))
    answer = await ask(reactor, server.url, "GET", SNAPSHOT)
    if answer.headers["x-cachew-snapshot-commit"] != commit:
        await server.seen(OUTDATED, removed + 1)
        answer = await ask(reactor, server.url, "GET", SNAPSHOT)
    assert answer.headers["x-cachew-snapshot-commit"] == commit
    return answer


async def push_and_wait(repository: Repository, fleet: list[ServerProcess]) -> list[str]:
    """Push a commit in each interval, after the snapshot of the one before was made; return the commits."""
    pushed = []
    for number in range(INTERVALS):
        waiting = Deferred.fromCoroutine(first_of(fleet, MADE))
        pushed.append(repositories.push_commit(repository, "main", f"push {number}"))
        await waiting
    return pushed
