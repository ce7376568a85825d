"""Stock git begins a clone with bundles, without any client of ours."""

import re

import pytest_twisted

from cachew.plumbing.pktline import DELIM, FLUSH, encode_all
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.upstream import Upstream

URL = "https://git.example/org/repo"


@pytest_twisted.ensureDeferred
async def test_clone_from_bundles(upstream: Upstream, git: Git, start: Start) -> None:
    """A clone with --bundle-uri takes the bundles that there are and fetches only the rest."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=30, tags=["v1"])
    cachew = await start('[git]\nref-check-interval = "0s"')
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    pushed = repositories.push_commit(repository, "main", "after the bundle")
    listed = await (await cachew.get("org/repo/bundle-list")).text()
    assert "heuristic = creationToken" in listed and "mode = all" in listed
    trace = git.home / "trace"
    await git.run(
        "clone",
        "-q",
        f"--bundle-uri={cachew.url}/git/git.example/org/repo/bundle-list",
        URL,
        "clone",
        environment={"GIT_TRACE_PACKET": str(trace)},
    )
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == pushed
    await git.run("-C", "clone", "fsck", "--strict")
    assert re.search(r"have [0-9a-f]{40}", trace.read_text())


@pytest_twisted.ensureDeferred
async def test_bundles_by_protocol(upstream: Upstream, git: Git, start: Start) -> None:
    """Protocol v2 offers the same list by its own command, also while there are no bundles yet."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start()
    mirror = await cachew.mirrored("org/repo")
    offered = await cachew.get("org/repo/info/refs?service=git-upload-pack", headers={"Git-Protocol": "version=2"})
    assert b"bundle-uri" in await offered.content()
    command = encode_all([b"command=bundle-uri", DELIM, FLUSH])
    assert (await cachew.upload_pack("org/repo", command))[:2] == [b"bundle.version=1\n", b"bundle.mode=all\n"]
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    lines = await cachew.upload_pack("org/repo", command)
    uris = [line for line in lines if isinstance(line, bytes) and b".uri=" in line]
    assert len(uris) == 1
    bundle = await cachew.get(uris[0].decode().strip().partition("/git/git.example/")[2])
    assert (await bundle.content()).startswith(b"# v2 git bundle")
