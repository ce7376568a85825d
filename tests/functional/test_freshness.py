"""What the upstream has now is what a client gets, and a push sets off no stampede."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git, Result
from tests.functional.misbehaviour import Hang, Hold, Refuse, redirect
from tests.functional.repositories import Repository
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
PROTOCOLS = pytest.mark.parametrize("protocol", [0, 2])
AT_ONCE = '[git]\nref-check-interval = "0s"'
HELD = '[git]\nref-check-interval = "1h"'


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """The upstream's repository."""
    return repositories.make_repository(
        upstream.path("org/repo"), commits=20, branches=["main", "topic"], tags=["v1", "v2"]
    )


async def together(*work: Any) -> list[Any]:
    """Run coroutines at the same time and return their results."""
    return list(await gatherResults([Deferred.fromCoroutine(one) for one in work], consumeErrors=True))


class Site:
    """A warm server and a user's clone of its one repository."""

    def __init__(self, cachew: Cachew, git: Git, protocol: int) -> None:
        self.cachew, self.git, self.protocol = cachew, git, protocol

    async def run(self, *words: str, check: bool = True) -> Result:
        """Run the user's git."""
        return await self.git.run(*words, check=check, protocol=self.protocol)

    async def fetched(self, clone: str = "clone", ref: str = "origin/main") -> str:
        """Fetch in a clone and return what a ref names then."""
        await self.run("-C", clone, "fetch", "-q", "--prune")
        return (await self.run("-C", clone, "rev-parse", "--verify", ref)).out


async def site(start: Start, git: Git, protocol: int, config: str) -> Site:
    """Start a server, have the repository mirrored, and clone it."""
    cachew = await start(config)
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    made = Site(cachew, git, protocol)
    await made.run("clone", "-q", URL, "clone")
    return made


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@PROTOCOLS
@pytest.mark.timeout(120)
async def test_every_push_is_seen_at_once(repository: Repository, git: Git, start: Start, protocol: int) -> None:
    """With an interval of zero each commit, a hundred with each protocol, is fetched right after it was pushed."""
    here = await site(start, git, protocol, AT_ONCE)
    for number in range(100):
        pushed = repositories.push_commit(repository, "main", f"push {number}")
        assert await here.fetched() == pushed


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_within_the_interval(repository: Repository, git: Git, start: Start, protocol: int) -> None:
    """A listing is used for the interval and not a moment longer."""
    here = await site(start, git, protocol, '[git]\nref-check-interval = "1s"')
    pushed = repositories.push_commit(repository, "main", "pushed")
    clock = here.cachew.parts.runtime.reactor
    began = clock.seconds()
    while await here.fetched() != pushed:
        assert clock.seconds() - began < 5


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_after_ensure_refs(repository: Repository, git: Git, start: Start, protocol: int) -> None:
    """Who asked for a commit with ensure-refs fetches it, whatever the interval."""
    here = await site(start, git, protocol, HELD)
    pushed = repositories.push_commit(repository, "main", "pushed")
    answer = await here.cachew.post("org/repo/ensure-refs", {"refs": {"refs/heads/main": pushed}})
    assert answer == {"refs": {"refs/heads/main": pushed}, "missing_commits": [], "fetched": True}
    assert await here.fetched() == pushed
    again = await here.cachew.post("org/repo/ensure-refs", {"refs": {"refs/heads/main": ""}, "commits": [pushed]})
    assert again == {"refs": {"refs/heads/main": pushed}, "missing_commits": [], "fetched": False}


@pytest_twisted.ensureDeferred
async def test_what_ensure_refs_cannot_have(repository: Repository, git: Git, start: Start) -> None:
    """Refs and commits that the upstream does not have are named, after one ref check and one fetch at the most."""
    here = await site(start, git, 2, HELD)
    hidden = repositories.unadvertised_commit(repository)
    answer = await here.cachew.post(
        "org/repo/ensure-refs", {"refs": {"refs/heads/none": ""}, "commits": [hidden, "1" * 40]}
    )
    assert answer == {"refs": {"refs/heads/none": ""}, "missing_commits": ["1" * 40], "fetched": True}


@pytest_twisted.ensureDeferred
async def test_what_people_give_to_ensure_refs(repository: Repository, git: Git, start: Start) -> None:
    """HEAD is looked up, a short name is that of no ref, ids may be in capitals, an empty commit asks for nothing."""
    here = await site(start, git, 2, HELD)
    pushed = repositories.push_commit(repository, "main", "pushed")
    answer = await here.cachew.post("org/repo/ensure-refs", {"refs": {"HEAD": "", "main": pushed}, "commits": [""]})
    assert answer == {"refs": {"HEAD": pushed, "main": ""}, "missing_commits": [], "fetched": True}
    capitals = {"refs": {"refs/heads/main": pushed.upper()}, "commits": [pushed.upper()]}
    answer = await here.cachew.post("org/repo/ensure-refs", capitals)
    assert answer == {"refs": {"refs/heads/main": pushed}, "missing_commits": [], "fetched": False}
    answer = await here.cachew.post("org/repo/ensure-refs", {"commits": [""]})
    assert answer == {"refs": {}, "missing_commits": [], "fetched": False}


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_after_a_push_through_the_server(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """Who pushes through the server, and everybody else, sees the commit at once, whatever the interval."""
    upstream.gate.allow_push("org/repo", basic("me", "secret"))
    git.config["http.extraHeader"] = f"Authorization: {basic('me', 'secret')}"
    here = await site(start, git, protocol, HELD)
    await here.run("clone", "-q", URL, "other")
    for number in range(3):
        await here.run("-C", "clone", "commit", "-q", "--allow-empty", "-m", f"mine {number}")
        await here.run("-C", "clone", "push", "-q", "origin", "HEAD:main")
        pushed = repository.commit("main")
        assert await here.fetched() == pushed
        assert await here.fetched("other") == pushed


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@PROTOCOLS
@pytest.mark.timeout(120)
async def test_a_hundred_clients_cost_one_fetch(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """A hundred clients that fetch what was just pushed cost the upstream one ref listing and one pack."""
    here = await site(start, git, protocol, '[git]\nref-check-interval = "60s"')
    for number in range(100):
        await here.git.run("clone", "-q", "--bare", "--shared", "clone", f"c{number}")
        await here.git.run("-C", f"c{number}", "remote", "set-url", "origin", URL)
    here.cachew.parts.mirrors.freshness.changed((await here.cachew.mirrored("org/repo")).identity)
    pushed = repositories.push_commit(repository, "main", "pushed")
    before = {kind: upstream.count(kind) for kind in ("refs", "pack")}
    hold = Hold()
    upstream.misbehave(hold, kind="refs", times=1)
    fetches = together(*(here.run("-C", f"c{number}", "fetch", "-q", "origin", "main:got") for number in range(100)))
    fetching = Deferred.fromCoroutine(_coroutine(fetches))
    await upstream.journal.reached(before["refs"] + 1, "refs")
    hold.release()
    await fetching
    for number in range(100):
        assert (await here.git.run("-C", f"c{number}", "rev-parse", "got")).out == pushed
    assert upstream.count("refs") - before["refs"] == 1
    assert upstream.count("pack") - before["pack"] == 1


async def _coroutine(work: Any) -> Any:
    return await work


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_listings_spawn_nothing(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """A hundred ls-remote on a ready mirror cost one upstream request and no process."""
    here = await site(start, git, protocol, HELD)
    here.cachew.parts.mirrors.freshness.changed((await here.cachew.mirrored("org/repo")).identity)
    await here.cachew.quiet()
    before, spawned = len(upstream.journal.exchanges), here.cachew.parts.runtime.processes.started
    listed = await together(*(here.run("ls-remote", URL) for _ in range(100)))
    direct = await git.run("ls-remote", f"{upstream.url}org/repo")
    assert {one.out for one in listed} == {direct.out}
    mine = [one for one in upstream.journal.exchanges[before:] if "cachew" in one.headers.get("user-agent", "")]
    assert [one.kind for one in mine] == ["refs"]
    assert here.cachew.parts.runtime.processes.started == spawned


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_unadvertised_objects(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """Commits by id, pull requests, and refs of other kinds come through, and stay in the mirror."""
    here = await site(start, git, protocol, AT_ONCE)
    hidden = repositories.unadvertised_commit(repository)
    pull = repositories.add_pull(repository, 7)
    repository.git("update-ref", "refs/changes/01/1/1", repositories.unadvertised_commit(repository, "change"))
    await here.run("-C", "clone", "fetch", "-q", "origin", hidden)
    assert (await here.run("-C", "clone", "rev-parse", "FETCH_HEAD")).out == hidden
    await here.run("-C", "clone", "fetch", "-q", "origin", "refs/pull/7/head")
    assert (await here.run("-C", "clone", "rev-parse", "FETCH_HEAD")).out == pull
    await here.run("-C", "clone", "fetch", "-q", "origin", "refs/changes/*:refs/changes/*")
    mirror = await here.cachew.mirrored("org/repo")
    assert mirror.objects.missing([hidden, pull]) == []
    assert here.cachew.served().get("upstream", 0) == 0
    packs = upstream.count("pack")
    await here.run("clone", "-q", URL, "second")
    await here.run("-C", "second", "fetch", "-q", "origin", hidden)
    assert upstream.count("pack") == packs


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_a_workspace_that_has_only_what_the_mirror_lacks(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """A pull request's next commit costs what is new in it, though the one before came shallow and from elsewhere."""
    here = await site(start, git, protocol, AT_ONCE)
    git.config["fetch.unpackLimit"] = "1"
    repositories.add_pull(repository, 7)
    await here.run("init", "-q", "workspace")
    fetch = ("-C", "workspace", "fetch", "-q", "--depth=1")
    await here.run(*fetch, f"{upstream.url}org/repo", "refs/pull/7/head:refs/remotes/pull/7")
    before = await packed(here)
    pull = repositories.add_pull(repository, 7, "once more")
    await here.run(*fetch, URL, f"+{pull}:refs/remotes/pull/7")
    assert before > 5 and await packed(here) - before <= 4
    assert here.cachew.served().get("upstream", 0) == 0


async def packed(here: Site) -> int:
    """Return how many objects have come into the workspace."""
    counted = (await here.run("-C", "workspace", "count-objects", "-v")).out
    return int(counted.partition("in-pack: ")[2].split()[0])


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_a_tip_that_moves_while_negotiating(
    repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """A commit that was listed and then force-pushed away is still served."""
    here = await site(start, git, protocol, HELD)
    identity = (await here.cachew.mirrored("org/repo")).identity
    doomed = repositories.push_commit(repository, "main", "doomed")
    here.cachew.parts.mirrors.freshness.changed(identity)
    assert doomed in (await here.run("ls-remote", URL)).out
    repositories.move_branch(repository, "main", repository.commit("topic"))
    await here.run("-C", "clone", "fetch", "-q", "origin", doomed)
    here.cachew.parts.mirrors.freshness.changed(identity)
    assert await here.fetched() == repository.commit("topic")
    await here.run("clone", "-q", URL, "second")
    await here.run("-C", "second", "fetch", "-q", "origin", doomed)


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_every_kind_of_change(repository: Repository, git: Git, start: Start, protocol: int) -> None:
    """Deleted and forced branches, moved tags and another default branch arrive as they are upstream."""
    here = await site(start, git, protocol, AT_ONCE)
    repositories.delete_branch(repository, "topic")
    new = repositories.push_commit(repository, "trunk", "first of the new default")
    repository.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    repository.git("update-ref", "refs/tags/v1", new)
    repository.git("update-ref", "-d", "refs/tags/v2")
    repositories.move_branch(repository, "main", repository.commit("main~3"))
    await here.run("clone", "-q", URL, "second")
    assert (await here.run("-C", "second", "symbolic-ref", "HEAD")).out == "refs/heads/trunk"
    refs = (await here.run("-C", "second", "for-each-ref", "--format=%(refname) %(objectname)")).out
    assert f"refs/tags/v1 {new}" in refs and "v2" not in refs and "topic" not in refs
    assert f"refs/remotes/origin/main {repository.commit('main')}" in refs
    assert await here.fetched() == repository.commit("main")


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_the_upstream_stops_and_comes_back(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """While the upstream is down clones and fetches go on and are marked stale; afterwards they are fresh again."""
    here = await site(start, git, protocol, AT_ONCE)
    await upstream.stop()
    await here.run("clone", "-q", URL, "while-down")
    assert await here.fetched() == repository.commit("main")
    answer = await here.cachew.get("org/repo/info/refs?service=git-upload-pack")
    assert answer.headers.getRawHeaders(b"warning") == [b'110 - "response is stale"']
    assert b"cachew_stale_responses_total 0.0" not in await here.cachew.metrics()
    pushed = repositories.push_commit(repository, "main", "pushed")
    await upstream.start()
    assert await here.fetched() == pushed
    fresh = await here.cachew.get("org/repo/info/refs?service=git-upload-pack")
    assert not fresh.headers.hasHeader(b"warning")


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_an_upstream_that_never_answers(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """No request takes longer than the time-outs; mirrored refs are served, an unknown repository gets 504."""
    here = await site(
        start, git, protocol, '[git]\nref-check-interval = "0s"\nref-check-timeout = "1s"\nfetch-wait = "1s"'
    )
    upstream.misbehave(Hang())
    clock = here.cachew.parts.runtime.reactor
    began = clock.seconds()
    await here.run("clone", "-q", URL, "meanwhile")
    assert clock.seconds() - began < 5
    answer = await here.cachew.get("org/unknown/info/refs?service=git-upload-pack")
    assert answer.code == 504
    assert b"org/unknown" in await answer.content()
    upstream.behave()


@pytest_twisted.ensureDeferred
async def test_a_hanging_upstream_costs_one_client_its_time(
    upstream: Upstream, repository: Repository, git: Git, start: Start
) -> None:
    """After one time-out the next clients are answered at once, marked stale, while one probe at a time goes on."""
    here = await site(start, git, 2, '[git]\nref-check-interval = "0s"\nref-check-timeout = "3s"\n')
    upstream.misbehave(Hang())
    before, clock = upstream.count(), here.cachew.parts.runtime.reactor
    await here.run("ls-remote", URL)
    began = clock.seconds()
    for _ in range(4):
        await here.run("ls-remote", URL)
        answer = await here.cachew.get("org/repo/info/refs?service=git-upload-pack")
        assert answer.headers.getRawHeaders(b"warning") == [b'110 - "response is stale"']
    assert clock.seconds() - began < 3 and upstream.count() - before <= 4
    upstream.behave()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [429, 503])
async def test_an_upstream_that_names_no_time_gets_none(upstream: Upstream, start: Start, status: int) -> None:
    """A busy upstream's answer without ``Retry-After`` reaches clients without one: git has a setting for that."""
    cachew = await start()
    upstream.misbehave(Refuse(status))
    for _ in range(2):
        answer = await cachew.get("org/unknown/info/refs?service=git-upload-pack")
        assert answer.code == status and not answer.headers.hasHeader("Retry-After")


@pytest_twisted.ensureDeferred
async def test_a_busy_upstream_is_left_alone(
    upstream: Upstream, repository: Repository, git: Git, start: Start
) -> None:
    """After 429 with Retry-After no request reaches the upstream until then; the mirror answers."""
    here = await site(start, git, 2, AT_ONCE)
    upstream.misbehave(Refuse(429, (("Retry-After", "3600"),)))
    before = len(upstream.journal.exchanges)
    for _ in range(5):
        await here.fetched()
    assert len(upstream.journal.exchanges) - before == 1


@pytest_twisted.ensureDeferred
async def test_a_busy_upstream_of_an_unknown_repository(upstream: Upstream, start: Start) -> None:
    """Who asks for what is not mirrored is told to come back when the upstream wants, in the way that git heeds."""
    cachew = await start()
    upstream.misbehave(Refuse(429, (("Retry-After", "3600"),)))
    for _ in range(2):
        answer = await cachew.get("org/unknown/info/refs?service=git-upload-pack")
        assert (answer.code, answer.headers.getRawHeaders("Retry-After")) == (429, ["3600"])
        assert b"org/unknown" in await answer.content()
    assert upstream.count() == 1


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_cold_clones_together(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """Twenty clones of a repository without a mirror cost one pack for all of them, of which the mirror is made too."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    hold = Hold()
    upstream.misbehave(hold, kind="pack", times=1)
    clones = Deferred.fromCoroutine(
        _coroutine(together(*(git.run("clone", "-q", URL, f"c{n}", protocol=protocol) for n in range(20))))
    )
    await upstream.journal.reached(1, "pack")
    hold.release()
    await clones
    await cachew.mirrored("org/repo")
    for number in range(20):
        await git.run("-C", f"c{number}", "fsck", "--strict")
    assert upstream.count("pack") == 1


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_an_upstream_without_v2(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """An upstream that speaks v0 only is mirrored, followed and served like any other, in both protocols."""
    upstream.protocol_v2 = False
    here = await site(start, git, protocol, AT_ONCE)
    for number in range(3):
        pushed = repositories.push_commit(repository, "main", f"push {number}")
        assert await here.fetched() == pushed
    pull = repositories.add_pull(repository, 7)
    await here.run("-C", "clone", "fetch", "-q", "origin", "refs/pull/7/head")
    assert (await here.run("-C", "clone", "rev-parse", "FETCH_HEAD")).out == pull


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_sha256(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """SHA-256 repositories are served and followed."""
    made = repositories.make_repository(upstream.path("org/sha256"), commits=5, object_format="sha256")
    cachew = await start(AT_ONCE)
    git.instead_of(*cachew.instead_of)
    url = "https://git.example/org/sha256"
    await git.run("clone", "-q", url, "cold", protocol=protocol)
    await cachew.mirrored("org/sha256")
    await git.run("clone", "-q", url, "warm", protocol=protocol)
    pushed = repositories.push_commit(made, "main", "pushed")
    await git.run("-C", "warm", "fetch", "-q", protocol=protocol)
    assert (await git.run("-C", "warm", "rev-parse", "origin/main")).out == pushed
    assert len(pushed) == 64


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_webhooks(upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int) -> None:
    """A push event whose signature is right fetches at once, whatever the interval."""
    config = f'{HELD}\n[webhook]\ngithub-secret = "{marked("s3cret")}"'
    here = await site(start, git, protocol, config)
    pushed = repositories.push_commit(repository, "main", "pushed")
    await here.cachew.github_event(marked("s3cret"), f"{upstream.url}org/repo.git")
    assert await here.fetched() == pushed
    mirror = await here.cachew.mirrored("org/repo")
    assert mirror.objects.missing([pushed]) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("moved", [True, False])
async def test_webhooks_by_another_name(
    upstream: Upstream, repository: Repository, git: Git, start: Start, moved: bool
) -> None:
    """A push event has the name that a renamed repository has now, or an address nobody knows: the mirror is found."""
    if moved:
        upstream.misbehave(redirect(f"{upstream.url}org/repo/info/refs?service=git-upload-pack"), repository="org/old")
    cachew = await start(f'{HELD}\n[webhook]\ngithub-secret = "{marked("s3cret")}"')
    mirror = await cachew.mirrored("org/old" if moved else "org/repo")
    pushed = repositories.push_commit(repository, "main", "pushed")
    url = f"{upstream.url}org/repo.git" if moved else "http://localhost:3000/Org/Repo.git"
    await cachew.github_event(marked("s3cret"), url, full_name="Org/Repo")
    await cachew.quiet()
    assert mirror.objects.missing([pushed]) == []
