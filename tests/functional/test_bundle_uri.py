"""Stock git begins a clone with bundles, without any client of ours."""

import re

import pytest_twisted
from twisted.internet import reactor

from cachew.plumbing.pktline import DELIM, FLUSH, Packet, encode_all
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.helperclones import Clones, install_helper
from tests.functional.loglines import listening
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


def understood(lines: list[Packet]) -> dict[str, dict[str, str]]:
    """Read an answer to ``bundle-uri`` as git does, which compares keys letter by letter (bundle-uri.c)."""
    bundles: dict[str, dict[str, str]] = {}
    for line in lines:
        assert isinstance(line, bytes)
        key, _, value = line.decode().rstrip("\n").partition("=")
        section, _, rest = key.partition(".")
        name, _, subkey = rest.rpartition(".")
        assert section == "bundle" and subkey in (
            {"uri", "creationtoken"} if name else {"version", "mode", "heuristic"}
        )
        bundles.setdefault(name, {})[subkey] = value
    return bundles


@pytest_twisted.ensureDeferred
async def test_the_keys_by_protocol_are_those_of_git(upstream: Upstream, start: Start) -> None:
    """They are in lower case, as git's own server sends them: no git would take ``creationToken``."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start()
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    lines = await cachew.upload_pack("org/repo", encode_all([b"command=bundle-uri", DELIM, FLUSH]))
    bundles = understood([line for line in lines if isinstance(line, bytes)])
    assert bundles.pop("") == {"version": "1", "mode": "all", "heuristic": "creationToken"}
    assert [set(bundle) for bundle in bundles.values()] == [{"uri", "creationtoken"}]
    assert all(bundle["creationtoken"].isdigit() for bundle in bundles.values())


@pytest_twisted.ensureDeferred
async def test_stock_git_takes_the_bundles_of_a_warm_mirror(upstream: Upstream, git: Git, start: Start) -> None:
    """A clone with ``transfer.bundleURI`` downloads every listed bundle; git before 2.40 has no such setting.

    One that is seeded with the snapshot downloads none.
    """
    repository = repositories.make_repository(upstream.path("org/repo"), commits=30)
    cachew = await start('[git]\nref-check-interval = "0s"')
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    repositories.push_commit(repository, "main", "second")
    await mirror.updates.sync(await mirror.remote.list_refs(), reactor.seconds())
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    pushed = repositories.push_commit(repository, "main", "after the bundles")
    version = tuple(map(int, (await git.run("version")).out.split()[2].split(".")[:2]))
    with listening() as log:
        await git.run("-c", "transfer.bundleURI=true", "clone", "-q", URL, "clone")
        assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == pushed
        downloads = log.count("/bundle-list 200")
    assert downloads == (2 if version >= (2, 40) else 0)
    await (await cachew.get("org/repo/snapshot.tar.zst")).content()
    clones = Clones(git, install_helper(git.home / "bin"))
    with listening() as log:
        address = f"cachew::{cachew.url}/git/git.example/org/repo"
        await clones.run("-c", "transfer.bundleURI=true", "clone", "-q", address, "seeded")
        assert await clones.bundles("seeded") and log.count("/bundle-list 200") == 0


@pytest_twisted.ensureDeferred
async def test_bundles_are_made_though_snapshots_are_not(upstream: Upstream, start: Start) -> None:
    """``snapshot-interval = "0s"`` switches off the snapshots, and the bundle lists go on being made."""
    repositories.make_repository(upstream.path("org/repo"), commits=3)
    cachew = await start('[git]\nsnapshot-interval = "0s"\nbundle-interval = "200ms"\nartefacts-for = "0s"')
    with listening() as log:
        await cachew.mirrored("org/repo")
        await log.seen("made bundle:git.example/org/repo")
    assert not log.count("made snapshot")
