"""Redirects into the object store: who is sent there, with what, and what is counted."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from cachew.mirrors.instance import Instance
from cachew.snapshots.bundlelist import ListedBundle
from cachew.snapshots.store import COMMIT_HEADER
from cachew.snapshots.variants import NAMESPACE
from tests.fakes.instances import OneInstance
from tests.web.test_snapshots import BASE, NAME, NEW, OLD, FakeMirror, Server

BODY = b"archive"
STORE = "https://store.example/contents/x?signature=1&bytes="


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """A server with a store that has its snapshot, which is behind the mirror."""
    from twisted.internet import reactor

    (tmp_path / "scratch").mkdir()
    server = Server(reactor, tmp_path / "scratch")
    server.elsewhere = STORE
    server.mirror = FakeMirror(head_commit=NEW)
    await server.start()
    writer = await server.cache.create(NAMESPACE, f"snapshot:{NAME}", headers={COMMIT_HEADER: OLD}, etag="the-tag")
    await writer.write(BODY)
    await writer.commit()
    yield server
    await server.stop()


def offloaded(server: Server, what: str = "snapshot") -> tuple[float, float]:
    """Return how many bytes need not have passed through, and how many addresses were given."""
    counted = server.metrics.registry.get_sample_value
    names = ("cachew_redirected_bytes_total", "cachew_presigned_addresses_total")
    first, second = (counted(name, {"what": what}) for name in names)
    assert first is not None and second is not None
    return first, second


@pytest_twisted.ensureDeferred
async def test_the_address_comes_with_what_is_known(server: Server) -> None:
    """The redirect has the tag, the commit and the bundle's address, and nobody may keep it."""
    answer = await server.ask("/snapshot.tar.zst")
    assert (answer.status, answer["Location"], answer.body) == (307, f"{STORE}7", b"")
    assert (answer["ETag"], answer["X-Cachew-Snapshot-Commit"]) == ('"the-tag"', OLD)
    assert answer["X-Cachew-Bundle-Url"] == f"{BASE}/snapshot.bundle?base={OLD}"
    assert answer["Cache-Control"] == "private, no-store"
    assert (answer["Content-Range"], answer["Content-Type"], answer.length) == (None, None, 0)
    assert offloaded(server) == (7, 1)


@pytest.mark.parametrize(
    ("headers", "status", "count"),
    [
        ({"Range": "bytes=1-3"}, 307, 3),
        ({"Range": "bytes=1-3", "If_Match": '"the-tag"', "X_Cachew_Redirect": "5"}, 307, 5),
        ({"Authorization": "Bearer x", "X_Cachew_Redirect": "900"}, 307, 7),
        ({"X_Cachew_Redirect": "0"}, 307, 0),
        ({"If_Match": '"other"', "X_Cachew_Redirect": "5"}, 412, 0),
        ({"If_None_Match": '"the-tag"', "X_Cachew_Redirect": "5"}, 304, 0),
        ({"Range": "bytes=7-", "X_Cachew_Redirect": "5"}, 416, 0),
        ({"If_Match": '"the-tag"'}, 200, 0),
        ({"Range": "bytes=1-3", "If_Range": '"the-tag"'}, 206, 0),
        ({"If_None_Match": '"other"'}, 200, 0),
        ({"Authorization": "Basic eDp5"}, 200, 0),
        ({"Cookie": "a=b"}, 200, 0),
        ({"X_Cachew_Redirect": "no"}, 200, 0),
        ({"X_Cachew_Redirect": "9" * 99}, 200, 0),
        ({"X_Cachew_Redirect": "\u0663".encode().decode("latin-1")}, 200, 0),
    ],
)
@pytest_twisted.ensureDeferred
async def test_who_is_sent_there(server: Server, headers: dict[str, str], status: int, count: int) -> None:
    """Those who show nothing that would reach the store with them, and those who say that they follow."""
    answer = await server.ask("/snapshot.tar.zst", **headers)
    assert answer.status == status
    assert (answer["Location"] is not None) is (status == 307)
    assert offloaded(server) == (count, status == 307)


@pytest_twisted.ensureDeferred
async def test_head_is_answered_here(server: Server) -> None:
    """It costs nothing, and tells what GET would."""
    assert (await server.ask("/snapshot.tar.zst", "HEAD", X_Cachew_Redirect="5")).status == 200


@pytest_twisted.ensureDeferred
async def test_without_a_store_the_bytes_come_from_here(server: Server) -> None:
    """As when it has not got the object yet, or does not answer."""
    server.elsewhere = ""
    assert (await server.ask("/snapshot.tar.zst")).body == BODY


class Replaced(OneInstance):
    """Instances of which the first has ended."""

    ended = False

    def is_current(self, instance: Instance) -> bool:
        """Say so until it has."""
        return not self.ended


@pytest_twisted.ensureDeferred
async def test_a_repository_that_becomes_another_meanwhile(server: Server) -> None:
    """An address that comes after the instance has ended is given to nobody."""
    server.instances = ended = Replaced()
    server.presigning, waiting = Deferred(), list(server.waiting)
    server.store.bundles = (ListedBundle(1, "1-aa"),)
    await server.keep("the bundle", b"# v2 git bundle")
    asked = [Deferred.fromCoroutine(server.ask(path)) for path in ("/snapshot.tar.zst", "/bundle-list")]
    await gatherResults(waiting)
    ended.ended = True
    server.presigning.callback(None)
    snapshot, listed = [await answer for answer in asked]
    assert snapshot["Location"] is None and snapshot.status >= 400
    assert b"store.example" not in listed.body


@pytest_twisted.ensureDeferred
async def test_a_bundle_list_names_the_store(server: Server) -> None:
    """Git follows no redirects to bundles, so the list has the addresses themselves."""
    server.store.bundles = (ListedBundle(1, "1-aa"),)
    await server.keep("the bundle", b"# v2 git bundle")
    text = (await server.ask("/bundle-list")).body.decode()
    assert f"uri = {STORE}15\n" in text
    answer = await server.ask("/bundle-list?bundle=1-aa")
    assert (answer.status, answer["Location"]) == (307, f"{STORE}15")
    assert offloaded(server, "bundle") == (15, 1)
