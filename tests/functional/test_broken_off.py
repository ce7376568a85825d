"""Clients that leave and upstreams that break off in the middle: nothing is left behind, nothing is damaged."""

from collections.abc import Collection, Mapping

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Cut, Stall
from tests.functional.rawhttp import connect, fetch_request, request_head
from tests.functional.remains import children, descriptors, settle, temporary_files
from tests.functional.repositories import Repository
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
SNAPSHOT = request_head("GET", "/git/git.example/org/repo/snapshot.tar.zst")
PROTOCOLS = pytest.mark.parametrize("protocol", [0, 2])


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(upstream.path("org/repo"), commits=50, files=20, size=500_000)


async def leave_in_the_middle(cachew: Cachew, request: bytes) -> None:
    """Send a request, read some of the answer, and go away without a word."""
    client = await connect(reactor, cachew.url)
    client.send(request)
    assert (await client.head()).status == 200
    await client.take(10_000)
    client.transport.abortConnection()
    await client.lost.wait()


def left_over(cachew: Cachew, before: Mapping[str, int], known: Collection[str]) -> list[object]:
    """Name what is left of requests that have ended."""
    after = descriptors()
    grown = {what: after[what] for what in after if after[what] > before.get(what, 0)}
    new = [child for child in children() if child not in known]
    return [*new, *temporary_files(cachew.state), *grown.items()]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("pack_cache", ["true", "false"])
async def test_clients_that_leave(
    upstream: Upstream, repository: Repository, git: Git, start: Start, pack_cache: str
) -> None:
    """Of clients that leave a pack or a snapshot in the middle no process, file or descriptor is left."""
    cachew = await start(f"[pack-cache]\nenabled = {pack_cache}")
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    await git.run("ls-remote", URL)
    await cachew.quiet()
    await settle(reactor, children)
    before, known = descriptors(), children()
    for _ in range(3):
        await leave_in_the_middle(cachew, fetch_request(repository.commit()))
        await leave_in_the_middle(cachew, SNAPSHOT)
    await cachew.quiet()
    assert await settle(reactor, lambda: left_over(cachew, before, known)) == []
    await git.run("clone", "-q", URL, "clone")
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit()


@pytest_twisted.ensureDeferred
async def test_a_client_of_a_cold_repository_that_leaves(
    upstream: Upstream, repository: Repository, git: Git, start: Start
) -> None:
    """When a client leaves, the upstream's pack for it is broken off; the mirror, which is for everybody, goes on."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    upstream.misbehave(Stall(1_000_000), kind="pack")
    client = Deferred.fromCoroutine(git.run("clone", "-q", URL, "left"))
    client.addErrback(lambda gone: gone.trap(CancelledError))
    packs = await upstream.journal.reached(2, "pack")
    client.cancel()
    (of_client,) = [one for one in packs if "cachew" not in one.headers.get("user-agent", "")]
    assert await of_client.end() == "lost"
    assert await settle(reactor, lambda: [*cachew.state.glob("packs/*.part"), *cachew.state.glob("spools/*")]) == []
    assert list(cachew.state.glob("mirrors/.aside/*"))


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_an_upstream_that_breaks_off_a_clone(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """A cold clone whose upstream breaks off fails clearly and leaves nothing; the next one works."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    upstream.misbehave(Cut(1_000_000), kind="pack")
    result = await git.run("clone", "-q", URL, "cut", protocol=protocol, check=False)
    assert result.code != 0 and "fatal" in result.err
    assert not (git.home / "cut").exists()
    await cachew.quiet()
    assert temporary_files(cachew.state) == []
    assert not list(cachew.state.glob("mirrors/git.example/*")) and not list(cachew.state.glob("packs/*.pack"))
    upstream.behave()
    await git.run("clone", "-q", URL, "clone", protocol=protocol)
    await git.run("-C", "clone", "fsck", "--strict")
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit()


@pytest_twisted.ensureDeferred
@PROTOCOLS
@pytest.mark.parametrize("times", [1, None])
async def test_an_upstream_that_breaks_off_a_fetch(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int, times: int | None
) -> None:
    """A mirror whose fetch is broken off stays as it was; clients go past it, or fail until the upstream is well."""
    cachew = await start('[git]\nref-check-interval = "0s"')
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await git.run("clone", "-q", URL, "clone", protocol=protocol)
    old = repository.commit()
    pushed = repositories.push_commit(repository, "main", "new", data=b"x" * 3_000_000)
    upstream.misbehave(Cut(1_000), kind="pack", times=times)
    result = await git.run("-C", "clone", "fetch", "-q", protocol=protocol, check=False)
    assert (result.code == 0) == (times == 1), result.err
    assert times == 1 or mirror.refs.by_name["refs/heads/main"] == old
    await cachew.quiet()
    Repository(mirror.directory).git("fsck", "--strict")
    upstream.behave()
    await git.run("-C", "clone", "fetch", "-q", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-parse", "origin/main")).out == pushed
    await cachew.quiet()
    assert mirror.refs.by_name["refs/heads/main"] == pushed
    assert await settle(reactor, lambda: temporary_files(cachew.state)) == []
