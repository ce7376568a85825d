"""Nobody reads what they may not: every route, with every kind of credential, in every state of the server.

The contents of private repositories have a secret in their branches, files, messages and LFS objects, and no response
to anybody else may hold it, packed or not.
"""

import contextlib
import hashlib
import zlib
from collections.abc import Sequence
from typing import Any, cast

import pytest
import pytest_twisted
import zstandard
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.functional.conftest import Start
from tests.functional.exchanges import Exchange
from tests.functional.misbehaviour import Hold
from tests.functional.rawhttp import ask
from tests.functional.readers import (
    ALICE,
    BOB,
    CAROL,
    CREDENTIALS,
    NOBODY,
    SERVER,
    Contents,
    Route,
    make_contents,
    send,
    warm_everything,
)
from tests.functional.server import Cachew, HeldClock
from tests.functional.upstream import Upstream
from tests.http.wire import Response

REFUSED = {401, 403, 404}
STATES = ("cold", "warm", "cached", "down")
CONFIG = """
[git]
ref-check-interval = "0s"
snapshot-interval = "0s"
bundle-interval = "0s"
mirror-snapshot-interval = "0s"
"""
MAY_BE_MISSING = {"snapshot head", "bundle list", "lfs snapshot"}
STREAMED = {"lfs batch", "lfs object", "push refs", "push"}
SILENT = {"refs v2", "ensure-refs", "lfs batch", "lfs object"}
"""What says nothing about contents, or only what the request itself has said."""


class World:
    """An upstream with a public, a private and a per-user repository, and a server before it, whose time is held."""

    def __init__(self, upstream: Upstream, cachew: Cachew, clock: HeldClock) -> None:
        self.upstream, self.cachew, self.clock = upstream, cachew, clock
        self.public = make_contents(upstream, "org/public", "open-6f1c", seed=1)
        self.private = make_contents(upstream, "org/private", "canary-93ab7e", seed=2)
        self.bobs = make_contents(upstream, "org/bobs", "canary-b0b5e1", seed=3)
        upstream.gate.protect("org/private", SERVER, ALICE, CAROL, unknown=403)
        upstream.gate.protect("org/bobs", BOB, unknown=404)

    async def ask(self, contents: Contents, name: str, authorization: str | None) -> Response:
        """Ask for one thing."""
        route = next(route for route in contents.routes() if route.name == name)
        return await send(reactor, self.cachew, contents, route, authorization)

    async def enter(self, state: str) -> None:
        """Bring the server into a state, and have one credential revoked on the way."""
        if state == "warm":
            await self.cachew.mirrored("org/public")
            await self.cachew.mirrored("org/private")
        elif state in ("cached", "down"):
            for contents in (self.public, self.private):
                await warm_everything(self.cachew, contents)
                await self.ask(contents, "fetch v2", ALICE)
                await self.ask(contents, "bundle", ALICE)
            await self.ask(self.bobs, "fetch v2", BOB)
        assert (await self.ask(self.private, "snapshot head", CAROL)).status in (200, 404)
        self.upstream.gate.protect("org/private", SERVER, ALICE, unknown=403)
        self.clock.advance(61)
        assert (await self.ask(self.private, "ls-refs", CAROL)).status == 403
        if state == "down":
            for contents, authorization in ((self.public, None), (self.private, ALICE), (self.bobs, BOB)):
                assert (await self.ask(contents, "ls-refs", authorization)).status == 200
            await self.cachew.quiet()
            await self.upstream.stop()


async def a_world(upstream: Upstream, start: Start, config: str = "") -> World:
    """Start a server before an upstream with its repositories."""
    clock = HeldClock(cast(Any, reactor))
    return World(upstream, await start(CONFIG + config + CREDENTIALS % upstream.url, clock=clock), clock)


def reveals(contents: Contents, response: Response) -> bool:
    """Say whether a response holds anything of a repository, as it is or compressed."""
    texts = [repr(sorted(response.headers.items())).encode(), response.body]
    with contextlib.suppress(zstandard.ZstdError):
        texts.append(zstandard.ZstdDecompressor().stream_reader(response.body, read_across_frames=True).read())
    return any(mark in text for text in [*texts, *inflated(texts)] for mark in contents.marks)


def inflated(texts: Sequence[bytes]) -> list[bytes]:
    """Return what could be inflated anywhere in some texts, as objects in packs and archives can."""
    found = []
    for text in texts:
        place = text.find(b"\x78")
        while place >= 0:
            with contextlib.suppress(zlib.error):
                found.append(zlib.decompressobj().decompress(text[place:], 10_000))
            place = text.find(b"\x78", place + 1)
    return found


def served(route: Route, state: str) -> set[int]:
    """Return the statuses with which somebody who may read is answered."""
    if route.name in STREAMED and state == "down":
        return {502}
    if route.name == "bundle uris" and state == "cold":
        return {200, 400}  # the upstream's own word
    if route.name in ("lfs object", "push refs", "push"):
        return REFUSED  # the upstream's own word
    if route.name in MAY_BE_MISSING and state in ("cold", "warm"):
        return {200, 404}
    if route.name == "snapshot range":
        return {200, 206} if state in ("cold", "warm") else {206}  # what is only being made is sent whole
    return {200}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("state", STATES)
async def test_the_table(upstream: Upstream, start: Start, state: str) -> None:
    """Each route gives a private repository to those whom its upstream lets read it and to nobody else."""
    world = await a_world(upstream, start)
    await world.enter(state)
    everybody = {"no": None, "wrong": NOBODY, "revoked": CAROL, "other": BOB, "right": ALICE}
    admin = f"Bearer {world.cachew.token}"
    refused = REFUSED | ({502} if state == "down" else set())
    for contents, readers in ((world.private, (ALICE,)), (world.bobs, (BOB,)), (world.public, (*everybody.values(),))):
        for who, authorization in sorted({**everybody, "admin": admin}.items(), key=lambda one: one[1] in readers):
            may_read = authorization in readers or readers == (*everybody.values(),)
            for route in contents.routes():
                if state == "down" and route.name in STREAMED and (who, contents) != ("right", world.private):
                    continue  # each attempt to connect takes its time, whoever makes it
                response = await send(reactor, world.cachew, contents, route, authorization)
                said = f"{response.status} {response.body[:200]!r}"
                what = f"{state}: {who} credential, {route.name} of {contents.name}: {said}"
                if may_read and contents is not world.bobs:
                    assert response.status in served(route, state), what
                elif may_read and route.name in ("ls-refs", "fetch v2", "refs v2") and state != "down":
                    assert response.status == 200, what
                elif may_read:
                    assert response.status not in (401, 500), what
                else:
                    assert response.status in refused, what
                    assert not reveals(contents, response), what
                if may_read and state == "cached" and response.status in (200, 206) and contents is not world.bobs:
                    unseen = {"snapshot range"} | SILENT
                    assert reveals(contents, response) or route.name in unseen, f"the search is blind: {what}"
    await world.cachew.quiet()
    assert_own_credentials(world)


def fills_a_mirror(exchange: Exchange) -> bool:
    """Say whether a request fills a mirror: git takes compressed packs there, and clients tell LFS their own name."""
    packs = exchange.kind == "pack" and "gzip" in exchange.headers.get("accept-encoding", "")
    of_the_server = " cachew/" in exchange.headers.get("user-agent", "")
    return of_the_server and (packs or exchange.kind in ("lfs", "lfs-object"))


def assert_own_credentials(world: World) -> None:
    """Mirrors are filled with the server's credential only, and what clients ask is asked with theirs only."""
    exchanges = world.upstream.journal.exchanges
    fills = [one for one in exchanges if fills_a_mirror(one)]
    private = [one for one in fills if one.repository in ("org/private", "org/bobs")]
    assert private and {one.headers.get("authorization") for one in private} <= {SERVER, world.upstream.lfs.token}
    passed = [one for one in exchanges if one.kind in ("push", "push-refs", "lfs") and one not in fills]
    assert SERVER not in {one.headers.get("authorization") for one in passed}
    assert not [one for one in exchanges if world.cachew.token in repr(one.headers)], "the admin token stays here"


@pytest_twisted.ensureDeferred
async def test_what_is_under_way_is_nobody_elses(upstream: Upstream, start: Start) -> None:
    """A pack on its way to one reader is followed by who may read as well, and by nobody else."""
    world = await a_world(upstream, start)
    hold = Hold()
    upstream.misbehave(hold, kind="pack", repository="org/bobs")
    reading = [Deferred.fromCoroutine(world.ask(world.bobs, "fetch v2", BOB)) for _ in range(2)]
    await upstream.journal.reached(1, "pack", "org/bobs")
    for authorization in (None, NOBODY, ALICE, CAROL):
        response = await world.ask(world.bobs, "fetch v2", authorization)
        assert response.status in REFUSED and not reveals(world.bobs, response)
    hold.release()
    first, second = await gatherResults(reading)
    assert first.status == 200 and first.body == second.body and reveals(world.bobs, first)
    assert upstream.count("pack", "org/bobs") == 1


@pytest_twisted.ensureDeferred
async def test_the_servers_own_places(upstream: Upstream, start: Start) -> None:
    """The admin's pages and the object API are the admin's, and what is made of repositories is not even theirs."""
    world = await a_world(upstream, start)
    await world.enter("cached")
    instance = (await world.cachew.mirrored("org/private")).instance
    key = hashlib.sha256(f"snapshot:{instance.name}".encode()).hexdigest()
    places = [
        ("GET", "/admin/"),
        ("GET", "/admin/repositories"),
        ("GET", "/admin/overview"),
        ("GET", "/admin/log/level"),
        ("POST", "/admin/repositories/git.example/org/private/forget"),
        ("GET", "/metrics"),
        ("GET", "/api/v1/stats"),
        ("GET", "/api/v1/namespaces"),
        ("GET", "/api/v1/object/builds/x"),
        ("GET", f"/api/v1/object/git/{key}"),
        ("HEAD", f"/api/v1/object/git/{key}"),
        ("DELETE", f"/api/v1/object/git/{key}"),
        ("GET", f"/api/v1/object/git/snapshot:git.example%2Forg%2Fprivate%20{instance.id}"),
    ]
    for authorization in (None, NOBODY, CAROL, BOB, ALICE, "Bearer wrong", SERVER):
        for method, path in places:
            shown = [] if authorization is None else [f"Authorization: {authorization}"]
            response = await ask(reactor, world.cachew.url, method, path, *shown)
            login = path == "/admin/" and response.status in (302, 303)
            assert response.status == 401 or login, f"{method} {path}: {response.status}"
            assert not reveals(world.private, response) and b"org/private" not in response.body
    for method, path in places[-4:]:
        response = await ask(reactor, world.cachew.url, method, path, f"Authorization: Bearer {world.cachew.token}")
        assert response.status == 403 and not reveals(world.private, response), f"{method} {path}"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("state", ["cold", "cached"])
async def test_a_trusted_network(upstream: Upstream, start: Start, state: str) -> None:
    """Whoever reaches a server on a trusted network reads what its own credential can read, and pushes with theirs."""
    world = await a_world(upstream, start, '[access]\nmode = "trusted-network"\n')
    if state == "cached":
        await warm_everything(world.cachew, world.private)
    for authorization in (None, NOBODY):
        for route in world.private.routes():
            response = await send(reactor, world.cachew, world.private, route, authorization)
            what = f"{route.name}: {response.status} {response.body[:200]!r}"
            expected = REFUSED if route.name in STREAMED else served(route, "warm" if state == "cold" else state)
            assert response.status in expected, what
        response = await world.ask(world.bobs, "ls-refs", authorization)
        assert response.status in REFUSED and not reveals(world.bobs, response)
    assert_own_credentials(world)
