"""The object API over real connections."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
import pytest_twisted
import treq
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.client import Agent, HTTPConnectionPool

from cachew.cache.interface import ObjectInfo
from cachew.cache.memory import MemoryCache
from cachew.http.site import make_site
from cachew.plumbing.clock import machine_clock
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.streams import PIECE
from cachew.plumbing.threads import Threads
from cachew.web.app import App
from cachew.web.objects import ObjectRoutes
from cachew.web.storedanswers import StoreRedirects
from tests.contracts.cache import LARGE, fetch, missing, sha256, store
from tests.fakes.caches import UnreliableCache, disk_cache
from tests.fakes.clock import FakeClock
from tests.http.wire import RawClient

KEY = sha256(b"k")
MOST = len(LARGE) + 1000
"""The most bytes of an object."""


class Api:
    """A server on loopback and a client of it."""

    def __init__(self, cache: Any, clock: FakeClock) -> None:
        self.cache, self.clock = UnreliableCache(cache), clock

    async def presigned(self, info: ObjectInfo) -> str | None:
        """Give the address of objects of one size."""
        return "https://store.example/x?signature=1" if info.size == 5000 else None

    async def start(self) -> None:
        """Listen."""
        from twisted.internet import reactor

        async def git(request: Any) -> bytes:
            return b""

        metrics = Metrics()
        redirects = StoreRedirects(presigned=self.presigned, metrics=metrics)
        routes = ObjectRoutes(cache=self.cache, redirects=redirects, limit=MOST)
        app = App(routes=[routes], git=git, metrics=metrics, clock=machine_clock(), version="0")
        self.site = make_site(app, reactor=reactor)
        self.port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(self.site)
        self.number = self.port.getHost().port
        self.pool = HTTPConnectionPool(reactor, persistent=False)
        self.agent = Agent(reactor, pool=self.pool)

    async def stop(self) -> None:
        """Stop listening."""
        await self.port.stopListening()
        await self.pool.closeCachedConnections()

    async def ask(self, method: str, path: str, **options: Any) -> tuple[int, dict[str, str], bytes]:
        """Make a request; the answer is its status, its headers (names in lower case) and its body."""
        url = f"http://127.0.0.1:{self.number}/api/v1/{path}"
        response = await treq.request(method, url, agent=self.agent, timeout=20, **options)
        body = await response.content()
        headers = {
            name.decode().lower(): b", ".join(values).decode("latin-1")
            for name, values in response.headers.getAllRawHeaders()
        }
        return response.code, headers, body


@pytest_twisted.async_yield_fixture(params=["memory", "disk"])
async def api(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Api]:
    """Give the API over either local cache."""
    from twisted.internet import reactor

    pool = ThreadPool(minthreads=0, maxthreads=4)
    pool.start()
    clock = FakeClock(now=1_700_000_000.0)
    cache: Any = MemoryCache(limit=10**8, max_ttl=3600, clock=clock)
    if request.param == "disk":
        threads = Threads(reactor=reactor, pool=pool)  # type: ignore[arg-type]
        cache = disk_cache(tmp_path / "cache", limit=10**8, max_ttl=3600, clock=clock, threads=threads)
    await cache.start()
    api = Api(cache, clock)
    await api.start()
    yield api
    await api.stop()
    await cache.stop()
    pool.stop()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("data", [b"", b"content", LARGE], ids=["empty", "small", "large"])
async def test_gives_back_what_was_posted(api: Api, data: bytes) -> None:
    """POST stores, GET gives back content, stored headers and the digest as tag, HEAD the same without content."""
    posted = await api.ask("POST", f"object/ns/{KEY}", data=data, headers={"Content-Type": "text/x", "X-Mine": "1"})
    assert posted[0] == 200
    status, headers, body = await api.ask("GET", f"object/ns/{KEY}")
    assert (status, body) == (200, data)
    expected = {
        "content-type": "text/x",
        "x-mine": "1",
        "etag": f'"{sha256(data)}"',
        "accept-ranges": "bytes",
        "last-modified": "Tue, 14 Nov 2023 22:13:20 GMT",
        "x-content-type-options": "nosniff",
    }
    assert headers.items() >= expected.items(), headers
    status, headers, body = await api.ask("HEAD", f"object/ns/{KEY}")
    assert (status, body) == (200, b"")
    assert headers.items() >= expected.items()
    for method in (b"HEAD", b"GET"):
        answer = await exchange(api, method + b" /api/v1/object/ns/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-length: %d\r\n" % len(data) in head.lower() + b"\r\n"
        assert body == (data if method == b"GET" else b"")


@pytest_twisted.ensureDeferred
async def test_a_chunked_upload_is_stored(api: Api) -> None:
    """The original's client sends bodies in chunks."""
    answer = await exchange(
        api,
        b"POST /api/v1/object/ns/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert await fetch(api.cache, "k") == b"abcdefg"


@pytest_twisted.ensureDeferred
async def test_an_upload_is_written_in_large_pieces(api: Api) -> None:
    """However small the pieces are in which a socket gives it."""
    assert (await api.ask("POST", f"object/ns/{KEY}", data=LARGE))[0] == 200
    assert api.cache.written == [PIECE] * (len(LARGE) // PIECE) + [len(LARGE) % PIECE]


class Collector(Protocol):
    """Collects what comes until the connection ends."""

    def __init__(self) -> None:
        self.answer, self.done = b"", Deferred[bytes]()

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self.answer += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Give what has come."""
        self.done.callback(self.answer)


async def exchange(api: Api, request: bytes) -> bytes:
    """Send bytes and return all that comes back until the connection ends."""
    protocol = await connect(api, Collector())
    protocol.transport.write(request)
    answer: bytes = await protocol.done
    return answer


async def connect(api: Api, protocol: Any) -> Any:
    """Open a bare connection."""
    from twisted.internet import reactor

    return await TCP4ClientEndpoint(reactor, "127.0.0.1", api.number).connect(Factory.forProtocol(lambda: protocol))


@pytest_twisted.ensureDeferred
async def test_an_upload_that_breaks_off_leaves_nothing(api: Api) -> None:
    """A client that goes away in the middle of its upload leaves the old object as it was."""
    await store(api.cache.cache, "k", b"old")
    protocol = await connect(api, Protocol())
    head = b"POST /api/v1/object/ns/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    protocol.transport.write(head + b"x" * 500_000)
    await api.cache.first_write
    protocol.transport.abortConnection()
    await api.cache.aborted
    assert await fetch(api.cache, "k") == b"old"


@pytest_twisted.ensureDeferred
async def test_nothing_there_is_404(api: Api) -> None:
    """What is not there is 404 for GET, HEAD and DELETE; invalidating it succeeds."""
    for method in ("GET", "HEAD", "DELETE"):
        assert (await api.ask(method, f"object/ns/{KEY}"))[0] == 404
    assert (await api.ask("POST", f"object/ns/{KEY}/invalidate"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_delete_and_invalidate_remove(api: Api) -> None:
    """DELETE and invalidate answer 200 and take the object away."""
    for method, path in (("DELETE", "object/ns/k"), ("POST", "object/ns/k/invalidate")):
        await store(api.cache, "k", b"data")
        assert (await api.ask(method, path))[0] == 200
        assert await missing(api.cache, "k")


@pytest_twisted.ensureDeferred
async def test_ranges_and_conditions(api: Api) -> None:
    """One range gives 206, a known tag 304, another's tag 412, a range beyond the end 416."""
    info = await store(api.cache, "k", LARGE, headers={"X-Mine": "1"})
    tag = f'"{info.etag}"'

    async def get(**headers: str) -> tuple[int, dict[str, str], bytes]:
        return await api.ask("GET", "object/ns/k", headers={k.replace("_", "-"): v for k, v in headers.items()})

    status, headers, body = await get(Range="bytes=1000-1999999", If_Range=tag)
    assert (status, body) == (206, LARGE[1000:2000000])
    assert (headers["content-range"], headers["x-mine"]) == (f"bytes 1000-1999999/{len(LARGE)}", "1")
    status, headers, body = await get(If_None_Match=tag)
    assert (status, body, headers["etag"]) == (304, b"", tag)
    status, headers, body = await get(If_Match='"other"')
    assert (status, headers["etag"], headers["content-type"]) == (412, tag, "text/plain; charset=utf-8")
    assert b"not in the state" in body and "x-mine" not in headers
    status, headers, body = await get(Range="bytes=9999999-")
    assert (status, headers["content-range"]) == (416, f"bytes */{len(LARGE)}")
    assert body == f"the range holds none of the {len(LARGE)} bytes that there are\n".encode()
    assert (await get(Range="bytes=0-9", If_Range='"other"'))[0] == 200
    status, headers, _ = await api.ask("HEAD", "object/ns/k", headers={"If-None-Match": tag})
    assert status == 304


@pytest_twisted.ensureDeferred
async def test_the_uploader_s_date_is_kept(api: Api) -> None:
    """Last-Modified is what the upload said, once, and conditions go by it."""
    date = "Sun, 15 Jan 2023 12:30:00 GMT"
    await api.ask("POST", "object/ns/k", data=b"data", headers={"Last-Modified": date})
    for method in ("GET", "HEAD"):
        assert (await api.ask(method, "object/ns/k"))[1]["last-modified"] == date
    assert (await api.ask("GET", "object/ns/k", headers={"If-Modified-Since": date}))[0] == 304
    assert (await api.ask("DELETE", "object/ns/k", headers={"If-Unmodified-Since": date}))[0] == 200


@pytest_twisted.ensureDeferred
async def test_changes_may_be_conditional(api: Api) -> None:
    """An object is replaced or deleted only in the state that the request asks for, and created only where none is."""

    async def change(method: str, **headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await api.ask(method, "object/ns/k", data=b"new", headers=named))[0]

    assert await change("POST", If_Match="*") == 412
    assert await change("DELETE", If_Match="*") == 404
    assert await change("POST", If_None_Match="*") == 200
    assert await change("POST", If_None_Match="*") == 412
    info = await store(api.cache, "k", b"data")
    for method in ("POST", "DELETE"):
        assert await change(method, If_Match='"other"') == 412
        assert await change(method, If_Unmodified_Since="Thu, 01 Jan 1970 00:00:00 GMT") == 412
    assert await fetch(api.cache, "k") == b"data"
    assert await change("POST", If_Match=f'"{info.etag}"') == 200
    assert await fetch(api.cache, "k") == b"new"
    assert await change("DELETE", If_None_Match='"other"') == 200
    assert await missing(api.cache, "k")


@pytest_twisted.ensureDeferred
async def test_of_concurrent_uploads_that_allow_no_other_one_is_stored(api: Api) -> None:
    """Each was let begin while there was nothing, and the one that ends later is refused; so with any tag."""
    for number, condition in enumerate(["If-None-Match: *"] * 10 + ['If-Match: "old"'] * 10):
        key = f"k{number}"
        if "old" in condition:
            await store(api.cache.cache, key, b"old", etag="old")
        clients = [await connect(api, RawClient()) for _ in range(2)]
        for client in clients:
            lines = f"POST /api/v1/object/ns/{key} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close"
            client.send(f"{lines}\r\nExpect: 100-continue\r\n{condition}\r\n\r\n".encode())
        assert [(await client.head()).status for client in clients] == [100, 100]
        for client, body in zip(clients, (b"first", b"other"), strict=True):
            client.send(body)
        statuses = [(await client.response()).status for client in clients]
        assert sorted(statuses) == [200, 412]
        assert await fetch(api.cache, key) == (b"first" if statuses[0] == 200 else b"other")
        for client in clients:
            await client.closed()


@pytest_twisted.ensureDeferred
async def test_a_fragment_is_refused(api: Api) -> None:
    """A part of an object must never stand for the whole (RFC 9110, section 14.5); the old object stays."""
    await store(api.cache.cache, "k", b"old")
    for value in ("bytes 0-3/8", "bytes */8", "lines 1-2/3", ""):
        status, _, body = await api.ask("POST", "object/ns/k", data=b"part", headers={"Content-Range": value})
        assert (status, b"Content-Range" in body) == (400, True)
    assert await fetch(api.cache, "k") == b"old"


@pytest_twisted.ensureDeferred
async def test_time_to_live_and_tag_are_taken(api: Api) -> None:
    """Time-To-Live and ETag of an upload are used, and are not stored as headers."""
    await api.ask("POST", "object/ns/k", data=b"x", headers={"Time-To-Live": "1m30s", "ETag": '"v1"'})
    _, headers, _ = await api.ask("GET", "object/ns/k")
    assert headers["etag"] == '"v1"'
    assert "time-to-live" not in headers
    api.clock.advance(91)
    assert (await api.ask("GET", "object/ns/k"))[0] == 404
    for bad in ({"Time-To-Live": "soon"}, {"ETag": "v1"}, {"ETag": 'W/"v1"'}):
        assert (await api.ask("POST", "object/ns/k", data=b"x", headers=bad))[0] == 400


@pytest_twisted.ensureDeferred
async def test_a_key_may_be_any_text(api: Api) -> None:
    """A key is hashed unless it is a digest; an escaped slash is part of it."""
    assert (await api.ask("POST", "object/ns/a%2Fb%20c", data=b"x"))[0] == 200
    assert (await api.ask("GET", f"object/ns/{sha256(b'a/b c')}"))[2] == b"x"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "key", ["%0A", "a%0Ab", "%00", "a%0D%0AX-Evil:%201", "%0Ainvalidate", "%C2%85", "%7F", "%2F%0A%2F"]
)
async def test_control_characters_in_a_key_are_part_of_it(api: Api, key: str) -> None:
    """They are hashed like any other; nothing of them is in an answer's head."""
    digest = sha256(unquote_to_bytes(key))
    assert (await api.ask("POST", f"object/ns/{key}", data=b"x"))[0] == 200
    for path in (key, digest):
        status, headers, body = await api.ask("GET", f"object/ns/{path}")
        assert (status, body, "x-evil" in headers) == (200, b"x", False)
    assert (await api.ask("HEAD", f"object/ns/{key}"))[0] == 200
    assert (await api.ask("GET", f"object/ns/{key}x"))[0] == 404
    assert (await api.ask("POST", f"object/ns/{key}/invalidate"))[0] == 200
    assert await missing(api.cache, digest)
    await store(api.cache, digest, b"x")
    assert (await api.ask("DELETE", f"object/ns/{key}"))[0] == 200


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "object/git/k", 403),
        ("POST", "object/git/k", 403),
        ("DELETE", "object/%67it/k", 403),
        ("POST", "object/git/k/invalidate", 403),
        ("GET", "object/-bad/k", 400),
        ("GET", "object/a%2Fb/k", 400),
        ("GET", "object/ns/", 400),
        ("GET", "object/ns/%ff", 400),
        ("POST", "object/ns%0A/k", 400),
        ("POST", "object/ns%00/k", 400),
        ("GET", "object/%0A/k", 400),
        ("POST", "object/ns/k/invalidate%0A", 404),
        ("GET", "object%0A/ns/k", 400),
        ("GET", "stats%0A", 400),
        ("GET", "object/ns", 404),
        ("GET", "object/ns/k/more", 404),
        ("PUT", "object/ns/k", 405),
        ("GET", "object/ns/k/invalidate", 405),
        ("POST", "stats", 405),
        ("DELETE", "namespaces", 405),
    ],
)
async def test_refusals(api: Api, method: str, path: str, status: int) -> None:
    """cachew's own namespaces, malformed names, other paths and other methods are refused."""
    assert (await api.ask(method, path))[0] == status


@pytest_twisted.ensureDeferred
async def test_stats_and_namespaces(api: Api) -> None:
    """Counts and names are JSON; cachew's own namespaces are not among them."""
    await store(api.cache, "a", b"12345", namespace="zeta")
    await store(api.cache, "a", b"1", namespace="alpha")
    await store(api.cache, "a", b"12", namespace="git")
    status, headers, body = await api.ask("GET", "stats")
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body) == {"objects": 3, "size": 8, "capacity": 10**8}
    assert json.loads((await api.ask("GET", "namespaces"))[2]) == ["alpha", "zeta"]


@pytest_twisted.ensureDeferred
async def test_failing_storage_is_told(api: Api) -> None:
    """While the storage fails, requests are answered 503 with a time to come again."""
    api.cache.down = True
    for method, path in (("GET", "object/ns/k"), ("POST", "object/ns/k"), ("GET", "stats")):
        status, headers, _ = await api.ask(method, path)
        assert status == 503
        assert "retry-after" in headers


@pytest_twisted.ensureDeferred
async def test_a_download_whose_storage_breaks_is_broken_off(api: Api) -> None:
    """A client never takes half an object for a whole one."""
    await store(api.cache, "k", LARGE)
    api.cache.cut = 1_000_000
    answer = await exchange(api, b"GET /api/v1/object/ns/k HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert len(body) <= 1_000_000
    assert LARGE.startswith(body)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("chunked", [False, True])
async def test_an_object_over_the_limit_is_refused(api: Api, chunked: bool) -> None:
    """By what it announces before a byte is taken, and by what has come otherwise; nothing is left of it."""
    framing, body = b"Content-Length: %d" % (MOST + 1), b""
    if chunked:
        framing = b"Transfer-Encoding: chunked"
        body = b"".join(b"3e8\r\n%s\r\n" % (b"x" * 1000) for _ in range(MOST // 1000 + 1)) + b"0\r\n\r\n"
    head = b"POST /api/v1/object/ns/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    answer = await exchange(api, head + framing + b"\r\n\r\n" + body)
    assert answer.startswith(b"HTTP/1.1 413 "), answer[:200]
    assert await missing(api.cache.cache, "k")


@pytest_twisted.ensureDeferred
async def test_small_answers_announce_their_length(api: Api) -> None:
    """Refusals and answers without content come in one piece, never in chunks; to HEAD without a body."""
    stored = await store(api.cache, "k", b"data")
    wanted = [
        (b"GET", b"object/ns/k", b'If-Match: "other"', 412),
        (b"HEAD", b"object/ns/k", b'If-Match: "other"', 412),
        (b"GET", b"object/ns/k", b"Range: bytes=9-", 416),
        (b"GET", b"object/ns/none", b"X: y", 404),
        (b"PUT", b"object/ns/k", b"X: y", 405),
        (b"GET", b"object/ns/k", b'If-None-Match: "%s"' % stored.etag.encode(), 304),
        (b"POST", b"object/ns/k/invalidate", b"Content-Length: 0", 200),
        (b"GET", b"namespaces", b"X: y", 200),
    ]
    for method, path, line, status in wanted:
        head = b"%s /api/v1/%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s\r\n\r\n" % (method, path, line)
        head, _, body = (await exchange(api, head)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status) and b"Transfer-Encoding" not in head, head
        if method == b"HEAD":
            assert body == b""
        elif status != 304:
            assert b"Content-Length: %d\r\n" % len(body) in head + b"\r\n", head


@pytest_twisted.ensureDeferred
async def test_who_follows_is_sent_to_the_store(api: Api) -> None:
    """A large object comes from its store to clients that say so; others, whose token it must not see, get it here."""
    await store(api.cache.cache, "k", b"large" * 1000)
    follows = {"X-Cachew-Redirect": "99999999"}
    status, headers, body = await api.ask("GET", f"object/ns/{KEY}", headers=follows, allow_redirects=False)
    assert (status, headers["location"], body) == (307, "https://store.example/x?signature=1", b"")
    for shown in ({"Authorization": "Bearer x"}, {"X-Cachew-Redirect": "no"}, {"X-Cachew-Redirect": "-1"}):
        status, _, body = await api.ask("GET", f"object/ns/{KEY}", headers=shown, allow_redirects=False)
        assert (status, len(body)) == (200, 5000)
    await store(api.cache.cache, "k", b"small")
    assert (await api.ask("GET", f"object/ns/{KEY}", headers=follows, allow_redirects=False))[0] == 200
