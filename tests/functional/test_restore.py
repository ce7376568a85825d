"""A workspace out of a snapshot is a workspace like any other, and up to date with one more fetch."""

from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.restoring import cachew_command
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"


async def restore(cachew: Cachew, git: Git, directory: str, *words: str) -> str:
    """Restore the repository and return what the command said."""
    result = await cachew_command(reactor, git, "--url", cachew.url, "git", "restore", URL, directory, *words)
    return result.out + result.err


async def tree_of(git: Git, clone: str) -> str:
    """Return the tree of a clone's HEAD."""
    return (await git.run("-C", clone, "rev-parse", "HEAD^{tree}")).out


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
async def test_a_restored_workspace(upstream: Upstream, git: Git, start: Start, object_format: str) -> None:
    """It is clean, has the tree of a direct clone, and a pull brings what was pushed a second ago."""
    repository = repositories.make_repository(
        upstream.path("org/repo"), commits=20, branches=["main", "topic"], tags=["v1"], object_format=object_format
    )
    cachew = await start('[git]\nref-check-interval = "0s"')
    said = await restore(cachew, git, "restored")
    assert "insteadOf" in said
    await git.run("clone", "-q", f"{upstream.url}org/repo", "direct")
    assert (await git.run("-C", "restored", "status", "--porcelain=v2")).out == ""
    assert await tree_of(git, "restored") == await tree_of(git, "direct")
    assert (await git.run("-C", "restored", "remote", "get-url", "origin")).out == URL
    await git.run("-C", "restored", "fsck", "--strict")
    for refs in ("refs/remotes/origin", "refs/tags", "refs/heads"):
        listed = [(await git.run("-C", one, "for-each-ref", refs)).out for one in ("restored", "direct")]
        assert listed[0] == listed[1]
    git.instead_of(*cachew.instead_of)
    pushed = repositories.push_commit(repository, "main", "pushed")
    await git.run("-C", "restored", "pull", "-q")
    assert (await git.run("-C", "restored", "rev-parse", "HEAD")).out == pushed


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
async def test_every_restore_is_one_fetch_behind(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """After each restore, from the same old snapshot, a fetch through the server brings the newest commit."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=5)
    cachew = await start('[git]\nref-check-interval = "0s"')
    git.instead_of(*cachew.instead_of)
    for number in range(4):
        pushed = repositories.push_commit(repository, "main", f"push {number}")
        await restore(cachew, git, f"restored{number}", *(["--no-bundle"] if number % 2 else []))
        await git.run("-C", f"restored{number}", "fetch", "-q", protocol=protocol)
        assert (await git.run("-C", f"restored{number}", "rev-parse", "origin/main")).out == pushed


@pytest_twisted.ensureDeferred
async def test_the_servers_own_url(upstream: Upstream, git: Git, start: Start) -> None:
    """A restore by the server's URL has the upstream as its origin, where the operator says that it is."""
    repositories.make_repository(upstream.path("org/repo"), commits=5)
    cachew = await start()
    await cachew_command(reactor, git, "git", "restore", f"{cachew.url}/git/git.example/org/repo", "restored")
    assert (await git.run("-C", "restored", "remote", "get-url", "origin")).out == f"{upstream.url}org/repo"
    await git.run("-C", "restored", "fetch", "-q")


@pytest_twisted.ensureDeferred
async def test_the_delta_comes_with_it(upstream: Upstream, git: Git, start: Start) -> None:
    """A snapshot that is behind is followed by its bundle, so that the checkout is where the mirror is."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=5)
    cachew = await start('[git]\nref-check-interval = "0s"')
    await restore(cachew, git, "first")
    pushed = repositories.push_commit(repository, "main", "pushed")
    await restore(cachew, git, "second", "--ref", f"refs/heads/main={pushed}")
    assert (await git.run("-C", "second", "rev-parse", "HEAD")).out == pushed
    said = await restore(cachew, git, "third")
    assert "Delta bundle applied" in said
    assert (await git.run("-C", "third", "rev-parse", "HEAD")).out == pushed
    assert (await git.run("-C", "third", "status", "--porcelain=v2")).out == ""


@pytest_twisted.ensureDeferred
async def test_a_failed_restore_leaves_nothing(upstream: Upstream, git: Git, start: Start, tmp_path: Path) -> None:
    """A repository that isn't there gives one line that says so, status 1, and no directory."""
    cachew = await start()
    words = ["--url", cachew.url, "git", "restore", URL, "restored"]
    before = sorted(path.name for path in git.home.iterdir())
    result = await cachew_command(reactor, git, *words, check=False)
    assert result.code == 1
    assert "git.example/org/repo" in result.err and "Traceback" not in result.err
    assert sorted(path.name for path in git.home.iterdir()) == before
