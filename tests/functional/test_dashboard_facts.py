"""What the pages for people tell of a real server in front of a real upstream."""

import re
from pathlib import Path
from typing import Any

import pytest_twisted

from tests.functional.conftest import Start
from tests.functional.replicas import tiers
from tests.functional.repositories import make_repository
from tests.functional.server import HOST, UNSCHEDULED, Cachew
from tests.functional.upstream import Upstream

LISTED = "org/repo/info/refs?service=git-upload-pack"


async def page(server: Cachew, path: str) -> str:
    """Return a page's text."""
    answer = await server.admin("GET", path)
    body: Any = await answer.content()
    assert answer.code == 200, body
    words = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", body.decode(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", words)


async def listed(server: Cachew) -> int:
    """Ask for a repository's refs and return the status."""
    answer = await server.get(LISTED)
    await answer.content()
    return int(answer.code)


@pytest_twisted.ensureDeferred
async def test_the_pages_tell_what_happens(upstream: Upstream, start: Start) -> None:
    """Traffic, events, clients, what is kept and an upstream that goes are shown; the traffic outlives a restart."""
    make_repository(upstream.root / "org/repo.git")
    config = UNSCHEDULED + 'ref-check-interval = "0s"\n'
    server = await start(config)
    await server.mirrored("org/repo")
    await (await server.get("org/repo/snapshot.tar.zst")).content()
    assert await listed(server) == 200
    await server.quiet()

    one = await page(server, f"/admin/repository?name={HOST}/org/repo")
    for shown in (
        "mirrored git.example/org/repo", "the upstream was asked for its refs", "127.0.0.1",
        "made snapshot:git.example/org/repo", "as the upstream lists them", "from the cache",
    ):  # fmt: skip
        assert shown in one, f"{shown} NOT IN {one}"
    await upstream.stop()
    assert await listed(server) == 200
    await server.quiet()
    whole = await page(server, "/admin/")
    assert f"Upstream {HOST} does not answer since" in whole and "1 repository with an error" in whole
    assert "Mirrors ready 1 of 1" in whole and "Hit rate 100 %" in whole
    assert "stale" in await page(server, f"/admin/?state=stale&host={HOST}")
    assert "as last fetched" in await page(server, f"/admin/repository?name={HOST}/org/repo")

    await upstream.start()
    assert await listed(server) == 200
    await server.quiet()
    whole = await page(server, "/admin/")
    assert "does not answer since" not in whole and "with an error:" not in whole
    fleet = await page(server, "/admin/fleet")
    assert "1 replica" in fleet and "Mirrors ready 1" in fleet and "shares no store" in fleet

    requests = re.search(r"Requests ([0-9]+)", whole)
    await server.stop()
    again = await start(config)
    assert requests is not None and f"Requests {requests[1]} Hit rate" in await page(again, "/admin/")


@pytest_twisted.ensureDeferred
async def test_a_login_counts_on_every_replica(upstream: Upstream, start: Start, store: str, tmp_path: Path) -> None:
    """Who logs in at one replica is logged in at the other, sees both there, and is logged out of both."""
    config = UNSCHEDULED + tiers(store, tmp_path.name)
    one, two = [await start(config, state=name) for name in ("one", "two")]
    for replica in (one, two):
        await replica.quiet()
        await replica.parts.fleet.beat()
    answer = await one.raw("POST", "/admin/login", data={"token": one.token})
    cookie = {"Cookie": answer.headers.getRawHeaders("set-cookie")[0].partition(";")[0]}
    seen = await two.raw("GET", "/admin/fleet", headers=cookie)
    text = await seen.text()
    assert seen.code == 200 and "2 replicas" in text and f"{one.state}" in text and "(this one)" in text
    (token, *_) = re.findall(r'name="csrf" value="([^"]+)"', text)
    left = await two.raw("POST", "/admin/logout", headers=cookie, data={"csrf": token}, allow_redirects=False)
    await two.quiet()
    await one.parts.web.sessions.share()
    assert left.code == 303
    for replica in (one, two):
        assert (await replica.raw("GET", "/admin/repositories", headers=cookie)).code == 401
