"""How often upstreams are asked while many clients are served: counted at the upstream, by credential."""

from collections import Counter
from itertools import cycle
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from tests.functional.canary import marked
from tests.functional.conftest import Start
from tests.functional.rawhttp import connect, request_lines
from tests.functional.readers import CREDENTIALS, SERVER, Contents, make_contents, warm_everything
from tests.functional.server import HOST, Cachew, HeldClock
from tests.functional.upstream import Upstream

READERS = [f"Bearer {marked(str(number))}" for number in range(50)]
INTERVAL = 10
MINUTE = 60
STEP = 1.2


async def serve_a_minute(cachew: Cachew, clock: HeldClock, contents: Contents, *, names: set[str], times: int) -> int:
    """Have 50 clients on connections of their own ask for one thing after the other while a minute passes.

    :param names: the routes.
    :param times: how many requests each of them sends in each of fifty parts of the minute.
    :return: how many were answered.
    """
    routes = [route for route in contents.routes() if route.name in names]
    answered: Counter[int] = Counter()

    async def ask(client: Any, reader: str, turns: Any) -> None:
        for _ in range(times):
            route = next(turns)
            path = f"/git/{HOST}/{contents.name}/{route.operation}"
            length = [f"Content-Length: {len(route.body)}"] if route.body else []
            lines = request_lines(route.method, path, *route.headers, f"Authorization: {reader}", *length)
            client.send(lines, route.body)
            answered[(await client.response(bodiless=route.method == "HEAD")).status] += 1

    clients = [await connect(reactor, cachew.url) for _ in READERS]
    plans = [cycle(routes[number % len(routes) :] + routes[: number % len(routes)]) for number in range(len(READERS))]
    for _ in range(int(MINUTE / STEP)):
        asking = zip(clients, READERS, plans, strict=True)
        await gatherResults([Deferred.fromCoroutine(ask(*one)) for one in asking])
        clock.advance(STEP)
    for client in clients:
        client.transport.loseConnection()
        await client.lost.wait()
    assert set(answered) <= {200, 206}, answered
    return answered.total()


def questions(upstream: Upstream, kind: str) -> Counter[str | None]:
    """Count by credential what this server has asked for itself, and not passed on."""
    return Counter(
        exchange.headers.get("authorization")
        for exchange in upstream.journal.of(kind)
        if " cachew/" in exchange.headers.get("user-agent", "")
    )


async def prepared(upstream: Upstream, start: Start, clock: HeldClock, config: str) -> tuple[Cachew, Contents]:
    """Start a server before a private repository that 50 credentials may read."""
    contents = make_contents(upstream, "org/private", "canary-93ab7e", seed=2)
    upstream.gate.protect("org/private", SERVER, *READERS)
    return await start(config, clock=clock), contents


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@pytest.mark.timeout(180)
async def test_ten_thousand_requests(upstream: Upstream, start: Start) -> None:
    """Ten thousand requests of all kinds in a minute ask once about each of 50 credentials, and for nothing else.

    Refs are checked every ten seconds beside that, with the server's own credential: once for v2, which asks for heads
    and tags, and once for v0, which asks for everything, however many clients there are.
    """
    clock = HeldClock(cast(Any, reactor))
    cachew, contents = await prepared(upstream, start, clock, CREDENTIALS % upstream.url)
    await warm_everything(cachew, contents)
    clock.advance(MINUTE)
    upstream.journal.exchanges.clear()
    names = {
        "refs v0", "refs v2", "ls-refs of a clone", "fetch v2", "fetch v0", "snapshot head", "snapshot range", "bundle",
        "bundle list", "listed bundle", "lfs snapshot",
    }  # fmt: skip
    assert await serve_a_minute(cachew, clock, contents, names=names, times=4) == 10_000
    await cachew.quiet()
    asked = questions(upstream, "refs")
    assert {reader: asked[reader] for reader in READERS} == dict.fromkeys(READERS, 1)
    assert asked[None] <= 1, "whether it is public"
    assert asked[SERVER] <= 2 * MINUTE / INTERVAL
    assert len(upstream.journal.exchanges) == asked.total(), "and nothing was passed on, nor asked twice"


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("credentials", ["", CREDENTIALS], ids=["no credential of its own", "a cold start"])
async def test_without_a_mirror(upstream: Upstream, start: Start, credentials: str) -> None:
    """Where there is no mirror of a private repository, ref checks show clients' credentials, in all as seldom.

    So it is always when the server has no credential of its own, and at a cold start until the mirror is there.
    """
    clock = HeldClock(cast(Any, reactor))
    cachew, contents = await prepared(upstream, start, clock, credentials and credentials % upstream.url)
    assert await serve_a_minute(cachew, clock, contents, names={"ls-refs of a clone"}, times=1) == 2500
    await cachew.quiet()
    asked, capabilities = questions(upstream, "refs"), questions(upstream, "caps")
    shown = sum(asked[reader] + capabilities[reader] for reader in READERS)
    assert len(READERS) <= shown <= len(READERS) + 1 + MINUTE / INTERVAL
    assert max(capabilities.values()) == 1, "what it can do, in the first of its questions"
    assert asked[None] <= (1 if credentials else 10), "whether it is public, and tries to mirror it"
    assert asked[SERVER] <= (1 + MINUTE / INTERVAL if credentials else 0)
