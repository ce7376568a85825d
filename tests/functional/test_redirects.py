"""Clients that fetch from the object store itself: who may, by every way there is, and nobody else."""

import os
import sys
import uuid
from itertools import product
from pathlib import Path

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from tests.cache.test_objectstore import read
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gitclient import Git
from tests.functional.helperclones import Clones, install_helper
from tests.functional.readers import ALICE, BOB, CAROL, NOBODY, Contents, Route, send
from tests.functional.replicas import tiers
from tests.functional.restoring import cachew_command
from tests.functional.server import Cachew
from tests.functional.test_client_files import fetched, program
from tests.functional.test_readers import REFUSED, a_world, reveals
from tests.functional.upstream import Upstream
from tests.http.wire import Response

FOLLOWS, PLAIN = "X-Cachew-Redirect: 99999999", "X-Nothing: 1"
SENT = {"snapshot", "snapshot range", "bundle", "listed bundle", "bundle list", "bundle uris"}
"""What is large enough for the store in the test's config."""


def redirecting(store: str, lifetime: str = "5m") -> str:
    """Return the config of a cache in a store, to which clients are sent for nearly everything."""
    return tiers(store, uuid.uuid4().hex) + f'redirect = "{lifetime}"\nredirect-from = "100"\n'


def artefacts(contents: Contents) -> list[Route]:
    """Return the requests for what is made of a repository."""
    return [route for route in contents.routes() if route.name in SENT or "snapshot" in route.name]


def addresses(store: str, response: Response) -> list[str]:
    """Return the addresses in the store that a response holds, in its head or its body."""
    text = repr(response.headers) + response.body.decode("latin-1")
    return [store + rest.split("\n")[0].split("'")[0] for rest in text.split(store)[1:]]


@pytest_twisted.ensureDeferred
async def test_no_address_for_who_may_not_read(upstream: Upstream, start: Start, store: str) -> None:
    """The address of what is private is given to those whom the upstream lets read it, and to nobody else."""
    world = await a_world(upstream, start, redirecting(store))
    await world.enter("cached")
    strangers = [None, NOBODY, CAROL, BOB, f"Bearer {world.cachew.token}"]
    sent: dict[str, set[str]] = {FOLLOWS: set(), PLAIN: set()}
    for contents, readers in ((world.private, [ALICE]), (world.public, [None, ALICE])):
        asking = [*(strangers if contents is world.private else []), *readers]
        for who, shows, route in product(asking, sent, artefacts(contents)):
            response = await send(reactor, world.cachew, contents, route, who, shows)
            given = addresses(store, response)
            what = f"{route.name} of {contents.name} for {who}: {response.status}"
            if who not in readers:
                assert not given and response.status in REFUSED, what
                continue
            assert response.status != 307 or who is None or shows == FOLLOWS, what
            for address in given[:1]:
                sent[shows].add(route.name)
                there = Response(200, {}, (await deferToThread(read, address))[1])
                assert reveals(contents, there), what
    assert sent[FOLLOWS] >= SENT and sent[PLAIN] >= SENT


@pytest_twisted.ensureDeferred
async def test_clients_fetch_there(upstream: Upstream, start: Start, store: str, git: Git, tmp_path: Path) -> None:
    """The command, the remote helper and stock git have their bytes from the store, and what they make is sound."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=20)
    cachew = await start('[git]\nref-check-interval = "0s"\n' + redirecting(store))
    mirror = await cachew.mirrored("org/repo")
    await (await cachew.get("org/repo/snapshot.tar.zst")).content()
    await cachew.parts.snapshots.bundle_store.update(mirror.identity)
    await cachew.quiet()
    base, tip = repository.commit(), repositories.push_commit(repository, "main", "since then")
    clones, address = Clones(git, install_helper(tmp_path / "bin")), f"{cachew.url}/git/git.example/org/repo"
    await cachew.post("org/repo/ensure-refs", {"refs": {"refs/heads/main": tip}})
    # A bundle that is only being made comes from the server, so this one is made before.
    await (await cachew.get(f"org/repo/snapshot.bundle?base={base}", allow_redirects=False)).content()
    await cachew.quiet()
    await cachew_command(reactor, git, "git", "restore", address, "restored")
    assert gone(cachew, "snapshot") > 0 and gone(cachew, "bundle") > 0
    before = gone(cachew, "snapshot")
    result = await clones.run("clone", f"cachew::{address}", "seeded")
    assert gone(cachew, "snapshot") > before and await clones.bundles("seeded"), result.err
    trace = git.home / "trace"
    listed = f"--bundle-uri={address}/bundle-list"
    environment = {"GIT_TRACE_PACKET": str(trace), "GIT_TRACE2_EVENT": str(git.home / "events")}
    await git.run("clone", "-q", listed, address, "bundled", environment=environment)
    assert "have " in trace.read_text() and f"{store}/" in (git.home / "events").read_text()
    before = gone(cachew, "snapshot")
    (git.home / "cachew.pyz").write_bytes(await fetched(cachew, "cachew.pyz"))
    await program(git, sys.executable, "-I", "-S", "cachew.pyz", "git", "restore", address, "alone")
    assert gone(cachew, "snapshot") > before
    for name in ("restored", "seeded", "bundled", "alone"):
        assert (await git.run("-C", name, "rev-parse", "HEAD")).out == tip
        await git.run("-C", name, "fsck", "--strict")
        assert (await git.run("-C", name, "status", "--porcelain")).out == ""


@pytest_twisted.ensureDeferred
async def test_objects_come_from_there(upstream: Upstream, start: Start, store: str, git: Git) -> None:
    """What was put under a key is got from the store, by those who may have it."""
    cachew = await start(redirecting(store))
    content = os.urandom(300_000)
    (git.home / "file").write_bytes(content)
    ours = ("--url", cachew.url, "--authorization", f"Bearer {cachew.token}")
    await cachew_command(reactor, git, *ours, "put", "space", "key", "file")
    await cachew_command(reactor, git, *ours, "get", "space", "key", "-o", "got")
    assert (git.home / "got").read_bytes() == content and gone(cachew, "object") >= len(content)
    refused = await cachew_command(reactor, git, "--url", cachew.url, "get", "space", "key", "-o", "no", check=False)
    assert refused.code == 1 and gone(cachew, "object") == len(content)


def gone(cachew: Cachew, what: str) -> float:
    """Return how many bytes need not have passed through a server."""
    counted = cachew.parts.runtime.metrics.registry.get_sample_value
    return counted("cachew_redirected_bytes_total", {"what": what}) or 0.0
