"""Big repositories and many clients: clones are whole, and nothing is left of them on the server."""

import os
from collections.abc import Collection, Mapping

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.remains import children, descriptors, settle, temporary_files
from tests.functional.repositories import Repository
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
CROWD = 50


async def refs_of(git: Git, url: str, protocol: int | None = None) -> str:
    """List a repository's refs over HTTP."""
    return (await git.run("ls-remote", url, protocol=protocol)).out


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@pytest.mark.timeout(180)
async def test_a_big_repository(big: Repository, upstream: Upstream, git: Git, start: Start) -> None:
    """More than 10,000 commits and 100 MB come whole, cold and warm, with v2 and v0, and with the upstream's refs."""
    path = upstream.path("org/repo")
    path.parent.mkdir()
    os.symlink(big.path, path)
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", URL, "cold")
    await git.run("-C", "cold", "fsck", "--strict")
    await cachew.mirrored("org/repo")
    await cachew.quiet()
    # Not what the cold clone asked for, whose answer is kept.
    await git.run("clone", "-q", "--no-tags", URL, "warm", protocol=2)
    await git.run("clone", "-q", "--bare", URL, "warm-v0", protocol=0)
    assert cachew.served()["mirror"] >= 2
    for clone in ("warm", "warm-v0"):
        await git.run("-C", clone, "fsck", "--strict", "--connectivity-only" if clone == "warm" else "--full")
    heads = {(await git.run("-C", clone, "rev-parse", "HEAD")).out for clone in ("cold", "warm", "warm-v0")}
    assert heads == {big.commit()}
    for protocol in (0, 2):
        assert await refs_of(git, URL, protocol) == await refs_of(git, f"{upstream.url}org/repo")


def grown(before: Mapping[str, int]) -> dict[str, int]:
    """Say of what there are more descriptors than before."""
    return {what: count - before.get(what, 0) for what, count in descriptors().items() if count > before.get(what, 0)}


def left_over(cachew: Cachew, before: Mapping[str, int], known: Collection[str]) -> list[object]:
    """Name what is left of requests that have ended."""
    new = [child for child in children() if child not in known]
    return [*new, *temporary_files(cachew.state), *grown(before).items()]


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@pytest.mark.timeout(120)
@pytest.mark.parametrize("pack_cache", ["true", "false"])
async def test_a_crowd(upstream: Upstream, git: Git, start: Start, pack_cache: str) -> None:
    """Fifty clients clone a warm repository at once; no process, temporary file or descriptor is left of them."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=100, files=50, size=10_000)
    cachew = await start(f"[pack-cache]\nenabled = {pack_cache}")
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    await git.run("clone", "-q", URL, "first", protocol=2)
    await cachew.quiet()
    await settle(reactor, children)
    before, known = descriptors(), children()
    clones = [
        Deferred.fromCoroutine(git.run("clone", "-q", "--bare", URL, f"clone{n}", protocol=n % 2 * 2))
        for n in range(CROWD)
    ]
    await gatherResults(clones, consumeErrors=True)
    heads = [Repository(git.home / f"clone{n}").commit() for n in range(CROWD)]
    assert set(heads) == {repository.commit()}
    await cachew.quiet()
    assert await settle(reactor, lambda: left_over(cachew, before, known)) == []
