"""A replica that has nothing yet, beside one that shares an object store with it."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.snapshots.variants import MIRROR, Variant
from tests.fakes.faultyproxy import FaultyProxy
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Hang, Hold, Refuse
from tests.functional.rawhttp import ask, connect, request_head
from tests.functional.replicas import tiers
from tests.functional.repositories import Repository
from tests.functional.server import HOST, Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

IDENTITY = Identity(HOST, "org/repo")
SNAPSHOT = "/git/git.example/org/repo/snapshot.tar.zst"
UNSCHEDULED = """
[git]
ref-check-interval = "0s"
snapshot-interval = "0s"
bundle-interval = "0s"
mirror-snapshot-interval = "0s"
repack-interval = "0s"
[access]
mode = "trusted-network"
"""


@pytest_twisted.async_yield_fixture
async def meter(upstream: Upstream) -> AsyncIterator[FaultyProxy]:
    """Counts the bytes that come from the upstream."""
    meter = FaultyProxy(reactor=reactor, target=urlsplit(upstream.url).port or 0)
    await meter.start()
    yield meter
    await meter.stop()


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository of 3 MB."""
    return repositories.make_repository(upstream.path("org/repo"), commits=30, files=30, size=50_000)


async def first_replica(start: Start, config: str) -> Cachew:
    """Start a replica that has stored a snapshot and a mirror snapshot."""
    first = await start(config)
    await first.mirrored("org/repo")
    for variant in (Variant(), Variant(MIRROR)):
        await first.parts.snapshots.archives.make(IDENTITY, variant)
    return first


@pytest_twisted.ensureDeferred
async def test_starts_from_what_the_others_have(
    start: Start, upstream: Upstream, meter: FaultyProxy, git: Git, repository: Repository, store: str, tmp_path: Path
) -> None:
    """It sends the cached snapshot before it has a mirror, and its mirror costs the upstream a twentieth of a clone."""
    config = UNSCHEDULED + tiers(store, tmp_path.name)
    first = await first_replica(start, config)
    stored = await ask(reactor, first.url, "GET", SNAPSHOT)
    pushed = repositories.push_commit(repository, "main", "after the snapshots")
    await git.run("clone", "-q", "--mirror", f"http://127.0.0.1:{meter.port}/org/repo", "direct")
    clone, meter.passed = meter.passed, 0
    fresh = Cachew(reactor=reactor, state=tmp_path / "fresh", upstream=f"http://127.0.0.1:{meter.port}/", config=config)
    await fresh.start()
    try:
        hold = Hold()
        upstream.misbehave(hold)
        asked = Deferred.fromCoroutine(upstream.next_request())
        client = await connect(reactor, fresh.url)
        client.send(request_head("GET", SNAPSHOT))
        head = await client.head()
        assert (head.status, head.headers["etag"]) == (200, stored.headers["etag"])
        assert await client.take(len(stored.body)) == stored.body
        await asked
        mirror = fresh.parts.mirrors.collection.find(IDENTITY)
        assert mirror is not None and not mirror.ready
        for _ in range(3):
            assert (await ask(reactor, fresh.url, "GET", SNAPSHOT)).body == stored.body
        upstream.behave()
        hold.release()
        await fresh.quiet()
        mirror = await fresh.mirrored("org/repo")
        assert mirror.refs.by_name["refs/heads/main"] == pushed
        assert b'cachew_mirror_seeds_total{outcome="restored"} 1.0' in await fresh.metrics()
        assert meter.passed < clone / 20
        git.instead_of(*fresh.instead_of)
        await git.run("clone", "-q", "https://git.example/org/repo", "through")
        await git.run("-C", "through", "fsck", "--strict")
        assert (await git.run("-C", "through", "rev-parse", "HEAD")).out == pushed
    finally:
        await fresh.stop()


@pytest_twisted.ensureDeferred
async def test_serves_what_is_public_whatever_the_upstream_does(
    start: Start, upstream: Upstream, repository: Repository, store: str, tmp_path: Path
) -> None:
    """It sends the snapshot of a repository that the others saw to be public at once, though the upstream hangs."""
    config = UNSCHEDULED.partition("[access]")[0] + tiers(store, tmp_path.name)
    first = await start(config)
    stored = await stored_snapshot(first)
    upstream.misbehave(Hang())
    fresh = await start(config, state="fresh")
    client = await connect(reactor, fresh.url)
    client.send(request_head("GET", SNAPSHOT))
    head = await client.head()
    assert (head.status, head.headers["etag"]) == (200, stored.headers["etag"])
    assert await client.take(len(stored.body)) == stored.body
    client.transport.loseConnection()
    await client.lost.wait()


@pytest_twisted.ensureDeferred
async def test_not_what_is_public_no_more(
    start: Start, upstream: Upstream, repository: Repository, store: str, tmp_path: Path
) -> None:
    """What the upstream has refused to any replica since then, a new one serves to nobody without its word."""
    config = UNSCHEDULED.partition("[access]")[0] + tiers(store, tmp_path.name)
    await stored_snapshot(await start(config))
    upstream.gate.protect("org/repo", basic("reader", "secret"))
    second = await start(config, state="second")
    assert (await ask(reactor, second.url, "GET", SNAPSHOT)).status == 401
    await second.quiet()
    upstream.misbehave(Refuse(503))
    for server in (second, await start(config, state="third")):
        assert (await ask(reactor, server.url, "GET", SNAPSHOT)).status in (401, 503)


async def stored_snapshot(cachew: Cachew) -> Response:
    """Have a snapshot stored for all replicas, and what is public told to them, and return it as it is served."""
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.snapshots.archives.make(mirror.identity, Variant())
    stored = await ask(reactor, cachew.url, "GET", SNAPSHOT)
    assert stored.status == 200
    await cachew.quiet()
    return stored


@pytest_twisted.ensureDeferred
async def test_clones_are_counted_together(
    start: Start, git: Git, repository: Repository, store: str, tmp_path: Path
) -> None:
    """Each replica shows what all have served today, fetches of what is new left out; their grants are good at once."""
    config = UNSCHEDULED + tiers(store, tmp_path.name)
    replicas = [await start(config, state=name) for name in ("one", "two")]
    one, two = (cachew.parts.store.grant_secret for cachew in replicas)
    assert one() == two(), "the first grant of a new replica is good with the others"
    for number, cachew in enumerate((replicas[0], replicas[0], replicas[1])):
        original, replacement = cachew.instead_of
        through = {f"url.{replacement}.insteadOf": original}
        await git.run("clone", "-q", "https://git.example/org/repo", f"clone{number}", config=through)
        await cachew.mirrored("org/repo")
    repositories.push_commit(repository, "main", "since")
    await git.run("-C", "clone2", "fetch", "-q", config=through)
    for cachew in replicas:
        await cachew.parts.store.clones.flush()
    for cachew, served in zip(replicas, (2, 1), strict=True):
        await cachew.parts.store.clones.refresh([IDENTITY.name])
        (status,) = await cachew.parts.status.table.all()
        assert f'cachew_clones_total{{repository="{IDENTITY.name}"}} {served}.0' in (await cachew.metrics()).decode()
    assert status.clones_today == 3
