"""Stock git with ``git-remote-cachew``: what it makes is what it makes directly, by way of a snapshot."""

import re
from pathlib import Path

import pytest
import pytest_twisted

from tests.functional import repositories
from tests.functional.canary import marked
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.helperclones import Clones, install_helper
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream

FRESH = '[git]\nref-check-interval = "0s"'
ALICE = basic("alice", "s3cret")


def know_password(clones: Clones, cachew: Cachew) -> None:
    """Let git's credential helper know what the upstream wants to hear."""
    there = cachew.url.replace("://", f"://alice:{marked('s3cret')}@")
    (clones.git.home / ".git-credentials").write_text(f"{there}\n")
    clones.git.config["credential.helper"] = "store"


@pytest.fixture
def clones(git: Git, tmp_path: Path) -> Clones:
    """A user's git with the helper."""
    return Clones(git, install_helper(tmp_path / "bin"))


async def cached(cachew: Cachew, *queries: str) -> None:
    """Have snapshots made."""
    for query in queries or ("",):
        response = await cachew.get(f"org/repo/snapshot.tar.zst{query}")
        assert response.code == 200
        await response.content()
    await cachew.quiet()


def address(cachew: Cachew, repository: str = "org/repo") -> str:
    """Return a repository's address for the helper."""
    return f"cachew::{cachew.url}/git/git.example/{repository}"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
async def test_clones_of_every_kind(upstream: Upstream, start: Start, clones: Clones, object_format: str) -> None:
    """Whatever options a clone has and whatever protocol, it is seeded and then looks like a direct one."""
    repository = repositories.make_repository(
        upstream.path("org/repo"), commits=20, branches=["main", "topic"], tags=["v1"], object_format=object_format
    )
    cachew = await start(FRESH)
    await cached(cachew)
    repositories.push_commit(repository, "main", "since then")
    kinds = [[], ["--bare"], ["--mirror"], ["--single-branch", "--branch=topic", "--origin=x"]]
    if "--ref-format" in (await clones.run("clone", "-h", check=False)).out:
        kinds.append(["--ref-format=reftable"])
    for number, options in enumerate(kinds if object_format == "sha1" else kinds[:1]):
        direct = f"direct{number}"
        await clones.run("clone", *options, f"{upstream.url}org/repo", direct)
        looks = await clones.looks(direct)
        for protocol in (0, 2) if number == 0 else (2,):
            seeded = f"seeded{number}{protocol}"
            result = await clones.run("clone", *options, address(cachew), seeded, protocol=protocol)
            assert "without its snapshot" not in result.err
            assert bool(await clones.bundles(seeded)) is (options not in (["--bare"], ["--mirror"])), result.err
            assert looks == await clones.looks(seeded), (options, protocol)


@pytest_twisted.ensureDeferred
async def test_partial_and_shallow_clones(upstream: Upstream, start: Start, clones: Clones) -> None:
    """A clone without blobs takes the snapshot that has none; one with a depth or another filter takes none."""
    repositories.make_repository(upstream.path("org/repo"), commits=20)
    cachew = await start(FRESH)
    await cached(cachew, "", "?filter=blob:none")
    for number, options in enumerate((["--filter=blob:none"], ["--filter=tree:0"], ["--depth=2"])):
        seeded, direct = f"seeded{number}", f"direct{number}"
        result = await clones.run("clone", *options, address(cachew), seeded)
        assert "without its snapshot" not in result.err
        assert bool(await clones.bundles(seeded)) is (number == 0)
        await clones.run("clone", *options, f"{upstream.url}org/repo", direct)
        if number == 0:
            packs = (clones.git.home / seeded / ".git/objects/pack").glob("*")
            assert any(pack.suffix == ".promisor" for pack in packs)
        ours, theirs = await clones.looks(seeded), await clones.looks(direct)
        assert ours.refs == theirs.refs
        assert ours.config == theirs.config
        assert ours.status == theirs.status
        # What is missing may be less: the snapshot has the blobs of its whole working tree.
        assert {one.lstrip("?")[:40] for one in ours.objects} == {one.lstrip("?")[:40] for one in theirs.objects}


@pytest_twisted.ensureDeferred
async def test_what_comes_after_the_clone(upstream: Upstream, start: Start, clones: Clones) -> None:
    """Fetches, pushes, listings and worktrees go their own way; listing seeds nothing, and a first fetch does."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=5, branches=["main", "topic"])
    upstream.gate.allow_push("org/repo", ALICE)
    cachew = await start(FRESH)
    know_password(clones, cachew)
    await cached(cachew)
    where = address(cachew)
    await clones.run("init", "-q", "repo")
    await clones.run("-C", "repo", "remote", "add", "origin", where)
    for protocol in (0, 2):
        listed = await clones.run("-C", "repo", "ls-remote", "origin", protocol=protocol)
        direct = await clones.run("ls-remote", f"{upstream.url}org/repo", protocol=protocol)
        assert listed.out == direct.out
        assert await clones.bundles("repo") == ""
    await clones.run("-C", "repo", "fetch", "--no-tags", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*")
    assert len((await clones.bundles("repo")).split("\n")) == 2
    await clones.run("-C", "repo", "checkout", "-q", "-B", "main", "refs/remotes/origin/main")
    await clones.run("init", "-q", "direct")
    await clones.run("-C", "direct", "remote", "add", "origin", f"{upstream.url}org/repo")
    await clones.run("-C", "direct", "fetch", "--no-tags", "--prune", "origin", "+refs/heads/*:refs/remotes/origin/*")
    await clones.run("-C", "direct", "checkout", "-q", "-B", "main", "refs/remotes/origin/main")
    assert await clones.looks("repo") == await clones.looks("direct")
    pushed = repositories.push_commit(repository, "main", "somebody else's")
    await clones.run("-C", "repo", "pull", "-q", "--ff-only", "origin", "main")
    assert (await clones.run("-C", "repo", "rev-parse", "HEAD")).out == pushed
    await clones.run("-C", "repo", "worktree", "add", "-q", "../tree", "refs/remotes/origin/topic")
    own = repositories.push_commit(repository, "topic", "for the worktree")
    await clones.run("-C", "tree", "fetch", "-q", "origin")
    assert (await clones.run("-C", "tree", "rev-parse", "origin/topic")).out == own
    await clones.run("-C", "repo", "commit", "-q", "--allow-empty", "-m", "mine")
    await clones.run("-C", "repo", "push", "-q", "origin", "HEAD:refs/heads/mine")
    assert repository.commit("mine") == (await clones.run("-C", "repo", "rev-parse", "HEAD")).out


@pytest_twisted.ensureDeferred
async def test_submodules(upstream: Upstream, start: Start, clones: Clones) -> None:
    """One setting sends a clone and its submodules by way of the helper, and both look like those of a direct one."""
    repositories.make_repository(upstream.path("org/sub"), commits=3)
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3)
    await clones.run("clone", "-q", str(repository.path), "work")
    await clones.run("-C", "work", "submodule", "--quiet", "add", str(upstream.path("org/sub")), "sub")
    await clones.run("-C", "work", "config", "-f", ".gitmodules", "submodule.sub.url", "https://git.example/org/sub")
    await clones.run("-C", "work", "commit", "-q", "-a", "-m", "with a submodule")
    await clones.run("-C", "work", "push", "-q", "origin", "HEAD")
    directly = {f"url.{upstream.url}.insteadOf": "https://git.example/"}
    await clones.git.run("clone", "--recurse-submodules", "https://git.example/org/repo", "direct", config=directly)
    cachew = await start(FRESH)
    await cached(cachew)
    clones.git.instead_of("https://git.example/", f"cachew::{cachew.url}/git/git.example/")
    clones.git.config["protocol.cachew.allow"] = "always"
    result = await clones.run("clone", "--recurse-submodules", "https://git.example/org/repo", "seeded")
    assert await clones.bundles("seeded")
    assert "org/sub is fetched without its snapshot: the server has none yet" in result.err
    assert (await clones.run("-C", "seeded", "submodule", "status")).out.endswith("sub (heads/main)")
    await (await cachew.get("org/sub/snapshot.tar.zst")).content()
    await cachew.quiet()
    result = await clones.run("clone", "--recurse-submodules", "https://git.example/org/repo", "both")
    assert "without its snapshot" not in result.err
    assert await clones.bundles("both/sub")
    for part in ("", "/sub"):
        looks = await clones.looks(f"direct{part}")
        assert looks == await clones.looks(f"seeded{part}") == await clones.looks(f"both{part}")


@pytest_twisted.ensureDeferred
async def test_large_files(upstream: Upstream, start: Start, clones: Clones) -> None:
    """The real git-lfs finds its objects by the plain address: on a clone, a push and a pull."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3)
    upstream.gate.allow_push("org/repo", ALICE)
    await clones.run("lfs", "install", "--skip-repo")
    cachew = await start(FRESH)
    know_password(clones, cachew)
    where = address(cachew)
    await clones.run("clone", "-q", where, "first")
    await clones.run("-C", "first", "lfs", "track", "*.bin")
    (clones.git.home / "first/large.bin").write_bytes(b"large" * 1000)
    await clones.run("-C", "first", "add", ".gitattributes", "large.bin")
    await clones.run("-C", "first", "commit", "-q", "-m", "a large file")
    await clones.run("-C", "first", "push", "-q", "origin", "HEAD")
    assert any(upstream.lfs.objects.values())
    assert repository.commit("main") == (await clones.run("-C", "first", "rev-parse", "HEAD")).out
    await cached(cachew)
    await clones.run("clone", "-q", where, "second")
    assert await clones.bundles("second")
    assert (clones.git.home / "second/large.bin").read_bytes() == b"large" * 1000
    await clones.run("-C", "second", "lfs", "pull")
    # One that was cloned directly, and goes by way of the helper from now on.
    await clones.run("clone", "-q", "--no-checkout", str(repository.path), "third")
    await clones.run("-C", "third", "reset", "-q")
    await clones.run("-C", "third", "config", "remote.origin.url", where)
    (clones.git.home / "third/other.bin").write_bytes(b"other" * 1000)
    await clones.run("-C", "third", "add", "other.bin")
    await clones.run("-C", "third", "commit", "-q", "-m", "another large file")
    await clones.run("-C", "third", "push", "-q", "origin", "HEAD")
    assert repository.commit("main") == (await clones.run("-C", "third", "rev-parse", "HEAD")).out


@pytest_twisted.ensureDeferred
async def test_what_is_not_to_be_had(upstream: Upstream, start: Start, clones: Clones) -> None:
    """Without a snapshot, and with one that is broken on its way, git's own way goes on, and one line says why."""
    repositories.make_repository(upstream.path("org/repo"), commits=5)
    cachew = await start(FRESH)
    result = await clones.run("clone", address(cachew), "none")
    assert result.err.count("without its snapshot: the server has none yet") == 1
    assert "without its snapshot" not in (await clones.run("clone", "-q", address(cachew), "quiet")).err
    await cached(cachew)
    result = await clones.run("-c", "transfer.fsckObjects=true", "clone", address(cachew), "checked")
    assert "transfer.fsckObjects" in result.err
    result = await clones.run("clone", f"cachew::{upstream.url}org/repo", "elsewhere")
    assert "without its snapshot" in result.err
    for name in ("none", "quiet", "checked", "elsewhere"):
        assert await clones.bundles(name) == ""
        assert not list((clones.git.home / name / ".git/objects").glob("tmp_*"))
        await clones.run("-C", name, "fsck", "--strict")
    gone = await clones.run("clone", "cachew::http://127.0.0.1:1/git/git.example/org/repo", "gone", check=False)
    direct = await clones.run("clone", "http://127.0.0.1:1/git/git.example/org/repo", "gone", check=False)
    assert gone.code == direct.code == 128
    said, expected = (re.sub(r"after \d+ ms", "at once", one.err) for one in (gone, direct))
    assert said.endswith(expected.partition("\n")[2])
    assert not (clones.git.home / "gone").exists()


@pytest_twisted.ensureDeferred
async def test_a_private_repository(upstream: Upstream, start: Start, clones: Clones) -> None:
    """The credential that git would use, from its helper or from ``http.extraHeader``, is good for the snapshot too."""
    repositories.make_repository(upstream.path("org/repo"), commits=5)
    upstream.gate.protect("org/repo", ALICE)
    own = f'kind = "token"\nurl-prefix = "{upstream.url}"\nusername = "alice"\ntoken = "{marked("s3cret")}"'
    cachew = await start(f"{FRESH}\n[[credentials]]\n{own}")
    response = await cachew.get("org/repo/snapshot.tar.zst", headers={"Authorization": ALICE})
    await response.content()
    await cachew.quiet()
    refused = await clones.run("clone", address(cachew), "refused", check=False)
    assert refused.code == 128 and "without its snapshot" in refused.err
    clones.git.config[f"http.{cachew.url}/.extraHeader"] = f"Authorization: {ALICE}"
    header = await clones.run("clone", address(cachew), "header")
    assert "without its snapshot" not in header.err
    del clones.git.config[f"http.{cachew.url}/.extraHeader"]
    know_password(clones, cachew)
    helper = await clones.run("clone", address(cachew), "helper")
    assert "without its snapshot" not in helper.err
    for name in ("header", "helper"):
        assert await clones.bundles(name)
        assert "lice" not in (await clones.run("-C", name, "config", "--local", "--list")).out
