"""Bundles from a commit to HEAD, with their statuses, and the list that stock git begins a clone with."""

import re

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.loglines import listening
from tests.functional.misbehaviour import Hold, Refuse
from tests.functional.rawhttp import ask
from tests.functional.repositories import Repository
from tests.functional.server import UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

REPOSITORY = "/git/git.example/org/repo"
NOWHERE = "1" * 40


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(upstream.path("org/repo"), commits=6, size=3000)


async def bundle(cachew: Cachew, base: str, method: str = "GET") -> Response:
    """Ask for a bundle."""
    return await ask(reactor, cachew.url, method, f"{REPOSITORY}/snapshot.bundle?base={base}")


@pytest_twisted.ensureDeferred
async def test_from_a_commit_to_head(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """A clone at the commit is brought to HEAD by the bundle alone, which is made once."""
    cachew = await start(UNSCHEDULED)
    base = repository.commit("main~2")
    await git.run("clone", "-q", repository.path, "clone")
    await git.run("-C", "clone", "reset", "-q", "--hard", base)
    with listening() as log:
        answers = [await bundle(cachew, base), await bundle(cachew, base.upper())]
        assert log.count("made bundle") == 1
    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].headers["content-type"] == "application/x-git-bundle"
    assert answers[0].headers["etag"] == answers[1].headers["etag"] and answers[0].body == answers[1].body
    (git.home / "bundle").write_bytes(answers[0].body)
    await git.run("-C", "clone", "pull", "-q", "--ff-only", git.home / "bundle", "main")
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit()


@pytest_twisted.ensureDeferred
async def test_head_has_none(upstream: Upstream, repository: Repository, start: Start) -> None:
    """204 is what the upstream has just said: of a commit that it has moved on from there is a bundle."""
    cachew = await start(f'{UNSCHEDULED}ref-check-interval = "1h"\n')
    await cachew.mirrored("org/repo")
    base = repository.commit()
    before = upstream.count("refs")
    for method in ("GET", "HEAD"):
        answer = await bundle(cachew, base, method)
        assert (answer.status, answer.body) == (204, b"")
    assert upstream.count("refs") >= before + 2
    pushed = repositories.push_commit(repository)
    assert (await bundle(cachew, base, "HEAD")).status == 404
    answer = await bundle(cachew, base)
    assert answer.status == 200 and pushed.encode() in answer.body
    newest = repositories.push_commit(repository, message="the newest")
    assert (await bundle(cachew, newest)).status == 204, "the mirror had to fetch it first"
    upstream.misbehave(Refuse(503))
    assert (await bundle(cachew, newest)).status == 502, "nobody has said that it is the newest"


@pytest_twisted.ensureDeferred
async def test_refused(upstream: Upstream, repository: Repository, start: Start) -> None:
    """400 is for what is no commit's id, 404 for a commit that one fetch in a while doesn't bring."""
    cachew = await start(UNSCHEDULED)
    for text in ("", "main", "HEAD", "1" * 39, "1" * 41, "g" * 40, "1" * 63, f"^{NOWHERE}", f"{NOWHERE}%00"):
        for method in ("GET", "HEAD"):
            assert (await bundle(cachew, text, method)).status == 400, text
    assert (await ask(reactor, cachew.url, "GET", f"{REPOSITORY}/snapshot.bundle")).status == 400
    assert (await bundle(cachew, NOWHERE, "HEAD")).status == 404
    assert not list(cachew.parts.mirrors.collection), "HEAD makes no mirror"
    await cachew.mirrored("org/repo")
    asked = upstream.count()
    for base in (NOWHERE, "2" * 64):
        assert (await bundle(cachew, base)).status == 404
        assert upstream.count() > asked
    asked = upstream.count()
    for _ in range(3):
        assert (await bundle(cachew, NOWHERE)).status == 404
    assert upstream.count() == asked


@pytest_twisted.ensureDeferred
async def test_known_commits_wait_for_no_upstream(upstream: Upstream, repository: Repository, start: Start) -> None:
    """A bundle between commits that the mirror has is made and sent though the upstream hangs."""
    cachew = await start(f'{UNSCHEDULED}[access]\nmode = "trusted-network"\n')
    await cachew.mirrored("org/repo")
    hold = Hold()
    upstream.misbehave(hold)
    assert (await bundle(cachew, repository.commit("main~2"))).status == 200
    hold.release()


@pytest_twisted.ensureDeferred
async def test_a_list_that_grows(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """Whoever has applied a list needs only the bundles with greater tokens, each of which fits on those before it."""
    cachew = await start(UNSCHEDULED)
    mirror = await cachew.mirrored("org/repo")
    assert (await listed(cachew)).status == 404
    await cachew.quiet()
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    first = entries(await listed(cachew))
    await git.run("init", "-q", "--bare", "taken")
    await take(cachew, git, first[0][1])
    for number in range(2):
        repositories.push_commit(repository, message=f"push {number}")
        await cachew.parts.mirrors.staleness.fetch(mirror.identity)
        await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    grown = entries(await listed(cachew))
    assert grown[: len(first)] == first and len(grown) == 3
    tokens = [token for token, _ in grown]
    assert tokens == sorted(set(tokens))
    for token, uri in grown:
        if token > first[-1][0]:
            await take(cachew, git, uri)
    assert (await git.run("-C", "taken", "rev-parse", "refs/bundles/main")).out == repository.commit()
    await git.run("-C", "taken", "fsck", "--strict")


async def listed(cachew: Cachew) -> Response:
    """Ask for the list."""
    return await ask(reactor, cachew.url, "GET", f"{REPOSITORY}/bundle-list")


def entries(answer: Response) -> list[tuple[int, str]]:
    """Return the tokens and addresses in a list."""
    found = re.findall(r"uri = (\S+)\n\tcreationToken = (\d+)", answer.body.decode())
    return [(int(token), uri) for uri, token in found]


async def take(cachew: Cachew, git: Git, uri: str) -> None:
    """Unbundle as git's bundle-uri does: branches come below ``refs/bundles/``."""
    answer = await ask(reactor, cachew.url, "GET", "/git/" + uri.partition("/git/")[2])
    assert answer.status == 200
    (git.home / "bundle").write_bytes(answer.body)
    await git.run("-C", "taken", "bundle", "verify", "-q", git.home / "bundle")
    await git.run("-C", "taken", "fetch", "-q", git.home / "bundle", "+refs/heads/*:refs/bundles/*")
