"""The test bed itself: stock git against the test upstream, and each of its bad habits."""

from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, gatherResults

from tests.functional.canary import marked
from tests.functional.certificates import Authority
from tests.functional.exchanges import kind_of, split
from tests.functional.gate import basic
from tests.functional.gitclient import Git, GitFailed
from tests.functional.misbehaviour import Cut, Delay, Hang, Hold, Refuse, redirect
from tests.functional.repositories import add_pull, make_repository, push_commit, unadvertised_commit
from tests.functional.upstream import Upstream

ALICE = basic("alice", "secret")


def url(upstream: Upstream, repository: str = "org/repo", *, user: str = "") -> str:
    """The address of a repository, with credentials in it."""
    return upstream.url.replace("://", f"://{user}@" if user else "://") + repository


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 1, 2])
async def test_git_clones_with_each_protocol(upstream: Upstream, git: Git, protocol: int) -> None:
    """Stock git clones with v0, v1 and v2, and the journal tells the kinds of requests apart."""
    repository = make_repository(upstream.path("org/repo"), commits=3, tags=("v1",))
    await git.run("clone", "-q", url(upstream), "copy", protocol=protocol)
    assert (await git.run("-C", "copy", "rev-parse", "HEAD")).out == repository.commit()
    kinds = [exchange.kind for exchange in upstream.journal.exchanges]
    assert kinds == (["caps", "refs", "pack"] if protocol == 2 else ["refs", "pack"])
    assert {exchange.repository for exchange in upstream.journal.exchanges} == {"org/repo"}


@pytest_twisted.ensureDeferred
async def test_an_upstream_of_the_old_protocol_answers_v2_with_v0(upstream: Upstream, git: Git) -> None:
    """With v2 switched off a v2 client is served all the same, by a v0 listing."""
    make_repository(upstream.path("org/repo"), object_format="sha256")
    upstream.protocol_v2 = False
    await git.run("clone", "-q", url(upstream), protocol=2)
    assert [exchange.kind for exchange in upstream.journal.exchanges] == ["refs", "pack"]


@pytest_twisted.ensureDeferred
async def test_hidden_things_are_fetched_by_name(upstream: Upstream, git: Git) -> None:
    """Pull requests are fetched by their ref, unadvertised commits by their id."""
    repository = make_repository(upstream.path("org/repo"), commits=2)
    pull, hidden = add_pull(repository, 7), unadvertised_commit(repository)
    await git.run("init", "-q", "copy")
    await git.run("-C", "copy", "fetch", "-q", url(upstream), "refs/pull/7/head:pull", hidden)
    assert (await git.run("-C", "copy", "rev-parse", "pull")).out == pull
    assert (await git.run("-C", "copy", "cat-file", "-t", hidden)).out == "commit"


@pytest_twisted.ensureDeferred
async def test_private_repositories_ask_for_credentials(upstream: Upstream, git: Git) -> None:
    """A private repository answers 401 to nobody and to strangers, and is cloned with the right credentials."""
    make_repository(upstream.path("org/repo"))
    upstream.gate.protect("org/repo", ALICE)
    for user in ("", "alice:wrong"):
        with pytest.raises(GitFailed, match=r"Authentication failed|terminal prompts disabled"):
            await git.run("clone", "-q", url(upstream, user=user), "no")
    await git.run("clone", "-q", url(upstream, user=f"alice:{marked('secret')}"), "yes")
    upstream.gate.publish("org/repo")
    await git.run("clone", "-q", url(upstream), "public")


@pytest_twisted.ensureDeferred
async def test_pushes_need_a_writer(upstream: Upstream, git: Git) -> None:
    """A push is refused without credentials that may write, and arrives with them, however large it is."""
    repository = make_repository(upstream.path("org/repo"))
    upstream.gate.allow_push("org/repo", ALICE)
    await git.run("clone", "-q", url(upstream), "copy")
    (git.home / "copy/large").write_bytes(bytes(range(256)) * 8000)
    await git.run("-C", "copy", "add", ".")
    await git.run("-C", "copy", "commit", "-q", "-m", "large", config={"core.compression": "0"})
    with pytest.raises(GitFailed):
        await git.run("-C", "copy", "push", "-q", url(upstream, user=f"bob:{marked('secret')}"), "main")
    await git.run("-C", "copy", "push", "-q", url(upstream, user=f"alice:{marked('secret')}"), "main")
    assert repository.commit() == (await git.run("-C", "copy", "rev-parse", "HEAD")).out
    assert upstream.count("push") >= 1


@pytest_twisted.ensureDeferred
async def test_lfs_objects_travel_both_ways(upstream: Upstream, git: Git) -> None:
    """git-lfs uploads with a push and downloads with a clone; only the batch answer opens the storage."""
    make_repository(upstream.path("org/repo"))
    upstream.gate.allow_push("org/repo", ALICE)
    address = url(upstream, user=f"alice:{marked('secret')}")
    await git.run("lfs", "install", "--skip-repo")
    await git.run("clone", "-q", address, "copy")
    (git.home / "copy/film.bin").write_bytes(b"moving pictures" * 1000)
    await git.run("-C", "copy", "lfs", "track", "*.bin")
    await git.run("-C", "copy", "add", ".")
    await git.run("-C", "copy", "commit", "-q", "-m", "film")
    await git.run("-C", "copy", "push", "-q", "origin", "main")
    assert list(upstream.lfs.objects["org/repo"].values()) == [b"moving pictures" * 1000]
    await git.run("clone", "-q", url(upstream), "other")
    assert (git.home / "other/film.bin").read_bytes() == b"moving pictures" * 1000
    assert upstream.count("lfs") >= 2
    assert upstream.count("lfs-object") == 2


@pytest_twisted.ensureDeferred
async def test_https_is_trusted_through_the_authority(tmp_path: Path, git: Git, authority: Authority) -> None:
    """Over HTTPS git clones when it trusts the authority, and refuses otherwise."""
    from twisted.internet import reactor

    server = Upstream(reactor=reactor, root=tmp_path, tls=authority.server_options())
    make_repository(server.path("org/repo"))
    await server.start()
    try:
        with pytest.raises(GitFailed, match="certificate"):
            await git.run("clone", "-q", url(server), "no")
        await git.run("clone", "-q", url(server), "yes", config={"http.sslCAInfo": str(authority.path)})
    finally:
        await server.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        (Refuse(429, (("Retry-After", "7"),)), "429"),
        (Refuse(503), "503"),
        (Refuse(404), "not found"),
        (Cut(0), "Empty reply|unable to access"),
        (Cut(20), "fatal"),
    ],
)
async def test_refusals_and_cuts_fail_the_client(
    upstream: Upstream, git: Git, behaviour: Refuse | Cut, message: str
) -> None:
    """A refused or cut listing fails git, and once the rule is used up all is well again."""
    make_repository(upstream.path("org/repo"))
    upstream.misbehave(behaviour, kind="caps", times=1)
    with pytest.raises(GitFailed, match=message):
        await git.run("clone", "-q", url(upstream), "no")
    await git.run("clone", "-q", url(upstream), "yes")


@pytest_twisted.ensureDeferred
async def test_a_pack_is_cut_in_the_middle(upstream: Upstream, git: Git) -> None:
    """A pack that is cut fails the clone, and the exchange is known to be lost."""
    make_repository(upstream.path("org/repo"), files=20, size=50_000)
    upstream.misbehave(Cut(100_000), kind="pack")
    with pytest.raises(GitFailed, match="early EOF"):
        await git.run("clone", "-q", url(upstream))
    (pack,) = await upstream.journal.reached(1, "pack")
    assert await pack.end() == "lost"


@pytest_twisted.ensureDeferred
async def test_redirects_are_followed_by_git(upstream: Upstream, git: Git) -> None:
    """A redirect sends git to the other repository."""
    make_repository(upstream.path("org/new"))
    upstream.misbehave(redirect(f"{upstream.url}org/new/info/refs?service=git-upload-pack"), repository="org/old")
    await git.run("clone", "-q", url(upstream, "org/old"), "copy")
    assert upstream.count("pack", "org/new") == 1


@pytest_twisted.ensureDeferred
async def test_held_requests_wait_for_their_release(upstream: Upstream, git: Git) -> None:
    """A held request goes on once it is released, and tests wait for its arrival instead of sleeping."""
    make_repository(upstream.path("org/repo"))
    hold = Hold()
    upstream.misbehave(hold, kind="pack")
    upstream.misbehave(Delay(0.01), kind="refs")
    arrival = Deferred.fromCoroutine(upstream.next_request("pack"))
    clone = Deferred.fromCoroutine(git.run("clone", "-q", url(upstream), "copy"))
    pack = await arrival
    assert pack.outcome == "open"
    assert not clone.called
    hold.release()
    await clone
    assert await pack.end() == "finished"


@pytest_twisted.ensureDeferred
async def test_a_hanging_request_ends_with_its_client(upstream: Upstream, git: Git) -> None:
    """A request that is never answered is lost when its client is killed."""
    upstream.misbehave(Hang())
    clone = Deferred.fromCoroutine(git.run("clone", "-q", url(upstream), "copy", check=False))
    (exchange,) = await upstream.journal.reached(1)
    clone.cancel()
    with pytest.raises(CancelledError):
        await clone
    assert await exchange.end() == "lost"


@pytest_twisted.ensureDeferred
async def test_it_stops_and_starts_again_on_its_port(upstream: Upstream, git: Git) -> None:
    """A stopped upstream refuses connections, drops those it had, and comes back at the same address."""
    make_repository(upstream.path("org/repo"))
    upstream.misbehave(Hang(), times=1)
    hanging = Deferred.fromCoroutine(git.run("ls-remote", url(upstream), check=False))
    (exchange,) = await upstream.journal.reached(1)
    before = upstream.url
    await upstream.stop()
    assert await exchange.end() == "lost"
    assert (await hanging).code != 0
    assert upstream.connections == 0
    assert "connect" in (await git.run("ls-remote", before + "org/repo", check=False)).err
    await upstream.start()
    assert upstream.url == before
    await git.run("ls-remote", url(upstream))


@pytest_twisted.ensureDeferred
async def test_instead_of_sends_clients_elsewhere(upstream: Upstream, git: Git) -> None:
    """The user's ``insteadOf`` setting replaces a host, and concurrent commands don't mind each other."""
    repository = make_repository(upstream.path("org/repo"))
    git.instead_of("https://git.example/", upstream.url)
    clones = [Deferred.fromCoroutine(git.run("clone", "-q", "https://git.example/org/repo", f"{n}")) for n in range(3)]
    await gatherResults(clones)
    pushed = push_commit(repository, name="new")
    await git.run("-C", "0", "pull", "-q")
    assert (await git.run("-C", "0", "rev-parse", "HEAD")).out == pushed
    assert upstream.count("caps") == 4


@pytest.mark.parametrize(
    ("operation", "service", "version_2", "body", "kind"),
    [
        ("info/refs", "git-upload-pack", True, b"", "caps"),
        ("info/refs", "git-upload-pack", False, b"", "refs"),
        ("info/refs", "git-receive-pack", True, b"", "push-refs"),
        ("git-upload-pack", "", True, b"0014command=ls-refs\n", "refs"),
        ("git-upload-pack", "", True, b"0012command=fetch\n", "pack"),
        ("git-upload-pack", "", True, b"0011command=fetch0001", "pack"),
        ("git-upload-pack", "", True, b"0017command=bundle-uri\n", "other"),
        ("git-upload-pack", "", False, b"0032want 1234", "pack"),
        ("git-receive-pack", "", False, b"", "push"),
        ("info/lfs/objects/batch", "", False, b"", "lfs"),
        ("info/lfs/storage/1234", "", False, b"", "lfs-object"),
        ("HEAD", "", False, b"", "other"),
    ],
)
def test_kinds(operation: str, service: str, version_2: bool, body: bytes, kind: str) -> None:
    """Requests are told apart by operation, service and the first packet of their body."""
    assert kind_of(operation, service, version_2=version_2, body=body) == kind


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/org/repo/info/refs", ("org/repo", "info/refs")),
        ("/org/repo.git/git-upload-pack", ("org/repo", "git-upload-pack")),
        ("/a/b/c.git/info/lfs/objects/batch", ("a/b/c", "info/lfs/objects/batch")),
        ("/org/repo", ("", "")),
    ],
)
def test_paths(path: str, expected: tuple[str, str]) -> None:
    """A path is split into repository and operation, with or without ``.git``."""
    assert split(path) == expected
