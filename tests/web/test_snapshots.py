"""The routes of snapshots and bundles, over a real connection."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
import treq
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.client import Agent
from twisted.web.http_headers import Headers

from cachew.cache.interface import ObjectInfo
from cachew.cache.memory import MemoryCache
from cachew.http.site import make_site
from cachew.mirrors.identity import Identity, parse_path
from cachew.mirrors.instance import Instance
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.background import Background
from cachew.plumbing.clock import machine_clock
from cachew.plumbing.errors import MirrorGone, NotFound, ProcessFailed
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.snapshots.bundlelist import ListedBundle
from cachew.snapshots.order import Begin
from cachew.snapshots.productions import Productions
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.store import COMMIT_HEADER, Snapshots
from cachew.snapshots.storedproduction import Means
from cachew.snapshots.variants import LFS, NAMESPACE, SNAPSHOT, Variant
from cachew.web.access.guard import TrustedNetworkGuard
from cachew.web.app import App
from cachew.web.bundleroutes import BundleRoutes
from cachew.web.snapshots import Demand, InstanceAccess, SnapshotRoutes
from cachew.web.storedanswers import StoreRedirects
from tests.fakes.caches import UnreliableCache
from tests.fakes.instances import OneInstance, only

IDENTITY = Identity("git.example", "org/repo")
NAME = only(IDENTITY).name
OLD, NEW = "a" * 40, "b" * 40
BASE = "/git/git.example/org/repo"


async def at_once(function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """A thread that needs no time."""
    return function(*args, **more)


@dataclass
class FakeMirror:
    """A mirror of which only the refs matter."""

    head_commit: str | None = OLD
    head_ref: str | None = None
    instance: Instance = field(default_factory=lambda: only(IDENTITY))
    by_name: dict[str, str] = field(default_factory=dict)
    ready: bool = True

    @property
    def refs(self) -> "FakeMirror":
        """It is all its parts by itself."""
        return self

    verification = place = life = refs

    async def prove(self) -> Callable[[], None]:
        """Be sound."""
        return lambda: None

    def relinking(self) -> AbstractContextManager[None]:
        """Have no links."""
        return nullcontext()


class FakeBundles:
    """Bundles that say what they are asked."""

    def __init__(self, cache: UnreliableCache) -> None:
        self.cache = cache
        self.prepared: list[tuple[str, str]] = []
        self.found: list[tuple[str, str]] = []

    async def prepare(self, mirror: Mirror, base: str, ref: str = "") -> None:
        """Note it."""
        self.prepared.append((base, ref))

    async def find(self, instance: Instance, base: str, ref: str = "") -> Any:
        """Know one base and the tip."""
        self.found.append((base, ref))
        if base == NEW:
            return None
        if base != OLD:
            raise NotFound("no such commit")
        return await self.cache.open(NAMESPACE, "the bundle")


class FakeStore:
    """A list of one bundle."""

    def __init__(self, cache: UnreliableCache) -> None:
        self.cache = cache
        self.bundles: tuple[ListedBundle, ...] = ()

    async def listed(self, instance: Instance) -> tuple[ListedBundle, ...]:
        """Return the list."""
        return self.bundles

    async def open(self, instance: Instance, name: str) -> Any:
        """Open a bundle."""
        return await self.cache.open(NAMESPACE, "the bundle") if name == "1-aa" else None

    async def stat(self, instance: Instance, name: str) -> ObjectInfo | None:
        """Look at a bundle."""
        return await self.cache.stat(NAMESPACE, "the bundle") if name == "1-aa" else None


class Server:
    """The routes on a loopback port, with everything behind them in the test's hand."""

    def __init__(self, reactor: Any, scratch: Path) -> None:
        self.reactor = reactor
        self.cache = UnreliableCache(MemoryCache(limit=1_000_000, clock=machine_clock()))
        self.mirror: FakeMirror | None = FakeMirror()
        self.bundles, self.store = FakeBundles(self.cache), FakeStore(self.cache)
        self.background = Background()
        self.calls: list[tuple[str, str]] = []
        self.gate: Deferred[None] = Deferred()
        self.asked: Deferred[None] = Deferred()
        self.mirror_gate: Deferred[None] | None = None
        self.productions = Productions(
            means=Means(
                cache=self.cache,
                scratch=Scratch(path=scratch, threads=at_once),
                slots=Slots(limit=2),
                reactor=reactor,
                clock=machine_clock(),
            )
        )
        self.snapshots = Snapshots(
            cache=self.cache,
            productions=self.productions,
            makers={SNAPSHOT: self.make},
            ready_mirror=self.ready,
        )
        self.https = False
        self.metrics, self.elsewhere = Metrics(), ""
        self.presigning: Deferred[None] | None = None
        self.waiting: list[Deferred[None]] = [Deferred(), Deferred()]
        self.instances = OneInstance()
        shared: dict[str, Any] = {
            "bundles": self.bundles,
            "access": InstanceAccess(
                find_mirror=lambda identity: self.mirror,  # type: ignore[arg-type, return-value]
                ready_mirror=self.ready,
                patience=1.0,
            ),
            "demand": Demand(
                requested=self.requested,
                warm=lambda identity, name: self.calls.append(("warm", name)),
                check_staleness=lambda identity: self.calls.append(("stale?", identity.name)),
            ),
            "redirects": StoreRedirects(presigned=self.presigned, metrics=self.metrics),
        }
        self.routes = SnapshotRoutes(snapshots=self.snapshots, cache=self.cache, background=self.background, **shared)
        self.bundle_routes = BundleRoutes(
            bundle_store=self.store,  # type: ignore[arg-type]
            is_https=lambda request: self.https,
            **shared,
        )
        self.port: Any = None
        self.agent = Agent(reactor)

    async def presigned(self, info: ObjectInfo) -> str | None:
        """Give the address in a store, when there is to be one."""
        if self.presigning is not None:
            self.waiting.pop().callback(None)
            await self.presigning
        return f"{self.elsewhere}{info.size}" if self.elsewhere else None

    def requested(self, identity: Identity, name: str) -> None:
        """Note that a client asks."""
        self.calls.append(("requested", name))
        if not self.asked.called:
            self.asked.callback(None)

    async def ready(self, identity: Identity) -> Any:
        """Give the mirror."""
        if self.mirror_gate is not None:
            await self.mirror_gate
        return self.mirror

    async def make(self, mirror: Mirror, variant: Variant, directory: Path, begin: Begin) -> None:
        """Make a snapshot of ten bytes in two halves."""
        if variant.ref == "refs/heads/none":
            raise NotFound("no commit on refs/heads/none")
        sink = await begin({"Content-Type": "application/zstd", COMMIT_HEADER: OLD})
        await sink(b"first")
        await self.gate
        await sink(b"later")

    async def keep(self, key: str, data: bytes, **headers: str) -> str:
        """Store an object and return its entity tag."""
        writer = await self.cache.create(
            NAMESPACE, key, headers={name.replace("_", "-"): value for name, value in headers.items()}
        )
        await writer.write(data)
        return (await writer.commit()).etag

    async def start(self) -> None:
        """Listen."""

        async def git(request: Any) -> None:
            path = parse_path(request.raw_path)
            right = await TrustedNetworkGuard(instances=cast(Any, self.instances)).admit(request, path.identity)
            of_bundles = path.operation.startswith(("bundle", "snapshot.bundle"))
            await (self.bundle_routes if of_bundles else self.routes).handle(request, right, path.operation)

        app = App(routes=(), git=git, metrics=self.metrics, clock=machine_clock(), version="1")
        site = make_site(app, reactor=self.reactor)
        self.port = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(site)
        self.site = site

    async def stop(self) -> None:
        """End everything."""
        await self.port.stopListening()
        self.site.abort_connections()
        await self.background.stop()
        await self.productions.stop()

    @property
    def address(self) -> str:
        """Scheme, host and port."""
        return f"http://127.0.0.1:{self.port.getHost().port}"

    async def ask(self, path: str, method: str = "GET", **headers: str) -> "Answer":
        """Ask and read the whole answer."""
        response = await self.begin(path, method, **headers)
        return Answer(response, await response.content())

    async def begin(self, path: str, method: str = "GET", **headers: str) -> Any:
        """Ask and return when the head of the answer is there."""
        fields = Headers({"Connection": ["close"]})
        for name, value in headers.items():
            fields.setRawHeaders(name.replace("_", "-"), [value])
        client = treq.client.HTTPClient(self.agent)
        return await client.request(
            method, self.address + BASE + path, headers=fields, unbuffered=True, allow_redirects=False
        )


def head_of(port: int, path: str) -> Message:
    """Return the headers of a HEAD request; twisted's own client hides the length."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("HEAD", path)
        return connection.getresponse().headers
    finally:
        connection.close()


class Answer:
    """What a server said."""

    def __init__(self, response: Any, body: bytes) -> None:
        self.status, self.body, self._headers = response.code, body, response.headers
        self.length = response.length

    def __getitem__(self, name: str) -> str | None:
        values = self._headers.getRawHeaders(name)
        return None if values is None else ", ".join(values)


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Return a listening server."""
    from twisted.internet import reactor

    (tmp_path / "scratch").mkdir()
    server = Server(reactor, tmp_path / "scratch")
    await server.start()
    yield server
    await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_cached_snapshot_is_sent_whole(server: Server) -> None:
    """The answer has the stored bytes, strong validators, its commit and its length."""
    etag = await server.keep(f"snapshot:{NAME}", b"archive", X_Cachew_Snapshot_Commit=OLD)
    answer = await server.ask("/snapshot.tar.zst")
    assert (answer.status, answer.body) == (200, b"archive")
    assert answer["ETag"] == f'"{etag}"'
    assert answer["Content-Type"] == "application/zstd"
    assert answer.length == 7
    assert answer["Accept-Ranges"] == "bytes"
    assert answer["Last-Modified"] is not None
    assert answer["X-Cachew-Snapshot-Commit"] == OLD
    assert answer["X-Cachew-Bundle-Url"] is None


@pytest_twisted.ensureDeferred
async def test_a_cached_snapshot_waits_for_no_mirror(server: Server) -> None:
    """With the mirror absent it is sent all the same; whether it is stale is found out on the side."""
    await server.keep(f"snapshot:{NAME}", b"archive")
    server.mirror, server.mirror_gate = None, Deferred()
    assert (await server.ask("/snapshot.tar.zst")).body == b"archive"
    assert server.calls == [("requested", "snapshot"), ("stale?", "git.example/org/repo")]


REFUSED = b"what is here is not in the state that the request asks for\n"


@pytest.mark.parametrize(
    ("headers", "status", "body"),
    [
        ({"Range": "bytes=1-3"}, 206, b"rch"),
        ({"Range": "bytes=-2"}, 206, b"ve"),
        ({"Range": "bytes=0-1,3-4"}, 200, b"archive"),
        ({"Range": "bytes=7-"}, 416, b"the range holds none of the 7 bytes that there are\n"),
        ({"Range": "bytes=-0"}, 416, b"the range holds none of the 7 bytes that there are\n"),
        ({"If_None_Match": '"the-tag"'}, 304, b""),
        ({"If_Match": '"other"'}, 412, REFUSED),
        ({"Range": "bytes=1-3", "If_Range": '"other"'}, 200, b"archive"),
        ({"Range": "bytes=1-3", "If_Match": '"the-tag"'}, 206, b"rch"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_ranges_and_conditions_apply(server: Server, headers: dict[str, str], status: int, body: bytes) -> None:
    """Parts are sent to those who have the right whole, with the same commit and bundle headers."""
    writer = await server.cache.create(NAMESPACE, f"snapshot:{NAME}", headers={COMMIT_HEADER: OLD}, etag="the-tag")
    await writer.write(b"archive")
    await writer.commit()
    server.mirror = FakeMirror(head_commit=NEW)
    answer = await server.ask("/snapshot.tar.zst", **headers)
    assert (answer.status, answer.body) == (status, body)
    assert answer["X-Cachew-Snapshot-Commit"] == OLD
    assert answer["X-Cachew-Bundle-Url"] == f"{BASE}/snapshot.bundle?base={OLD}"
    if status == 416:
        assert answer["Content-Range"] == "bytes */7"
    assert answer.length == (0 if status == 304 else len(body))


@pytest_twisted.ensureDeferred
async def test_a_snapshot_that_is_behind_names_its_bundle(server: Server) -> None:
    """The bundle to the mirror's tip is named and begun; each branch has its own."""
    await server.keep(f"snapshot:{NAME} ref=refs/heads/x", b"archive", X_Cachew_Snapshot_Commit=OLD)
    server.mirror = FakeMirror(by_name={"refs/heads/x": NEW})
    answer = await server.ask("/snapshot.tar.zst?ref=refs/heads/x")
    assert answer["X-Cachew-Bundle-Url"] == f"{BASE}/snapshot.bundle?base={OLD}&ref=refs/heads/x"
    assert server.bundles.prepared == [(OLD, "refs/heads/x")]


@pytest_twisted.ensureDeferred
async def test_head_only_looks(server: Server) -> None:
    """HEAD says what GET would, or 404, and starts nothing whatever it finds."""
    missing = await server.ask("/snapshot.tar.zst", "HEAD")
    await server.keep(f"snapshot:{NAME}", b"archive", X_Cachew_Snapshot_Commit=OLD)
    server.mirror = FakeMirror(head_commit=NEW)
    found = await server.ask("/snapshot.tar.zst", "HEAD", Range="bytes=0-1")
    assert (missing.status, found.status, found.body) == (404, 200, b"")
    head = await deferToThread(head_of, server.port.getHost().port, f"{BASE}/snapshot.tar.zst")
    assert head["Content-Length"] == "7"
    assert found["X-Cachew-Bundle-Url"] == f"{BASE}/snapshot.bundle?base={OLD}"
    assert (await server.ask("/lfs-snapshot.tar.zst", "HEAD")).status == 404
    assert (await server.ask("/bundle-list", "HEAD")).status == 404
    assert server.calls == []
    assert server.bundles.prepared == []
    assert server.productions.running(f"snapshot:{NAME}") is None


@pytest_twisted.ensureDeferred
async def test_a_missing_snapshot_is_streamed_while_it_is_made(server: Server) -> None:
    """The first bytes leave before the last are made, to all who wait, and the next client gets the stored object."""
    one, other = await server.begin("/snapshot.tar.zst"), await server.begin("/snapshot.tar.zst")
    assert one.headers.getRawHeaders("X-Cachew-Snapshot-Commit") == [OLD]
    assert one.headers.getRawHeaders("ETag") is None
    server.gate.callback(None)
    assert await one.content() == await other.content() == b"firstlater"
    stored = await server.ask("/snapshot.tar.zst")
    assert (stored.body, stored.length) == (b"firstlater", 10)


@pytest_twisted.ensureDeferred
async def test_whoever_joins_what_the_schedule_makes_outlives_its_mirror(server: Server) -> None:
    """A mirror is evicted before the schedule's archive of it is begun; the client that joined gets one of his own."""

    async def present(identity: Identity) -> Any:
        await server.asked
        await deferLater(server.reactor, 0)
        raise MirrorGone(f"{identity.name} is not mirrored any more")

    scheduled = server.snapshots.produce(only(IDENTITY), Variant(), find=present)
    server.gate.callback(None)
    answer = await server.ask("/snapshot.tar.zst")
    assert (answer.status, answer.body) == (200, b"firstlater")
    with pytest.raises(MirrorGone):
        await scheduled.ended()


@pytest.mark.parametrize(
    "failure",
    [
        NotFound("no commit on HEAD: nothing to archive"),
        ProcessFailed("git for-each-ref", 128, "fatal: not a git repository"),
        FileNotFoundError("packed-refs"),
    ],
    ids=["nothing", "git", "file"],
)
@pytest_twisted.ensureDeferred
async def test_a_mirror_that_goes_while_its_archive_is_prepared_is_made_again(
    server: Server, failure: Exception
) -> None:
    """Whatever git says about a directory that is gone, the client gets an archive of the mirror's successor."""
    server.gate.callback(None)
    gone = server.mirror
    assert gone is not None

    async def vanish() -> Callable[[], None]:
        gone.ready, server.mirror = False, FakeMirror()
        raise failure

    gone.prove = vanish  # type: ignore[method-assign]
    answer = await server.ask("/snapshot.tar.zst")
    assert (answer.status, answer.body) == (200, b"firstlater")


@pytest_twisted.ensureDeferred
async def test_a_snapshot_that_fails_midway_never_looks_complete(server: Server) -> None:
    """The connection is broken off."""
    response = await server.begin("/snapshot.tar.zst")
    server.gate.errback(NotFound("gone"))
    with pytest.raises(Exception, match=r"Potential|Connection|failed|lost"):
        await response.content()


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_made_is_told_with_its_reason(server: Server) -> None:
    """A failure before the first byte is an error answer, not an empty archive."""
    answer = await server.ask("/snapshot.tar.zst?ref=refs/heads/none")
    assert (answer.status, answer.body) == (404, b"no commit on refs/heads/none\n")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/snapshot.tar.zst?ref=main", 400),
        ("/snapshot.tar.zst?filter=tree:0", 400),
        ("/snapshot.tar.zst?ref=refs/heads/a&ref=refs/heads/b", 400),
        ("/snapshot.tar.zst?filter=blob:none&filter=", 400),
        (f"/snapshot.bundle?base={NEW}&ref=refs/heads/%ff", 204),
        ("/snapshot.bundle?base=%ff&ref=refs/heads/%ff", 400),
        ("/bundle-list?bundle=%ff", 400),
        (f"/snapshot.bundle?base={NEW}&other=%ff", 204),
        (f"/snapshot.bundle?base={NEW}&other=1;base={OLD}", 204),
        ("/lfs-snapshot.tar.zst?ref=refs/heads/x", 404),
        ("/lfs-snapshot.tar.zst?ref=x", 400),
        ("/lfs-snapshot.tar.zst?filter=blob:none", 400),
        ("/lfs-snapshot.tar.zst?ref=&other=1", 404),
        (f"/snapshot.bundle?base={OLD}&base={NEW}", 400),
        ("/bundle-list?bundle=1-aa&bundle=2-bb", 400),
        (f"/snapshot.bundle?base={NEW}&base={NEW}&other=1&other=2", 204),
        ("/snapshot.bundle", 400),
        ("/snapshot.bundle?base=HEAD", 400),
        (f"/snapshot.bundle?base={OLD}&ref=x", 400),
        (f"/snapshot.bundle?base={'c' * 40}", 404),
        (f"/snapshot.bundle?base={NEW}", 204),
        ("/bundle-list?bundle=2-bb", 404),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refusals(server: Server, path: str, status: int) -> None:
    """What is malformed is 400, what is unknown 404, what is up to date 204."""
    assert (await server.ask(path)).status == status


@pytest_twisted.ensureDeferred
async def test_a_bundle_is_sent(server: Server) -> None:
    """With its type, its length, and in parts if asked."""
    await server.keep("the bundle", b"# v2 git bundle")
    answer = await server.ask(f"/snapshot.bundle?base={OLD.upper()}", Range="bytes=0-3")
    assert (answer.status, answer.body) == (206, b"# v2")
    assert answer["Content-Type"] == "application/x-git-bundle"
    assert server.bundles.found == [(OLD, "")]


@pytest_twisted.ensureDeferred
async def test_a_missing_lfs_snapshot_is_404_at_once(server: Server) -> None:
    """It is begun in the background; when it is there it is sent."""
    assert (await server.ask("/lfs-snapshot.tar.zst")).status == 404
    assert server.calls == [("requested", LFS), ("warm", LFS)]
    await server.keep(f"lfs-snapshot:{NAME}", b"objects")
    assert (await server.ask("/lfs-snapshot.tar.zst")).body == b"objects"


@pytest_twisted.ensureDeferred
async def test_an_lfs_snapshot_of_a_branch_is_one_of_its_own(server: Server) -> None:
    """It is made of that branch, and sent when it is there; HEAD's is another."""
    path, name = "/lfs-snapshot.tar.zst?ref=refs/heads/x", "lfs-snapshot ref=refs/heads/x"
    assert (await server.ask(path)).status == 404
    assert server.calls == [("requested", LFS), ("warm", name)]
    await server.keep(f"lfs-snapshot:{NAME} ref=refs/heads/x", b"the branch's objects")
    assert (await server.ask(path)).body == b"the branch's objects"
    assert (await server.ask("/lfs-snapshot.tar.zst")).status == 404


@pytest_twisted.ensureDeferred
async def test_a_bundle_list_names_addresses_that_work(server: Server) -> None:
    """Each address is on the server as the client sees it, and leads to the bundle."""
    assert (await server.ask("/bundle-list")).status == 404
    assert server.calls == [("requested", "bundles"), ("warm", "bundles")]
    server.store.bundles = (ListedBundle(1, "1-aa"),)
    await server.keep("the bundle", b"# v2 git bundle")
    text = (await server.ask("/bundle-list")).body.decode()
    address = text.split("uri = ")[1].split("\n")[0]
    assert address == f"{server.address}{BASE}/bundle-list?bundle=1-aa"
    assert (await server.ask(address.removeprefix(server.address + BASE))).body == b"# v2 git bundle"


@pytest_twisted.ensureDeferred
async def test_behind_a_tls_proxy_addresses_are_https(server: Server) -> None:
    """Addresses have the scheme that the client used; a host that is none leaves them relative."""
    server.store.bundles = (ListedBundle(1, "1-aa"),)
    server.https = True
    text = (await server.ask("/bundle-list")).body.decode()
    assert f"uri = {server.address.replace('http', 'https')}{BASE}/" in text


@pytest_twisted.ensureDeferred
async def test_no_storage_is_no_failure(server: Server) -> None:
    """While every cache tier fails a snapshot is made for whoever asks, and not kept."""
    server.cache.down = True
    for _ in range(2):
        server.gate = Deferred()
        answer = await server.begin("/snapshot.tar.zst")
        assert answer.code == 200
        server.gate.callback(None)
        assert await answer.content() == b"firstlater"
    server.cache.down = False
    assert await server.cache.stat(NAMESPACE, f"snapshot:{NAME}") is None
