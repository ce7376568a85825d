"""Pushes, LFS and upstreams over HTTPS, through the server."""

import hashlib
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet import reactor

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.certificates import Authority
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Refuse
from tests.functional.rawhttp import ask
from tests.functional.readers import CREDENTIALS
from tests.functional.repositories import Repository
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
USER, PASSWORD = "alice", marked("s3cret")
PROTOCOLS = pytest.mark.parametrize("protocol", [0, 2])


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """A repository to which Alice may push."""
    upstream.gate.allow_push("org/repo", basic(USER, PASSWORD))
    return repositories.make_repository(upstream.path("org/repo"), commits=10)


def log_in(git: Git, password: str = PASSWORD) -> None:
    """Let the user's git know the password."""
    git.config["credential.helper"] = f"!f() {{ echo username={USER}; echo password={marked(password)}; }}; f"


async def commit(git: Git, clone: str, name: str, data: bytes) -> str:
    """Commit a file in a clone and return the commit's id."""
    (git.home / clone / name).write_bytes(data)
    await git.run("-C", clone, "add", name)
    await git.run("-C", clone, "commit", "-q", "-m", f"add {name}")
    return (await git.run("-C", clone, "rev-parse", "HEAD")).out


@pytest_twisted.ensureDeferred
@PROTOCOLS
@pytest.mark.parametrize("warm", [True, False])
async def test_a_push_is_seen_at_once(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int, warm: bool
) -> None:
    """What is pushed through the server is there for the next fetch, though listings are good for ten seconds."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    if warm:
        await cachew.mirrored("org/repo")
    log_in(git)
    for name in ("one", "two"):
        await git.run("clone", "-q", URL, name, protocol=protocol)
    for number in range(5):
        pushed = await commit(git, "one", f"file{number}", b"pushed\n")
        await git.run("-C", "one", "push", "-q", protocol=protocol)
        assert repository.commit("main") == pushed
        await git.run("-C", "two", "fetch", "-q", protocol=protocol)
        assert (await git.run("-C", "two", "rev-parse", "origin/main")).out == pushed


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_a_repository_that_was_not_there_before_the_push(
    upstream: Upstream, repository: Repository, git: Git, start: Start, protocol: int
) -> None:
    """Whoever was told that there is no such repository finds it as soon as it was created and pushed to."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    new = "https://git.example/org/new"
    log_in(git)
    upstream.gate.allow_push("org/new", basic(USER, PASSWORD))
    await git.run("clone", "-q", URL, "clone", protocol=protocol)
    assert (await git.run("ls-remote", new, protocol=protocol, check=False)).code != 0
    repositories.init(upstream.path("org/new"))
    await git.run("-C", "clone", "push", "-q", new, "main", protocol=protocol)
    assert repository.commit("main") in (await git.run("ls-remote", new, protocol=protocol)).out


@pytest_twisted.ensureDeferred
async def test_a_large_push_streams(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """A pack larger than git sends at once goes through chunked, and comes back whole."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    log_in(git)
    await git.run("clone", "-q", URL, "clone")
    data = bytes(hashlib.shake_256(b"large").digest(6_000_000))
    pushed = await commit(git, "clone", "large", data)
    await git.run("-C", "clone", "push", "-q", "origin", "HEAD:refs/heads/large")
    (push,) = [one for one in upstream.journal.of("push") if one.headers.get("transfer-encoding") == "chunked"]
    assert push.outcome == "finished"
    assert repository.commit("large") == pushed
    await git.run("clone", "-q", "--branch=large", URL, "again")
    assert (git.home / "again/large").read_bytes() == data


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_fails_is_no_failure_of_this_server(upstream: Upstream, start: Start) -> None:
    """Its 500 to what is passed on is told as 502, with its text; every other status is as it came."""
    cachew = await start()
    for status, told in ((500, 502), (501, 501), (503, 503)):
        upstream.misbehave(Refuse(status, body=b"the forge broke\n"), kind="push", times=1)
        answer = await ask(reactor, cachew.url, "POST", "/git/git.example/org/repo/git-receive-pack", body=b"0000")
        assert (answer.status, answer.body) == (told, b"the forge broke\n")


@pytest_twisted.ensureDeferred
async def test_a_refused_push(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """Who may not push hears so from the upstream, and nothing has changed; the server's own credentials stay out."""
    cachew = await start(CREDENTIALS % upstream.url)
    git.instead_of(*cachew.instead_of)
    await git.run("clone", "-q", URL, "clone")
    before = repository.commit()
    await commit(git, "clone", "file", b"pushed\n")
    for password in (None, "wrong"):
        if password:
            log_in(git, password)
        result = await git.run("-C", "clone", "push", "-q", check=False)
        assert result.code != 0 and "Traceback" not in result.err
    assert repository.commit() == before
    shown = {one.headers.get("authorization") for one in upstream.journal.exchanges if one.kind.startswith("push")}
    assert shown == {None, basic(USER, "wrong")}


@pytest_twisted.ensureDeferred
async def test_a_push_that_is_rejected(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """A push that is no fast-forward is rejected as by the upstream; the pull after it brings what is in the way."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    log_in(git)
    await git.run("clone", "-q", URL, "clone")
    repositories.push_commit(repository, "main", "theirs")
    await commit(git, "clone", "file", b"ours\n")
    result = await git.run("-C", "clone", "push", check=False)
    assert "rejected" in result.err
    await git.run("-C", "clone", "pull", "-q", "--rebase")
    await git.run("-C", "clone", "push", "-q")
    assert repository.commit() == (await git.run("-C", "clone", "rev-parse", "HEAD")).out


@pytest_twisted.ensureDeferred
async def test_lfs(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """Stock git-lfs pushes objects and clones them again through the server."""
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    log_in(git)
    await git.run("lfs", "install", "--skip-repo")
    await git.run("clone", "-q", URL, "clone")
    await git.run("-C", "clone", "lfs", "track", "*.bin")
    data = bytes(hashlib.shake_256(b"lfs").digest(300_000))
    await commit(git, "clone", ".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    pushed = await commit(git, "clone", "large.bin", data)
    await git.run("-C", "clone", "push", "-q")
    assert repository.commit() == pushed
    assert data in upstream.lfs.objects["org/repo"].values()
    assert len(repository.git("show", "HEAD:large.bin")) < 200
    await git.run("clone", "-q", URL, "again")
    assert (git.home / "again/large.bin").read_bytes() == data
    assert upstream.count("lfs") >= 2
    await cachew.quiet()


@pytest_twisted.ensureDeferred
@PROTOCOLS
async def test_an_upstream_over_https(
    tmp_path: Path, authority: Authority, git: Git, start: Start, protocol: int
) -> None:
    """An upstream whose certificate the configured authority has signed is mirrored, listed, fetched and pushed to."""
    root = tmp_path / "secure"
    root.mkdir()
    secure = Upstream(reactor=reactor, root=root, tls=authority.server_options())
    await secure.start()
    try:
        repository = repositories.make_repository(secure.path("org/repo"), commits=10)
        secure.gate.allow_push("org/repo", basic(USER, PASSWORD))
        cachew = await start(
            f'[upstreams."secure.example"]\nurl = "{secure.url}"\nca-file = "{authority.path}"\n'
            '[git]\nref-check-interval = "0s"'
        )
        git.instead_of("https://secure.example/", f"{cachew.url}/git/secure.example/")
        log_in(git)
        await git.run("clone", "-q", "https://secure.example/org/repo", "cold", protocol=protocol)
        await cachew.quiet()
        pushed = repositories.push_commit(repository, "main", "new")
        await git.run("clone", "-q", "https://secure.example/org/repo", "warm", protocol=protocol)
        assert (await git.run("-C", "warm", "rev-parse", "HEAD")).out == pushed
        assert cachew.served()["mirror"] >= 1
        pushed = await commit(git, "warm", "file", b"pushed\n")
        await git.run("-C", "warm", "push", "-q", protocol=protocol)
        await git.run("-C", "cold", "pull", "-q", protocol=protocol)
        assert (await git.run("-C", "cold", "rev-parse", "HEAD")).out == pushed
        await cachew.quiet()
        await cachew.stop()
    finally:
        await secure.stop()


@pytest_twisted.ensureDeferred
async def test_an_unknown_authority(tmp_path: Path, authority: Authority, git: Git, start: Start) -> None:
    """An upstream that can't be verified gets no request, and the client hears why."""
    root = tmp_path / "secure"
    root.mkdir()
    secure = Upstream(reactor=reactor, root=root, tls=authority.server_options())
    await secure.start()
    try:
        repositories.make_repository(secure.path("org/repo"))
        cachew = await start(f'[upstreams."secure.example"]\nurl = "{secure.url}"')
        git.instead_of("https://secure.example/", f"{cachew.url}/git/secure.example/")
        result = await git.run("clone", "-q", "https://secure.example/org/repo", "clone", check=False)
        assert result.code != 0 and "502" in result.err
        assert secure.count() == 0
        await cachew.quiet()
        await cachew.stop()
    finally:
        await secure.stop()
