"""A shared store that fails in every way: who asks a warm server notices nothing but time."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.cache.interface import Cache, object_key
from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import CachewError
from cachew.plumbing.streams import read_all
from cachew.snapshots.variants import NAMESPACE, Variant
from tests.fakes.faultyproxy import FaultyProxy
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.loglines import LogLines, listening
from tests.functional.rawhttp import ask, connect, request_head
from tests.functional.replicas import tiers
from tests.functional.repositories import Repository
from tests.functional.server import HOST, Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"
UNSCHEDULED = """
[git]
ref-check-interval = "0s"
snapshot-interval = "0s"
bundle-interval = "0s"
mirror-snapshot-interval = "0s"
repack-interval = "0s"
"""
PAGES = ("overview", "repositories", "")
PATIENCE = 3.0
"""Seconds in which a warm server answers, though the store takes five for each call."""

Fault = Callable[[FaultyProxy], None]


def down(proxy: FaultyProxy) -> None:
    """Nobody is there."""
    proxy.refuse = True
    proxy.drop()


def slow(proxy: FaultyProxy) -> None:
    """Every call takes five seconds."""
    proxy.delay = 5.0


def unavailable(proxy: FaultyProxy) -> None:
    """Every call is answered 503."""
    proxy.answer = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    proxy.drop()


def breaking(proxy: FaultyProxy) -> None:
    """Connections end in the midst of the answer, at the latest."""
    proxy.cut = 20
    proxy.drop()


@pytest_twisted.async_yield_fixture
async def proxy(store: str) -> AsyncIterator[FaultyProxy]:
    """What stands between the servers and the store."""
    proxy = FaultyProxy(reactor=reactor, target=urlsplit(store).port or 0)
    await proxy.start()
    yield proxy
    await proxy.stop()


@pytest.fixture
def log() -> Iterator[LogLines]:
    """What is logged."""
    with listening() as lines:
        yield lines


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository, whose snapshot has about 3 MB."""
    return repositories.make_repository(upstream.path("org/repo"), commits=5, files=30, size=100_000)


def shared(proxy: FaultyProxy, tmp_path: Path, *, near: str = "disk") -> str:
    """Return the config of a server that reaches the store through the proxy."""
    return UNSCHEDULED + tiers(f"http://127.0.0.1:{proxy.port}", tmp_path.name, near=near)


async def snapshot(cachew: Cachew, *headers: str) -> Response:
    """Ask for the snapshot."""
    return await ask(reactor, cachew.url, "GET", SNAPSHOT, *headers)


async def warm_up(cachew: Cachew, log: LogLines) -> bytes:
    """Have the repository mirrored and its snapshot stored, and return that."""
    await cachew.mirrored("org/repo")
    made = log.next("made snapshot")
    body = (await snapshot(cachew)).body
    await made
    await cachew.quiet()
    return body


async def readiness(cachew: Cachew) -> tuple[int, str]:
    """Probe the store and return what readiness says then."""
    await cachew.parts.store.cache.probe()
    answer = await ask(reactor, cachew.url, "GET", "/_readiness")
    return answer.status, answer.body.decode()


async def within(seconds: float, work: Any) -> Any:
    """Await work and see how long it takes."""
    clock: Any = reactor
    began = clock.seconds()
    result = await work
    assert clock.seconds() - began < seconds
    return result


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("fault", "trouble", "metric"),
    [
        (down, "fails", 'cachew_cache_tier_up{tier="2-s3"} 0.0'),
        (slow, "is slow", 'cachew_cache_tier_seconds_bucket{le="5.0",tier="2-s3"}'),
        (
            unavailable,
            "fails: the object store failed (503)",
            'cachew_cache_tier_requests_total{outcome="failed",tier="2-s3"}',
        ),
        (breaking, "fails", 'cachew_cache_tier_up{tier="2-s3"} 0.0'),
    ],
)
async def test_warm_servers_go_on(
    start: Start,
    upstream: Upstream,
    git: Git,
    proxy: FaultyProxy,
    log: LogLines,
    repository: Repository,
    tmp_path: Path,
    fault: Fault,
    trouble: str,
    metric: str,
) -> None:
    """Clones, fetches, snapshots and objects are served as before; readiness and metrics tell of the store."""
    cachew = await start(shared(proxy, tmp_path))
    token = f"Authorization: Bearer {cachew.token}"
    git.instead_of(*cachew.instead_of)
    body = await warm_up(cachew, log)
    assert (await ask(reactor, cachew.url, "POST", "/api/v1/object/ns/k", token, body=b"content")).status == 200
    assert await readiness(cachew) == (200, "OK\n")
    fault(proxy)
    for number in range(2):
        assert (await within(PATIENCE, snapshot(cachew))).body == body
        found = await within(PATIENCE, ask(reactor, cachew.url, "GET", "/api/v1/object/ns/k", token))
        assert (found.status, found.body) == (200, b"content")
        pushed = repositories.push_commit(repository, "main", f"push {number}")
        await git.run("clone", "-q", "https://git.example/org/repo", f"clone{number}")
        assert (await git.run("-C", f"clone{number}", "rev-parse", "HEAD")).out == pushed
    status, told = await readiness(cachew)
    assert status == 200 and told.startswith(f"OK\ncache tier 2-s3 {trouble}"), told
    assert metric in (await cachew.metrics()).decode()
    proxy.behave()


@pytest_twisted.ensureDeferred
async def test_a_store_that_hangs_holds_nobody_else(
    start: Start, proxy: FaultyProxy, log: LogLines, repository: Repository, tmp_path: Path
) -> None:
    """However many wait for the store, what is on disk is read and git served; at shutdown nobody waits for it."""
    cachew = await start(shared(proxy, tmp_path))
    token = f"Authorization: Bearer {cachew.token}"
    body = await warm_up(cachew, log)
    proxy.hang = True
    proxy.drop()
    clients = [await connect(reactor, cachew.url) for _ in range(40)]
    for number, client in enumerate(clients):
        client.send(request_head("GET", f"/api/v1/object/ns/absent{number}", token))
    assert (await within(PATIENCE, snapshot(cachew))).body == body
    repositories.push_commit(repository, "main", "while it hangs")
    assert (await within(PATIENCE, ask(reactor, cachew.url, "GET", "/_liveness"))).status == 200
    listing = await within(PATIENCE, cachew.get("org/repo/info/refs?service=git-upload-pack"))
    assert listing.code == 200 and await listing.content()
    admin = [await within(PATIENCE, ask(reactor, cachew.url, "GET", f"/admin/{page}", token)) for page in PAGES]
    assert [page.status for page in admin] == [200] * len(PAGES)
    for client in clients:
        client.transport.abortConnection()
        await client.lost.wait()
    await within(PATIENCE, cachew.stop())


@pytest_twisted.ensureDeferred
async def test_forget_removes_a_mirror_though_the_store_fails(
    start: Start, proxy: FaultyProxy, repository: Repository, tmp_path: Path
) -> None:
    """What could be withdrawn is: nothing of the repository is left on this server, whatever the store says."""
    cachew = await start(shared(proxy, tmp_path))
    mirror = await cachew.mirrored("org/repo")
    down(proxy)
    path = f"/admin/repositories/{HOST}/org/repo/forget"
    response = await ask(reactor, cachew.url, "POST", path, f"Authorization: Bearer {cachew.token}")
    # What the store could not remove stays owed for as long as it fails.
    with suppress(CachewError):
        await cachew.parts.mirrors.forget(Identity(HOST, "org/repo"))
    assert response.status in (202, 503) and not mirror.ready and not mirror.directory.exists()


@pytest_twisted.ensureDeferred
async def test_a_first_snapshot_that_the_store_prevents_is_told_as_such(
    start: Start, proxy: FaultyProxy, repository: Repository, tmp_path: Path
) -> None:
    """Which repository a name is of now is written down in the store before anything is made of it."""
    down(proxy)
    cachew = await start(shared(proxy, tmp_path))
    refused = await snapshot(cachew)
    assert refused.status == 503 and b"store" in refused.body, refused.body
    proxy.refuse = False
    made = await snapshot(cachew)
    assert made.status == 200, made.body


def key_in(cachew: Cachew) -> str:
    """Return the key of the snapshot."""
    instance = cachew.parts.mirrors.instances.current(Identity(HOST, "org/repo"))
    assert instance is not None
    return Variant().key(instance)


async def held(cache: Cache, key: str) -> bytes | None:
    """Return what a cache holds."""
    entry = await cache.open(NAMESPACE, object_key(key))
    if entry is None:
        return None
    try:
        return await read_all(entry.source(), 10**8)
    finally:
        entry.close()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("fault", ["lost", "cut short", "altered"])
async def test_nothing_wrong_is_served_or_kept(
    start: Start, proxy: FaultyProxy, log: LogLines, repository: Repository, tmp_path: Path, fault: str
) -> None:
    """A new server whose connection to the store is lost in an object, or damages it, gives the right bytes or none."""
    first = await start(shared(proxy, tmp_path))
    body = await warm_up(first, log)
    fresh = await start(shared(proxy, tmp_path), state="fresh")
    if fault == "lost":
        proxy.cut = 1_000_000
    elif fault == "cut short":
        proxy.cut = len(body) - 1000
    else:
        proxy.change, proxy.once = (body[500_000:500_040], b"\0" * 40), True
    proxy.drop()
    answer = await begun(fresh)
    assert body.startswith(answer)
    assert proxy.change is None
    await fresh.quiet()
    assert await held(fresh.parts.store.cache.tiers[0], key_in(fresh)) in (None, body)
    proxy.behave()
    again = await snapshot(fresh)
    assert again.headers["etag"] == f'"{hashlib.sha256(again.body).hexdigest()}"'
    assert again.body == body
    await fresh.quiet()
    assert await held(fresh.parts.store.cache.tiers[0], key_in(fresh)) == body


async def begun(cachew: Cachew) -> bytes:
    """Ask for the snapshot and return what comes of it, be it all or not."""
    client = await connect(reactor, cachew.url)
    client.send(request_head("GET", SNAPSHOT))
    received = await client.closed()
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 ")), head
    return body if head.startswith(b"HTTP/1.1 200 ") else b""
