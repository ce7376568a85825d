"""A repository with every odd object and ref at once: mirrored, cloned, fetched, snapshotted, bundled and restored."""

from urllib.parse import quote

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from cachew.snapshots.variants import MIRROR, Variant
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.oddities import Odd, odd_repository, unservable
from tests.functional.rawhttp import ask
from tests.functional.restoring import cachew_command
from tests.functional.server import UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"
BASE = "/git/git.example/org/repo"
MANY = 100_001
CONFIG = UNSCHEDULED + 'ref-check-interval = "0s"\n'


async def said(git: Git, directory: str, *words: str) -> bytes:
    """Return what a git command prints in a clone."""
    return (await git.run("-C", directory, *words)).raw


async def same(git: Git, one: str, other: str) -> None:
    """Check that two clones have the same refs, with the same objects behind them, and the same files."""
    for words in (
        ("for-each-ref", "--format=%(refname) %(objectname) %(symref)"),
        ("rev-list", "--all", "--objects", "--no-object-names", "--date-order"),
        ("rev-parse", "HEAD", "@{upstream}"),
        ("symbolic-ref", "HEAD"),
        ("ls-files", "-s", "-z"),
        ("status", "--porcelain", "-z"),
    ):
        there, here = [await said(git, directory, *words) for directory in (one, other)]
        assert sorted(there.split(b"\n")) == sorted(here.split(b"\n")), words
    files = [{p.relative_to(git.home / d) for p in (git.home / d / "padded").rglob("*")} for d in (one, other)]
    assert files[0] == files[1]


def go_on(odd: Odd) -> str:
    """Change the repository as a push does: a directory where a ref was, odd commits, a force-push; return HEAD."""
    main = odd.refs[b"refs/heads/main"]
    tree = odd.tree((b"100644", b"later", odd.write("blob", b"later\n")))
    new = odd.commit(tree, head=b"author A <a> 17 +51800\ncommitter A\0 <a@b> 17179869190 +0000\n", parents=[main])
    other = odd.commit(tree, message=b"\xff\0\n")
    odd.remove(b"refs/heads/a", b"refs/heads/Case", b"refs/tags/-dash")
    odd.publish({b"refs/heads/a/b": new, b"refs/heads/main": new, b"refs/heads/case": other, b"refs/tags/HEAD": other})
    return new


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
async def test_everything_odd_at_once(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """Whatever comes out of the mirror equals what a direct clone has, in v0 and v2."""
    odd = odd_repository(upstream.path("org/repo"), more_refs=500)
    cachew = await start(CONFIG)
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    assert not mirror.refs.set_aside and mirror.place.repository.intake.findings()["hasDotgit"] == 2
    for name, url in (("direct", f"{upstream.url}org/repo"), ("clone", URL)):
        await git.run("clone", "-q", url, name, protocol=protocol)
    await same(git, "direct", "clone")

    await restored(git, cachew, "before")
    await same(git, "direct", "before")
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    await cachew.parts.snapshots.archives.produce(mirror.instance, Variant(MIRROR)).ended()

    new = go_on(odd)
    for name in ("direct", "clone"):
        await git.run("-C", name, "fetch", "-q", "--prune", "--tags", "--force", "origin", protocol=protocol)
        await git.run("-C", name, "merge", "-q", "--ff-only", "origin/main")
    await same(git, "direct", "clone")
    assert (await said(git, "clone", "rev-parse", "HEAD")).decode().strip() == new
    await cachew.quiet()

    await restored(git, cachew, "after")
    assert (await said(git, "after", "rev-parse", "HEAD", "main")).decode().split() == [new, new]
    assert await said(git, "after", "status", "--porcelain") == b""
    listed = f"--bundle-uri={cachew.url}{BASE}/bundle-list"
    await git.run("clone", "-q", listed, URL, "bundled", protocol=protocol)
    await git.run("clone", "-q", f"{upstream.url}org/repo", "fresh", protocol=protocol)
    listing = ("for-each-ref", "refs/heads", "refs/remotes", "refs/tags")
    assert await said(git, "bundled", *listing) == await said(git, "fresh", *listing)
    assert cachew.served()["mirror"] >= 2


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@pytest.mark.timeout(120)
async def test_more_than_a_hundred_thousand_odd_refs(upstream: Upstream, git: Git, start: Start) -> None:
    """A clone and a restored snapshot have every one of them at what it is upstream."""
    odd = await deferToThread(lambda: odd_repository(upstream.path("org/repo"), more_refs=MANY))
    cachew = await start(CONFIG)
    git.instead_of(*cachew.instead_of)
    await cachew.mirrored("org/repo")
    await git.run("clone", "-q", URL, "clone", protocol=2)
    await restored(git, cachew, "restored")
    tags = {name: oid.encode() for name, oid in odd.refs.items() if name.startswith(b"refs/tags/")}
    for directory in ("clone", "restored"):
        listed = await said(git, directory, "for-each-ref", "--format=%(refname) %(objectname)", "refs/tags")
        assert dict(line.rsplit(b" ", 1) for line in listed.rstrip(b"\n").split(b"\n")) == tags


async def restored(git: Git, cachew: Cachew, directory: str) -> None:
    """Restore with the client command, whose origin and tracking are those of a clone."""
    result = await cachew_command(reactor, git, "git", "restore", f"{cachew.url}{BASE}", directory)
    assert "not applied" not in result.err and "Traceback" not in result.err, result.err


@pytest_twisted.ensureDeferred
async def test_every_branch_has_a_snapshot_or_a_reason(upstream: Upstream, start: Start) -> None:
    """Of each branch the snapshot is made, whatever its name; where git refuses to check it out, in git's words."""
    odd = odd_repository(upstream.path("org/repo"))
    cachew = await start(CONFIG)
    await cachew.mirrored("org/repo")
    statuses = {}
    for name in odd.refs:
        if name.startswith(b"refs/heads/") and (b"header" not in name or b"nul" in name):
            answer = await ask(reactor, cachew.url, "GET", f"{BASE}/snapshot.tar.zst?ref={quote(name)}")
            statuses[name] = answer.status
            assert answer.status == 200 or b"git does not check" in answer.body, (name, answer)
    refused = {name.removeprefix(b"refs/heads/tree/") for name, status in statuses.items() if status != 200}
    assert refused == {
        b"dot-git", b"dot-GIT", b"dots", b"long-name", b"name-of-300", b"null-id", b"linked-modules",
    }  # fmt: skip
    assert set(statuses.values()) == {200, 422}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("protocol", [0, 2])
async def test_a_branch_that_no_git_can_send(upstream: Upstream, git: Git, start: Start, protocol: int) -> None:
    """It is set aside, shown, and keeps neither the mirror from being made nor any other branch from being followed."""
    odd = odd_repository(upstream.path("org/repo"))
    bad = unservable(odd, odd.refs[b"refs/heads/main"])
    odd.publish({b"refs/heads/bad": bad})
    cachew = await start(CONFIG + '[access]\n[[access.rule]]\naction = "allow"\npath = "/admin"\n')
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    assert list(mirror.refs.set_aside.reasons()) == ["refs/heads/bad"]
    await git.run("clone", "-q", "--single-branch", URL, "clone", protocol=protocol)
    new = go_on(odd)
    await git.run("-C", "clone", "pull", "-q", "--ff-only", protocol=protocol)
    assert (await said(git, "clone", "rev-parse", "HEAD")).decode().strip() == new
    await cachew.quiet()
    packs = upstream.count("pack")
    await git.run("-C", "clone", "fetch", "-q", "origin", "refs/heads/a/b", protocol=protocol)
    refused = await git.run("-C", "clone", "fetch", "-q", "origin", "bad", protocol=protocol, check=False)
    assert refused.code != 0
    await cachew.quiet()
    assert upstream.count("pack") - packs <= 1
    (status,) = await cachew.parts.status.table.all()
    assert list(status.set_aside) == ["refs/heads/bad"] and status.findings["hasDotgit"] == 2
    assert mirror.refs.by_name["refs/heads/main"] == new and "refs/heads/bad" not in mirror.refs.by_name
