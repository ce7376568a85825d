"""Snapshots of every kind through a whole server: other branches, partial ones, LFS, and every condition on them."""

import hashlib
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path

import pytest
import pytest_twisted
import zstandard
from twisted.internet import reactor

from cachew.mirrors.kinds import MIRRORED_KIND
from cachew.snapshots.variants import LFS, SNAPSHOT, Variant
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.loglines import listening
from tests.functional.rawhttp import ask
from tests.functional.readers import CREDENTIALS, SERVER
from tests.functional.repositories import Repository
from tests.functional.restoring import cachew_command
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

REPOSITORY = "/git/git.example/org/repo"
URL = "https://git.example/org/repo"
CONFIG = """
[git]
ref-check-interval = "0s"
snapshot-interval = "0s"
bundle-interval = "0s"
mirror-snapshot-interval = "0s"
repack-interval = "0s"
"""
LARGE = hashlib.shake_256(b"lfs").digest(400_000)


@pytest.fixture
def repository(upstream: Upstream) -> Repository:
    """A repository with a branch besides."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=6, size=3000)
    repositories.add_commit(repository, "refs/heads/topic/one", "topic", parent="main", name="only-on-topic")
    return repository


def add_large_file(upstream: Upstream, repository: Repository) -> str:
    """Add an LFS object to the repository and return its oid."""
    oid = upstream.lfs.put("org/repo", LARGE)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(LARGE)}\n"
    repositories.push_commit(repository, name=".gitattributes", data=b"*.bin filter=lfs diff=lfs merge=lfs -text\n")
    repositories.push_commit(repository, name="large.bin", data=pointer.encode())
    return oid


async def get(cachew: Cachew, what: str, *headers: str, method: str = "GET") -> Response:
    """Ask for something of the repository."""
    return await ask(reactor, cachew.url, method, f"{REPOSITORY}/{what}", *headers)


async def made_by_asking(cachew: Cachew, what: str) -> Response:
    """Ask for something that isn't there, wait until it is kept, and return what came."""
    with listening() as log:
        made = await get(cachew, what)
        await log.seen("made snapshot")
    await cachew.quiet()
    return made


async def extracted(git: Git, archive: Response, name: str) -> Path:
    """Extract an archive with the system's tar, as people do without the cachew command."""
    target = git.home / name
    target.mkdir()
    data = zstandard.ZstdDecompressor().stream_reader(archive.body, read_across_frames=True).read()
    await git.run("-c", f"alias.untar=!tar -x -C {target}", "untar", stdin=data)
    return target


@pytest_twisted.ensureDeferred
async def test_another_branch(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """A branch's snapshot has that branch checked out, is made once, kept beside the plain one and has its bundle."""
    cachew = await start(CONFIG)
    what = "snapshot.tar.zst?ref=refs/heads/topic/one"
    assert (await get(cachew, what, method="HEAD")).status == 404
    made = await made_by_asking(cachew, what)
    topic = repository.commit("topic/one")
    assert (made.status, made.headers["x-cachew-snapshot-commit"]) == (200, topic)
    kept = await get(cachew, what)
    assert kept.body == made.body and kept.headers["etag"]
    assert (await get(cachew, "snapshot.tar.zst", method="HEAD")).status == 404
    plain = await get(cachew, "snapshot.tar.zst")
    assert plain.headers["x-cachew-snapshot-commit"] == repository.commit("main")
    tree = await extracted(git, kept, "topic")
    assert (await git.run("-C", tree, "symbolic-ref", "HEAD")).out == "refs/heads/topic/one"
    assert (await git.run("-C", tree, "status", "--porcelain")).out == "" and (tree / "only-on-topic").exists()
    await git.run("-C", tree, "fsck", "--strict")
    pushed = repositories.push_commit(repository, "topic/one", "more")
    mirror = await cachew.mirrored("org/repo")
    answer = await cachew.parts.mirrors.freshness.refs(mirror.identity, MIRRORED_KIND, None)
    await mirror.updates.sync(answer.listing, answer.started)
    later = await get(cachew, what)
    bundle = f"snapshot.bundle?base={topic}&ref=refs/heads/topic/one"
    assert later.headers["x-cachew-bundle-url"] == f"{REPOSITORY}/{bundle}"
    (git.home / "delta").write_bytes((await get(cachew, bundle)).body)
    await git.run("-C", tree, "pull", "-q", git.home / "delta", "refs/heads/topic/one")
    assert (await git.run("-C", tree, "rev-parse", "HEAD")).out == pushed
    for ref in ("refs/heads/none", "refs/tags/v1", "main", "refs/heads/../x", "refs/heads/.x"):
        assert (await get(cachew, f"snapshot.tar.zst?ref={ref}")).status in (400, 404), ref
    await cachew.quiet()


@pytest_twisted.ensureDeferred
async def test_a_partial_snapshot(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """It lacks the blobs of older commits, which git fetches when they are asked for, and is smaller."""
    cachew = await start(CONFIG)
    what = "snapshot.tar.zst?filter=blob:none"
    await made_by_asking(cachew, what)
    partial, whole = await get(cachew, what), await made_by_asking(cachew, "snapshot.tar.zst")
    assert partial.headers["etag"] and len(partial.body) < len(whole.body)
    tree = await extracted(git, partial, "partial")
    assert (await git.run("-C", tree, "status", "--porcelain")).out == ""
    assert (await git.run("-C", tree, "config", "remote.origin.promisor")).out == "true"
    words = ("-C", tree, "rev-list", "--objects", "--all", "--missing=print")
    missing = [line for line in (await git.run(*words)).out.splitlines() if line.startswith("?")]
    assert missing
    before = upstream.count("pack")
    await git.run("-C", tree, "log", "-p", "--all")
    assert upstream.count("pack") > before, "the origin, which is the upstream, gave them"
    assert (await get(cachew, "snapshot.tar.zst?filter=tree:0")).status == 400


@pytest_twisted.ensureDeferred
async def test_lfs_end_to_end(upstream: Upstream, repository: Repository, git: Git, start: Start) -> None:
    """Asked for, an LFS snapshot is 404 at once and then made; a restore with it needs nothing of the upstream."""
    upstream.gate.protect("org/repo", SERVER)
    oid = add_large_file(upstream, repository)
    cachew = await start(f'{CONFIG}{CREDENTIALS % upstream.url}[access]\nmode = "trusted-network"\n')
    await cachew.mirrored("org/repo")
    with listening() as log:
        assert (await get(cachew, "lfs-snapshot.tar.zst", method="HEAD")).status == 404
        assert not upstream.count("lfs")
        assert (await get(cachew, "lfs-snapshot.tar.zst")).status == 404
        await log.seen("made lfs-snapshot")
    await cachew.quiet()
    asked = [one for one in upstream.journal.exchanges if one.kind in ("lfs", "lfs-object")]
    assert [one.headers["user-agent"].partition(" ")[2][:7] for one in asked] == ["cachew/"] * 2
    assert [one.headers["authorization"] for one in asked] == [SERVER, upstream.lfs.token]
    lfs = await get(cachew, "lfs-snapshot.tar.zst")
    assert lfs.headers["x-cachew-snapshot-commit"] == repository.commit()
    await made_by_asking(cachew, "snapshot.tar.zst")
    counted = upstream.count("lfs"), upstream.count("lfs-object")
    said = await cachew_command(reactor, git, "--url", cachew.url, "git", "restore", "--lfs", URL, "restored")
    assert "1 LFS objects" in said.out + said.err
    assert (git.home / "restored/large.bin").read_bytes() == LARGE
    assert (await git.run("-C", "restored", "status", "--porcelain")).out == ""
    await git.run("-C", "restored", "lfs", "fsck")
    assert counted == (upstream.count("lfs"), upstream.count("lfs-object")) and counted[1] == 1
    tree = await extracted(git, lfs, "lfs")
    assert [path.name for path in tree.rglob("*") if path.is_file()] == [oid]
    assert (tree / "lfs/objects" / oid[:2] / oid[2:4] / oid).read_bytes() == LARGE
    head = await get(cachew, "lfs-snapshot.tar.zst", method="HEAD")
    assert head.headers["content-length"] == str(len(lfs.body))


CONDITIONS = [
    # header lines, with {etag}, {modified}, {before} and {size}; the status of GET; the status of HEAD
    ([], 200, 200),
    (["If-None-Match: {etag}"], 304, 304),
    (["If-None-Match: W/{etag}"], 304, 304),
    (["If-None-Match: *"], 304, 304),
    (['If-None-Match: "other", {etag}'], 304, 304),
    (['If-None-Match: "other"'], 200, 200),
    (["If-Match: {etag}"], 200, 200),
    (["If-Match: *"], 200, 200),
    (['If-Match: "other"'], 412, 412),
    (["If-Match: W/{etag}"], 412, 412),
    (["If-Modified-Since: {modified}"], 304, 304),
    (["If-Modified-Since: {before}"], 200, 200),
    (["If-Modified-Since: nonsense"], 200, 200),
    (["If-Unmodified-Since: {modified}"], 200, 200),
    (["If-Unmodified-Since: {before}"], 412, 412),
    (['If-None-Match: "other"', "If-Modified-Since: {modified}"], 200, 200),
    (["If-Match: {etag}", "If-Unmodified-Since: {before}"], 200, 200),
    (["Range: bytes=0-9"], 206, 200),
    (["Range: bytes=-10"], 206, 200),
    (["Range: bytes=10-"], 206, 200),
    (["Range: bytes={size}-"], 416, 200),
    (["Range: bytes=0-1,5-6"], 200, 200),
    (["Range: bytes=-0"], 416, 200),
    (["Range: bytes=9-1"], 200, 200),
    (["Range: lines=0-9"], 200, 200),
    (["Range: bytes=0-9", "If-Range: {etag}"], 206, 200),
    (["Range: bytes=0-9", "If-Range: {modified}"], 206, 200),
    (["Range: bytes=0-9", 'If-Range: "other"'], 200, 200),
    (["Range: bytes=0-9", "If-Range: {before}"], 200, 200),
    (["Range: bytes=0-9", "If-Match: {etag}"], 206, 200),
    (["Range: bytes=0-9", 'If-Match: "other"'], 412, 412),
    (["Range: bytes=0-9", "If-None-Match: {etag}"], 304, 304),
]
RANGES = {"bytes=0-9": slice(0, 10), "bytes=-10": slice(-10, None), "bytes=10-": slice(10, None)}


VARIANTS = {
    "snapshot.tar.zst": Variant(),
    "snapshot.tar.zst?ref=refs/heads/topic/one": Variant(SNAPSHOT, "refs/heads/topic/one"),
    "snapshot.tar.zst?filter=blob:none": Variant(SNAPSHOT, "", "blob:none"),
    "lfs-snapshot.tar.zst": Variant(LFS),
}
KINDS = [*VARIANTS, "a bundle", "a bundle of the list", "bundle-list"]


async def there_is(cachew: Cachew, repository: Repository, kind: str) -> str:
    """Have something made and return what asks for it."""
    mirror = await cachew.mirrored("org/repo")
    if kind in VARIANTS:
        await cachew.parts.snapshots.archives.make(mirror.identity, VARIANTS[kind])
        return kind
    if kind == "a bundle":
        return f"snapshot.bundle?base={repository.commit('main~3')}"
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    (bundle,) = await cachew.parts.snapshots.bundle_store.listed(mirror.instance)
    return kind if kind == "bundle-list" else f"bundle-list?bundle={bundle.name}"


def assert_is_told(refusal: Response, method: str, whole: Response) -> None:
    """Assert that a refusal of a condition or a range says why, and how large and which version the whole is."""
    text = "holds none of" if refusal.status == 416 else "not in the state"
    assert "transfer-encoding" not in refusal.headers and refusal.headers["etag"] == whole.headers["etag"]
    assert refusal.headers["content-type"] == "text/plain; charset=utf-8"
    if method == "HEAD":
        assert refusal.body == b""
    else:
        assert text in refusal.body.decode() and refusal.headers["content-length"] == str(len(refusal.body))
    if refusal.status == 416:
        assert refusal.headers["content-range"] == f"bytes */{len(whole.body)}"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("kind", KINDS)
async def test_every_condition(upstream: Upstream, repository: Repository, start: Start, kind: str) -> None:
    """GET and HEAD of everything, with every condition and range, answer as RFC 9110 says, and alike."""
    add_large_file(upstream, repository)
    cachew = await start(CONFIG)
    what = await there_is(cachew, repository, kind)
    whole = await get(cachew, what)
    modified = whole.headers["last-modified"]
    before = formatdate(parsedate_to_datetime(modified).timestamp() - 60, usegmt=True)
    values = {"etag": whole.headers["etag"], "modified": modified, "before": before, "size": len(whole.body)}
    for lines, of_get, of_head in CONDITIONS:
        headers = [line.format(**values) for line in lines]
        answers = {method: await get(cachew, what, *headers, method=method) for method in ("GET", "HEAD")}
        assert (answers["GET"].status, answers["HEAD"].status) == (of_get, of_head), headers
        for method, answer in answers.items():
            if answer.status in (200, 206, 304):
                assert answer.headers["etag"] == values["etag"] and answer.headers["last-modified"] == modified
            if answer.status == 200:
                assert answer.headers["content-length"] == str(len(whole.body))
                assert answer.headers["content-type"] == whole.headers["content-type"]
                assert answer.body == (whole.body if method == "GET" else b"")
            elif answer.status == 206:
                expected = whole.body[RANGES[headers[0].removeprefix("Range: ")]]
                assert answer.body == expected and answer.headers["content-length"] == str(len(expected))
                commit = "x-cachew-snapshot-commit"
                assert answer.headers.get(commit) == whole.headers.get(commit)
            elif answer.status in (412, 416):
                assert_is_told(answer, method, whole)
            elif answer.status == 304:
                assert answer.body == b"" and "content-type" not in answer.headers
    await cachew.quiet()


@pytest_twisted.ensureDeferred
async def test_what_an_answer_says_of_a_snapshot(upstream: Upstream, repository: Repository, start: Start) -> None:
    """Its commit and, when the branch has moved on, the bundle's address, whatever part of it is asked for."""
    cachew = await start(CONFIG)
    commit = repository.commit()
    await there_is(cachew, repository, "snapshot.tar.zst")
    answers = [("GET", [], 200), ("GET", ["Range: bytes=5-9"], 206), ("HEAD", [], 200)]
    for method, headers, status in answers:
        answer = await get(cachew, "snapshot.tar.zst", *headers, method=method)
        assert (answer.status, answer.headers["x-cachew-snapshot-commit"]) == (status, commit)
        assert "x-cachew-bundle-url" not in answer.headers
        assert (answer.headers["content-type"], answer.headers["accept-ranges"]) == ("application/zstd", "bytes")
    pushed = repositories.push_commit(repository)
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.mirrors.staleness.fetch(mirror.identity)
    bundle = f"{REPOSITORY}/snapshot.bundle?base={commit}"
    for method, headers, status in reversed(answers):
        answer = await get(cachew, "snapshot.tar.zst", *headers, method=method)
        assert (answer.status, answer.headers["x-cachew-snapshot-commit"]) == (status, commit)
        assert answer.headers["x-cachew-bundle-url"] == bundle
        await cachew.quiet()
        # Only who takes the snapshot will want the bundle too.
        made = 404 if method == "HEAD" else 200
        assert (await ask(reactor, cachew.url, "HEAD", bundle)).status == made
    assert pushed.encode() in (await ask(reactor, cachew.url, "GET", bundle)).body
