"""A mirror that can't serve is nobody's trouble but its own."""

import contextlib
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from cachew.plumbing.errors import CachewError
from tests.functional import repositories
from tests.functional.conftest import Start
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Hold, Refuse
from tests.functional.rawhttp import ask
from tests.functional.server import Cachew
from tests.functional.upstream import Upstream
from tests.http.wire import Response

URL = "https://git.example/org/repo"
INFO, POST = "info/refs?service=git-upload-pack", "git-upload-pack"
V2 = "Git-Protocol: version=2"
FETCH_TYPE = "Content-Type: application/x-git-upload-pack-request"
DELIM = b"0001"


def pkt(*lines: bytes) -> bytes:
    """Return the body of a command of protocol v2."""
    return b"".join(line if line == DELIM else b"%04x%b\n" % (len(line) + 5, line) for line in lines) + b"0000"


@pytest_twisted.ensureDeferred
async def test_a_mirror_that_lost_its_packs(
    upstream: Upstream, git: Git, start: Start, flush_logged_errors: Any
) -> None:
    """Clients of a mirror without its packs get everything all the same, and the mirror is made anew."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=20, tags=["v1"])
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.quiet()
    for path in mirror.directory.glob("objects/pack/*"):
        path.unlink()
    await git.run("clone", "-q", URL, "clone")
    await git.run("-C", "clone", "fsck", "--strict")
    assert (await git.run("-C", "clone", "rev-parse", "HEAD")).out == repository.commit("HEAD")
    await cachew.quiet()
    again = await cachew.mirrored("org/repo")
    assert again.objects.missing(repository.refs().values()) == []
    flush_logged_errors()


@pytest_twisted.ensureDeferred
async def test_a_mirror_with_a_damaged_pack(
    upstream: Upstream, git: Git, start: Start, flush_logged_errors: Any
) -> None:
    """A damaged pack is found out by the next repack; neither the mirror nor what was made of it is served again."""
    repositories.make_repository(upstream.path("org/repo"), commits=20, size=5000)
    cachew = await start()
    git.instead_of(*cachew.instead_of)
    mirror = await cachew.mirrored("org/repo")
    await cachew.quiet()
    (pack,) = mirror.directory.glob("objects/pack/*.pack")
    content = bytearray(pack.read_bytes())
    content[2000:3000] = bytes(1000)
    pack.chmod(0o600)
    pack.write_bytes(content)
    await git.run("clone", "-q", URL, "first", check=False)
    with contextlib.suppress(CachewError):
        await mirror.maintenance.repack()
    await git.run("clone", "-q", URL, "second")
    await git.run("-C", "second", "fsck", "--strict")
    again = await cachew.mirrored("org/repo")
    await git.run("clone", "-q", URL, "third")
    assert again.ready and cachew.served()["packcache"] >= 1
    flush_logged_errors()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_one_clients_refusal_is_never_anothers_pack(upstream: Upstream, start: Start, status: int) -> None:
    """A client that asks for the very pack that the upstream is about to refuse to another gets what is his own."""
    repository = repositories.make_repository(upstream.path("org/repo"), commits=3)
    alice, bob = basic("alice", "revoked"), basic("bob", "good")
    upstream.gate.protect("org/repo", alice, bob)
    cachew = await start()
    for who in (alice, bob):
        assert (await asked(cachew, "GET", INFO, who)).status == 200
    hold = Hold()
    upstream.misbehave(hold, kind="pack", times=1)
    upstream.misbehave(Refuse(status, (("WWW-Authenticate", "Basic realm=alice"),)), kind="pack", times=1)
    body = pkt(b"command=fetch", b"object-format=sha1", DELIM, f"want {repository.commit()}".encode(), b"done")
    first = Deferred.fromCoroutine(asked(cachew, "POST", POST, alice, body))
    await upstream.journal.reached(1, "pack")
    second = Deferred.fromCoroutine(asked(cachew, "POST", POST, bob, body))
    await asked(cachew, "GET", INFO, bob)
    hold.release()
    refused, served = await first, await second
    assert refused.status == status
    assert served.status == 200 and b"PACK" in served.body and "www-authenticate" not in served.headers


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("status", "told"), [(204, 502), (206, 502), (304, 502), (500, 503), (501, 503)])
async def test_an_upstream_in_trouble_is_told_of_as_such(
    upstream: Upstream, start: Start, status: int, told: int
) -> None:
    """A status that neither serves nor refuses a passed-on fetch is not the client's to see; the reason names it."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start()
    await cachew.mirrored("org/repo")
    upstream.misbehave(Refuse(status), kind="pack")
    body = pkt(b"command=fetch", b"object-format=sha1", DELIM, b"want " + b"c" * 40, b"done")
    answer = await ask(reactor, cachew.url, "POST", f"/git/git.example/org/repo/{POST}", V2, FETCH_TYPE, body=body)
    assert (answer.status, f"answered {status} to a fetch".encode() in answer.body) == (told, True)


@pytest_twisted.ensureDeferred
async def test_a_rate_limits_page_leaves_public_clients_what_is_mirrored(upstream: Upstream, start: Start) -> None:
    """A 403 in HTML is a host in trouble: everybody goes on being served of the mirror, marked stale."""
    repositories.make_repository(upstream.path("org/repo"))
    cachew = await start('[git]\nref-check-interval = "0s"\n')
    await cachew.mirrored("org/repo")
    assert (await ask(reactor, cachew.url, "GET", f"/git/git.example/org/repo/{INFO}")).status == 200
    await cachew.quiet()
    for status, headers in ((403, (("Content-Type", "text/html"),)), (407, ()), (418, ())):
        upstream.misbehave(Refuse(status, headers, b"<html>slow down"))
        answer = await ask(reactor, cachew.url, "GET", f"/git/git.example/org/repo/{INFO}")
        assert (answer.status, "warning" in answer.headers) == (200, True), status
        upstream.behave()


async def asked(cachew: Cachew, method: str, operation: str, authorization: str, body: bytes = b"") -> Response:
    """Ask for something of the repository with a credential."""
    headers = ("Git-Protocol: version=2", f"Authorization: {authorization}")
    path = f"/git/git.example/org/repo/{operation}"
    return await ask(reactor, cachew.url, method, path, *headers, *([FETCH_TYPE] if body else []), body=body)
