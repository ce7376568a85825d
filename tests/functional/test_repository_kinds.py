"""Repositories and clones of every kind that git knows, through the server."""

import random

import pytest
import pytest_twisted
from twisted.internet import reactor

from cachew.snapshots.variants import MIRROR, Variant
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.repositories import Repository
from tests.functional.restoring import cachew_command
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
AT_ONCE = '[git]\nref-check-interval = "0s"'
PROTOCOLS = pytest.mark.parametrize("protocol", [0, 1, 2])
FORMATS = pytest.mark.parametrize("object_format", ["sha1", "sha256"])


async def warm(start: Start, git: Git) -> Cachew:
    """Start a server and have the repository mirrored."""
    cachew = await start(AT_ONCE)
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    await cachew.quiet()
    return cachew


def count(cachew: Cachew, *sources: str) -> int:
    """Return how many git requests were answered from somewhere."""
    return sum(cachew.served().get(source, 0) for source in sources)


@pytest_twisted.ensureDeferred
@FORMATS
@PROTOCOLS
async def test_an_empty_repository(
    upstream: Upstream, git: Git, start: Start, object_format: str, protocol: int
) -> None:
    """It clones as from the upstream, with its object format, and works as soon as it has refs."""
    repository = repositories.init(upstream.path("org/repo"), branch="trunk", object_format=object_format)
    cachew = await start(AT_ONCE)
    git.instead_of(*cachew.instead_of)
    for name, url in (("direct", f"{upstream.url}org/repo"), ("empty", URL)):
        await git.run("clone", "-q", url, name, protocol=protocol)
    asked = ("rev-parse", "--show-object-format"), ("symbolic-ref", "HEAD")
    for words in asked:
        said = [(await git.run("-C", name, *words)).out for name in ("direct", "empty")]
        assert said[0] == said[1]
    await cachew.quiet()
    assert not list(cachew.state.glob("mirrors/git.example/*"))
    pushed = repositories.push_commit(repository, "trunk", "first")
    await git.run("clone", "-q", URL, "filled", protocol=protocol)
    assert (await git.run("-C", "filled", "rev-parse", "HEAD")).out == pushed
    # An old git takes an empty SHA-256 repository for a SHA-1 one, and can't fetch into it then, from nobody.
    fetches = [await git.run("-C", name, "fetch", "-q", protocol=protocol, check=False) for name in ("direct", "empty")]
    assert fetches[0] == fetches[1]


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_sha256(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """A SHA-256 repository is cloned, and fetched into, through its mirror."""
    repository = repositories.make_repository(
        upstream.path("org/repo"), commits=20, branches=["main", "topic"], tags=["v1"], object_format="sha256"
    )
    cachew = await warm(start, git)
    await git.run("clone", "-q", URL, "clone", protocol=protocol)
    await git.run("-C", "clone", "fsck", "--strict")
    pushed = repositories.push_commit(repository, "main", "new")
    await git.run("-C", "clone", "pull", "-q", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == pushed
    assert count(cachew, "upstream") == 0


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_shallow_clones(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """A shallow clone is deepened, followed and made whole, all from the mirror."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=30, branches=["main", "topic"])
    cachew = await warm(start, git)
    await git.run("clone", "-q", "--depth=3", "--no-single-branch", URL, "clone", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-list", "--count", "HEAD")).out == "3"
    await git.run("-C", "clone", "fetch", "-q", "--deepen=4", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-list", "--count", "HEAD")).out == "7"
    pushed = repositories.push_commit(repository, "main", "new")
    await git.run("-C", "clone", "fetch", "-q", "--depth=1", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-parse", "origin/main")).out == pushed
    await git.run("-C", "clone", "fetch", "-q", "--unshallow", protocol=protocol)
    await git.run("-C", "clone", "merge", "-q", "--ff-only", "origin/main")
    assert (await git.run("-C", "clone", "rev-list", "--count", "HEAD")).out == "31"
    await git.run("-C", "clone", "fsck", "--strict")
    assert count(cachew, "upstream") == 0


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_a_shallow_upstream(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """What is cut off at the upstream is cut off in the mirror, in its clones and in what is made of it."""
    whole = repositories.make_repository(upstream.path("org/whole"), commits=30)
    whole.git("clone", "-q", "--bare", "--depth=5", f"file://{whole.path}", str(upstream.path("org/repo")))
    repository = Repository(upstream.path("org/repo"))
    cachew = await warm(start, git)
    refused = await git.run("clone", "-q", "--reject-shallow", URL, "refused", protocol=protocol, check=False)
    # By HTTP, git looks for it in protocol v2 alone.
    assert protocol < 2 or "is shallow" in refused.err
    await git.run("clone", "-q", URL, "clone", protocol=protocol)
    pushed = repositories.push_commit(repository, "main", "new")
    await git.run("-C", "clone", "pull", "-q", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == pushed
    assert (await git.run("-C", "clone", "rev-list", "--count", "HEAD")).out == "6"
    await git.run("-C", "clone", "fsck", "--strict")
    await git.run("clone", "-q", "--depth=2", URL, "cut", protocol=protocol)
    assert (await git.run("-C", "cut", "rev-list", "--count", "HEAD")).out == "2"
    assert count(cachew, "upstream") == 0
    url = f"{cachew.url}/git/git.example/org/repo"
    await cachew_command(reactor, git, "git", "restore", url, "restored")
    assert (await git.run("-C", "restored", "log", "--format=%h")).out.count("\n") == 5
    await git.run("-C", "restored", "fsck", "--strict")
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    assert (await cachew.get("org/repo/bundle-list")).code == 404
    await cachew.parts.snapshots.archives.produce(mirror.instance, Variant(MIRROR)).ended()


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_shallow_by_date_and_by_ref(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """``--shallow-since`` and ``--shallow-exclude`` give what they give from the upstream."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=30)
    repository.git("tag", "old", "HEAD~5")
    cachew = await warm(start, git)
    options = {"since": f"--shallow-since={repositories.FIRST_TIME + 20}", "exclude": "--shallow-exclude=old"}
    for name, option in options.items():
        counts = []
        for where, url in (("direct", f"{upstream.url}org/repo"), ("cachew", URL)):
            await git.run("clone", "-q", option, url, f"{name}-{where}", protocol=protocol)
            counts.append((await git.run("-C", f"{name}-{where}", "rev-list", "--count", "HEAD")).out)
        assert counts[0] == counts[1]
    assert count(cachew, "upstream") == 0


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_shallow_without_commits(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """A shallow clone that would have no commits fails in the words in which it fails at the upstream."""
    repositories.make_repository(upstream.path("org/repo"), commits=3, branches=["main", "topic"])
    await warm(start, git)
    for option in ("--shallow-since=2040-01-01", "--shallow-exclude=topic"):
        said = []
        for url in (f"{upstream.url}org/repo", URL):
            result = await git.run("clone", "-q", option, url, "none", protocol=protocol, check=False)
            said.append((result.code, result.err))
        assert said[0][0] != 0
        assert said[0] == said[1]


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_partial_clones(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """A clone without blobs gets them later, when they are needed, from the mirror."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=10, files=5)
    cachew = await warm(start, git)
    await git.run("clone", "-q", "--filter=blob:none", "--no-checkout", URL, "clone", protocol=protocol)
    missing = (await git.run("-C", "clone", "rev-list", "--objects", "--all", "--missing=print")).out
    assert missing.count("?") >= 5
    await git.run("-C", "clone", "checkout", "-q", "HEAD", protocol=protocol)
    assert (await git.run("-C", "clone", "status", "--porcelain")).out == ""
    pushed = repositories.push_commit(repository, "main", "new", name="later", data=b"later\n")
    await git.run("-C", "clone", "pull", "-q", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == pushed
    assert (git.home / "clone/later").read_text() == "later\n"
    assert count(cachew, "upstream") == 0


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_single_branches(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """A clone of one branch has that branch only."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=5)
    repositories.add_commit(repository, "refs/heads/topic", "topic", parent="refs/heads/main~3")
    cachew = await warm(start, git)
    await git.run("clone", "-q", "--single-branch", "--branch=topic", URL, "clone", protocol=protocol)
    refs = (await git.run("-C", "clone", "for-each-ref", "--format=%(refname)", "refs/remotes")).out
    assert refs == "refs/remotes/origin/topic"
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit("topic")
    assert (await git.run("-C", "clone", "cat-file", "-e", repository.commit("main"), check=False)).code != 0
    assert count(cachew, "upstream") == 0


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_wants_by_id(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """Commits are fetched by id: reachable ones, unadvertised ones, and those of a pull request."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=10)
    await warm(start, git)
    await git.run("init", "-q", "clone")
    unadvertised = repositories.unadvertised_commit(repository)
    pull = repositories.add_pull(repository, 7)
    for wanted in (repository.commit("main~4"), unadvertised, pull):
        await git.run("-C", "clone", "fetch", "-q", "--depth=1", URL, wanted, protocol=protocol)
        assert (await git.run("-C", "clone", "rev-parse", "FETCH_HEAD")).out == wanted
    await git.run("-C", "clone", "fetch", "-q", URL, "refs/pull/7/head", protocol=protocol)
    assert (await git.run("-C", "clone", "rev-parse", "FETCH_HEAD")).out == pull
    absent = "1" * 40
    result = await git.run("-C", "clone", "fetch", "-q", URL, absent, protocol=protocol, check=False)
    assert result.code != 0
    assert "not our ref" in result.err or "no such remote ref" in result.err or "unadvertised" in result.err


@pytest_twisted.ensureDeferred
async def test_what_is_made_of_an_empty_repository(upstream: Upstream, start: Start) -> None:
    """There is nothing to make of it until it has refs, which is 404 however often one asks, and no failure."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=0)
    cachew = await start('[git]\nref-check-interval = "0s"\n')
    base = "/git/git.example/org/repo"
    for what in ("snapshot.tar.zst", "snapshot.tar.zst?ref=refs/heads/main", f"snapshot.bundle?base={'a' * 40}"):
        answer = await ask(reactor, cachew.url, "GET", f"{base}/{what}")
        assert (answer.status, answer.body) == (404, b"git.example/org/repo has no branches yet\n"), what
    repositories.fast_import(repository, repositories.history(random.Random(1), "main", commits=1, files=1, size=10))
    assert (await ask(reactor, cachew.url, "GET", f"{base}/snapshot.tar.zst")).status == 200
