"""A fleet: in each interval one of its servers makes what is due, whatever becomes of the others and of the clocks."""

import hashlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import DeferredList
from twisted.python.threadpool import ThreadPool

from cachew.cache.interface import object_key
from cachew.cache.manifest import manifest_path
from cachew.plumbing.bucket import Bucket
from cachew.plumbing.s3store import s3_store
from cachew.plumbing.threads import Threads
from cachew.replicas.completions import TaskCompletions
from cachew.replicas.objectstorerecords import ObjectStoreRecords
from tests.fakes import objectservers
from tests.fakes.clock import FakeClock
from tests.fakes.faultyproxy import FaultyProxy
from tests.functional import repositories
from tests.functional.fleet import (
    FAST,
    INTERVAL,
    MADE,
    MIRROR_INTERVAL,
    PREFIX,
    TAKEN,
    Completions,
    clone,
    clone_everywhere,
    first_of,
    holder_of,
    logged,
    newest,
    push_and_wait,
    start_all,
    stop_all,
)  # fmt: skip
from tests.functional.gitclient import Git
from tests.functional.replicas import GitThatStops, ServerProcess, SkewedClock, tiers
from tests.functional.repositories import Repository
from tests.functional.upstream import Upstream
from tests.http.wire import patient

INTERVALS = 20
SHORTEST = 0.8
"""The least part of an interval after which something is made again: a replica shifts its own by up to a fifth."""
APART = 290.0
"""Seconds by which one clock is behind, and another one ahead."""
HOUR = 3600.0


def manifest_of(server: ServerProcess) -> str:
    """Return where the store has the snapshot's manifest."""
    *_, last = (server.state / "instances.jsonl").read_text().splitlines()
    name, known = json.loads(last)
    return manifest_path("git", object_key(f"snapshot:{name} {known['id']}"))


@pytest.fixture
def stopping(tmp_path: Path) -> Iterator[GitThatStops]:
    """The servers' git, which can be had to stop in the midst of a snapshot."""
    git = GitThatStops(tmp_path / "bin", "read-tree")
    yield git
    with suppress(OSError):
        git.go_on()  # what a killed server has left waits for it


@pytest.fixture
def clocks(tmp_path: Path) -> list[SkewedClock]:
    """The servers' clocks."""
    return [SkewedClock(tmp_path / f"clock{number}") for number in range(3)]


@pytest_twisted.async_yield_fixture
async def proxies(store: str) -> AsyncIterator[list[FaultyProxy]]:
    """What stands between each server and the store."""
    proxies = [FaultyProxy(reactor=reactor, target=urlsplit(store).port or 0) for _ in range(3)]
    for proxy in proxies:
        await proxy.start()
    yield proxies
    for proxy in proxies:
        await proxy.stop()


@pytest_twisted.async_yield_fixture
async def fleet(
    tmp_path: Path, upstream: Upstream, proxies: list[FaultyProxy], stopping: GitThatStops, clocks: list[SkewedClock]
) -> AsyncIterator[list[ServerProcess]]:
    """Three servers, not started."""
    servers = [
        ServerProcess(
            reactor=reactor,
            state=tmp_path / f"replica{number}",
            upstream=upstream.url,
            config=FAST + tiers(f"http://127.0.0.1:{proxy.port}", f"{PREFIX}/{tmp_path.name}"),
            path=stopping.directory,
            clock=clock,
        )
        for number, (clock, proxy) in enumerate(zip(clocks, proxies, strict=True))
    ]
    yield servers
    await stop_all(servers)


@pytest.fixture
def progress(tmp_path: Path, store: str) -> Iterator[TaskCompletions]:
    """What the servers have told each other."""
    pool = ThreadPool(0, 2)
    pool.start()
    where = s3_store(
        bucket=objectservers.BUCKET,
        endpoint=store,
        prefix=f"{PREFIX}/{tmp_path.name}",
        access_key=objectservers.ACCESS_KEY,
        secret_key=objectservers.SECRET_KEY,
    )
    threads: Any = Threads(reactor=reactor, pool=pool)  # type: ignore[arg-type]
    yield TaskCompletions(records=ObjectStoreRecords(bucket=Bucket(store=where, threads=threads)), clock=FakeClock())
    pool.stop()


async def all_counted(servers: list[ServerProcess], progress: TaskCompletions) -> bool:
    """Whether what was made was counted once, but for the last, which may not have been counted yet."""
    counted, made = await progress.counted("made/snapshot/git.example/org/repo"), len(logged(servers, MADE))
    return counted in (made - 1, made)


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(upstream.path("org/repo"), commits=10, files=20, size=2000)


@pytest.mark.no_cover
@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
async def test_three_servers_are_one(
    repository: Repository, git: Git, fleet: list[ServerProcess], stopping: GitThatStops, progress: TaskCompletions
) -> None:
    """Each has its mirror, one of them makes each snapshot, another one when that one is killed, and all agree."""
    await start_all(fleet)
    assert await clone_everywhere(git, fleet, "first") == {repository.commit()}
    snapshots, mirrors = Completions(progress, "snapshot"), Completions(progress, "mirror")
    pushed = await push_and_wait(repository, fleet, INTERVALS, snapshots, mirrors)
    assert snapshots.shortest() >= SHORTEST * INTERVAL
    assert mirrors.shortest() >= SHORTEST * MIRROR_INTERVAL
    assert len(logged(fleet, MADE)) in (len(pushed), len(pushed) + 1), "once for each commit"

    def push() -> None:
        pushed.append(repositories.push_commit(repository, "main", "the last"))

    doomed = await holder_of(stopping, fleet, push)
    await doomed.kill()
    left = [server for server in fleet if server is not doomed]
    await first_of(left, MADE)
    assert logged(left, TAKEN)
    answers = [await newest(server, pushed[-1]) for server in left]
    assert {answer.headers["etag"] for answer in answers} == {f'"{hashlib.sha256(answers[0].body).hexdigest()}"'}, (
        "what is served is what was stored"
    )
    for number, server in enumerate(left):
        assert await clone(git, server, f"last{number}") == pushed[-1]
    assert await all_counted(fleet, progress)


@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
async def test_one_that_stands_still_is_replaced_and_goes_on(
    repository: Repository, git: Git, fleet: list[ServerProcess], stopping: GitThatStops, progress: TaskCompletions
) -> None:
    """What it was making it neither stores nor counts when it awakes; then it is one of them again."""
    await start_all(fleet)
    await clone_everywhere(git, fleet, "first")
    pushed = await push_and_wait(repository, fleet, 2)
    sleeper = await holder_of(
        stopping, fleet, lambda: pushed.append(repositories.push_commit(repository, "main", "asleep"))
    )
    sleeper.signal(signal.SIGSTOP)
    awake = [server for server in fleet if server is not sleeper]
    await first_of(awake, MADE)
    assert logged(awake, TAKEN)
    pushed += await push_and_wait(repository, awake, 2)
    made = len(sleeper.times(MADE))
    stopping.go_on()
    lost = sleeper.next("snapshot of git.example/org/repo failed: the lease snapshot/git.example/org/repo ")
    sleeper.signal(signal.SIGCONT)
    await lost
    for server in fleet:
        await newest(server, pushed[-1])
    assert len(sleeper.times(MADE)) == made
    pushed += await push_and_wait(repository, fleet, 3)
    assert await all_counted(fleet, progress)
    assert len(logged(fleet, MADE)) in (len(pushed), len(pushed) + 1), "once for each commit"


@pytest.mark.no_cover
@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("stored", [False, True])
async def test_one_that_is_killed_while_it_stores_is_followed(
    repository: Repository,
    git: Git,
    fleet: list[ServerProcess],
    proxies: list[FaultyProxy],
    progress: TaskCompletions,
    stored: bool,
) -> None:
    """Another one makes the snapshot if it has not reached the store; otherwise that one is served by all."""
    await start_all(fleet)
    await clone_everywhere(git, fleet, "first")
    pushed = await push_and_wait(repository, fleet, 2)
    for proxy in proxies:
        proxy.trap_answers = stored
        proxy.trap = (
            f"PUT /{objectservers.BUCKET}/{PREFIX}/{fleet[0].state.parent.name}/{manifest_of(fleet[0])} ".encode()
        )
    pushed.append(repositories.push_commit(repository, "main", "the last words"))
    _, number = await patient(DeferredList([proxy.trapped for proxy in proxies], fireOnOneCallback=True))
    for proxy in proxies:
        proxy.trap = None
    doomed = fleet[number]
    await doomed.kill()
    left = [server for server in fleet if server is not doomed]
    await first_of(left, TAKEN)
    if not stored:
        await first_of(left, MADE)
    for server in left:
        await newest(server, pushed[-1])
    pushed += await push_and_wait(repository, left, 2)
    for server in left:
        await newest(server, pushed[-1])
    assert len(logged(fleet, MADE)) - len(pushed) in ((-1, 0) if stored else (0, 1)), "once for each commit"
    assert await progress.counted("made/snapshot/git.example/org/repo") <= len(logged(fleet, MADE))


@pytest.mark.no_cover
@pytest.mark.timeout(120)
@pytest_twisted.ensureDeferred
async def test_clocks_that_disagree_and_jump(
    repository: Repository, git: Git, fleet: list[ServerProcess], clocks: list[SkewedClock], progress: TaskCompletions
) -> None:
    """Each commit's snapshot is made once, and in each interval one; beyond ten minutes at least the former holds."""
    for clock, ahead in zip(clocks, (-APART, 0.0, APART), strict=True):
        clock.put(ahead)
    await start_all(fleet)
    await clone_everywhere(git, fleet, "first")
    snapshots = Completions(progress, "snapshot", APART)
    pushed = await push_and_wait(repository, fleet, 4, snapshots)
    for times, ahead in enumerate((-APART, APART), 1):
        clocks[2].put(ahead)
        await fleet[2].seen("the clock was put", times)
        pushed += await push_and_wait(repository, fleet, 4, snapshots)
    assert snapshots.shortest() >= SHORTEST * INTERVAL
    for times, ahead in enumerate((HOUR, -HOUR), 3):
        clocks[2].put(ahead)
        await fleet[2].seen("the clock was put", times)
        pushed += await push_and_wait(repository, fleet, 4)
    for server in fleet:
        await newest(server, pushed[-1])
    assert len(logged(fleet, MADE)) in (len(pushed), len(pushed) + 1), "once for each commit"
    assert await all_counted(fleet, progress)
