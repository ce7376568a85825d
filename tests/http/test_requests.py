"""Requests reach their handler when the head is in, bodies stream, and no connection is left in a wrong state."""

from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import TCP4ServerEndpoint

from cachew.config.load import load
from cachew.http.limits import Limits
from cachew.http.requests import Fields, StreamingRequest, is_bound, parse_query, text_of
from cachew.http.site import make_site
from cachew.plumbing.errors import BadRequest, BodyTimedOut, ClientGone, TooLarge
from cachew.plumbing.streams import read_all
from cachew.server.webparts import limits_of
from tests.fakes.clock import FakeClock
from tests.http.wire import RawClient, Server, Signal, patient, serving

POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"
GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
MIB = 1024 * 1024


def post(length: int, *headers: bytes) -> bytes:
    """Return the head of an upload."""
    return POST + b"".join(header + b"\r\n" for header in headers) + b"Content-Length: %d\r\n\r\n" % length


def answer(request: StreamingRequest, body: bytes, status: int = 200) -> None:
    """Write a whole answer."""
    request.setResponseCode(status)
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)


async def echo(request: StreamingRequest) -> None:
    """Answer with the body."""
    answer(request, await read_all(request.body, 10 * MIB))


async def refuse(request: StreamingRequest) -> None:
    """Answer without looking at the body."""
    answer(request, b"no", 401)


@pytest_twisted.ensureDeferred
async def test_what_handlers_see() -> None:
    """A request tells its target as sent, its headers and where it came from."""

    async def tell(request: StreamingRequest) -> None:
        seen = (request.raw_path, request.raw_query, request.args, request.body_length, request.fields["x-y"])
        answer(request, repr((*seen, request.remote_address, request.postpath)).encode())

    async with serving(tell) as server:
        client = await server.connect()
        client.send(b"GET /a%2Fb/%41?q=%20 HTTP/1.1\r\nHost: h\r\nX-Y: 1\r\nx-y: 2\r\n\r\n")
        expected = (b"/a%2Fb/%41", b"q=%20", {b"q": [b" "]}, 0, "1, 2", "127.0.0.1", [b"a/b", b"A"])
        response = await client.response()
        assert response.body == repr(expected).encode()
        assert "server" not in response.headers
        assert response.headers["keep-alive"] == "timeout=75"


@pytest.mark.parametrize(
    ("raw", "fields"),
    [
        (b"", {}),
        (b"a=1;ref=x", {b"a": [b"1;ref=x"]}),
        (b"a=1&b=2&a=3", {b"a": [b"1", b"3"], b"b": [b"2"]}),
        (b"a+b=c+d%2B%26%3D&&e", {b"a b": [b"c d+&="], b"e": [b""]}),
        (b"a=b=c&=x&%ff=%FF", {b"a": [b"b=c"], b"": [b"x"], b"\xff": [b"\xff"]}),
    ],
)
def test_queries(raw: bytes, fields: dict[bytes, list[bytes]]) -> None:
    """A query is read as browsers and proxies read it: a semicolon separates nothing."""
    assert parse_query(raw) == fields


@pytest_twisted.ensureDeferred
async def test_handler_runs_before_the_body() -> None:
    """The handler has the head, and pieces of the body, before the body's end is sent."""
    pieces: list[bytes] = []

    async def piecewise(request: StreamingRequest) -> None:
        request.write(b"begun")
        while piece := await request.body.read(100):
            pieces.append(piece)
            request.write(b"got " + piece)

    async with serving(piecewise) as server:
        client = await server.connect()
        client.send(CHUNKED)
        await client.until(lambda: b"begun" in client.received)
        for piece in (b"one", b"two"):
            client.send(b"3\r\n%b\r\n" % piece)
            await client.until(lambda piece=piece: b"got " + piece in client.received)  # type: ignore[misc]
        client.send(b"0\r\n\r\n")
        await client.until(lambda: client.received.endswith(b"0\r\n\r\n"))
        assert pieces == [b"one", b"two"]


@pytest_twisted.ensureDeferred
async def test_pipelined_requests() -> None:
    """Requests sent at once, with bodies of each kind, are answered in order; a great many are no recursion."""
    async with serving(echo) as server:
        client = await server.connect()
        client.send(post(3), b"one", CHUNKED, b"3\r\ntwo\r\n0\r\n\r\n", GET, post(5), b"three")
        assert [(await client.response()).body for _ in range(4)] == [b"one", b"two", b"", b"three"]
        client.send(GET * 2000)
        for _ in range(2000):
            assert (await client.response()).status == 200
        assert server.site.connections == 1


@pytest_twisted.ensureDeferred
async def test_requests_sent_ahead_wait() -> None:
    """While one request is answered a later one waits, and beyond a bound it waits in the client's socket."""
    begun, go = Signal(), Signal()

    async def slow(request: StreamingRequest) -> None:
        begun.fire()
        await go.wait()
        await echo(request)

    async with serving(slow, limits=Limits(pipelined=1000)) as server:
        client = await server.connect()
        client.send(GET, post(8 * MIB), b"x" * (8 * MIB))
        await begun.wait()
        (channel,) = server.site._counted
        await _round_trip(server)
        assert 0 < len(channel.requests.pending) < 1000 + 2**17
        go.fire()
        assert (await client.response()).body == b""
        assert len((await client.response()).body) == 8 * MIB
        assert len(channel.requests.pending) == 0


@pytest_twisted.ensureDeferred
async def test_continue_is_sent_on_first_read() -> None:
    """A client that waits for it is told to go on when the handler first reads, and only then."""
    go = Signal()

    async def later(request: StreamingRequest) -> None:
        await go.wait()
        await echo(request)

    async with serving(later) as server:
        client = await server.connect()
        client.send(post(3, b"Expect: 100-continue"))
        await _round_trip(server)
        assert not client.received
        go.fire()
        assert (await client.response()).status == 100
        client.send(b"abc", GET)
        assert (await client.response()).body == b"abc"
        assert (await client.response()).status == 200


async def _round_trip(server: Server) -> None:
    """Let the server work through what other clients have sent it."""
    client = await server.connect()
    client.send(b"nonsense\r\n\r\n")
    assert (await client.response()).status == 400
    client.transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_no_continue_without_read() -> None:
    """An answer without a read is final: nothing invites the body, and the connection closes."""
    async with serving(refuse) as server:
        client = await server.connect()
        client.send(post(10 * MIB, b"Expect: 100-continue"))
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (401, "close")
        client.transport.loseConnection()
        assert await client.closed() == b""


@pytest_twisted.ensureDeferred
async def test_body_sent_without_waiting() -> None:
    """A client that announces waiting and doesn't wait is not told to continue."""
    async with serving(echo) as server:
        client = await server.connect()
        client.send(post(3, b"Expect: 100-continue"), b"abc")
        response = await client.response()
        if response.status == 100:  # the handler's first read came before the body
            response = await client.response()
        assert response.body == b"abc"


@pytest_twisted.ensureDeferred
async def test_small_rest_is_drained() -> None:
    """A small body that nobody read costs nothing: the connection goes on."""
    async with serving(refuse) as server:
        client = await server.connect()
        client.send(post(1000), b"x" * 10)
        response = await client.response()
        assert (response.status, "connection" in response.headers) == (401, False)
        client.send(b"x" * 990, GET)
        assert (await client.response()).status == 401


@pytest.mark.parametrize("head", [post(64 * MIB), CHUNKED + b"4000000\r\n"])
@pytest_twisted.ensureDeferred
async def test_early_answer_to_a_large_body(head: bytes) -> None:
    """A client in the middle of a large body sees the early answer and the end, not a reset."""
    async with serving(refuse) as server:
        client = await server.connect()
        client.send(head, b"x" * (8 * MIB))
        response = await client.response()
        assert (response.status, response.body, response.headers["connection"]) == (401, b"no", "close")
        assert await client.closed() == b""


@pytest_twisted.ensureDeferred
async def test_too_much_after_an_early_answer() -> None:
    """What is read of a body that nobody wants has a bound."""
    async with serving(refuse, limits=Limits(drain=1000, linger=100_000)) as server:
        client = await server.connect()
        (channel,) = server.site._counted
        client.send(post(64 * MIB), b"x" * (8 * MIB))
        await client.lost.wait()
        assert channel.lingered < 100_000 + 2**17


@pytest_twisted.ensureDeferred
async def test_unread_chunked_body_is_drained() -> None:
    """The same holds for a chunked body behind an answer that is no refusal."""

    async def ignore(request: StreamingRequest) -> None:
        answer(request, b"fine")

    async with serving(ignore, limits=Limits(drain=100)) as server:
        client = await server.connect()
        client.send(CHUNKED)
        assert (await client.response()).body == b"fine"
        client.send(b"3\r\nabc\r\n0\r\n\r\n", GET)
        assert (await client.response()).body == b"fine"
        client.send(CHUNKED, b"ffff\r\n", b"x" * 1000)
        assert (await client.response()).body == b"fine"
        assert await client.closed() == b""


@pytest_twisted.ensureDeferred
async def test_back_pressure_on_uploads() -> None:
    """A handler that doesn't read leaves a large upload in the client's socket."""
    go = Signal()

    async def later(request: StreamingRequest) -> None:
        await go.wait()
        await echo(request)

    async with serving(later, limits=Limits(body_buffer=1000)) as server:
        client = await server.connect()
        client.send(post(9 * MIB), b"x" * (9 * MIB))
        await _round_trip(server)
        (channel,) = [channel for channel in server.site._counted if channel.requests.reception]
        assert channel.requests.reception is not None
        assert channel.requests.reception.body.received < 2**17 + 1000
        go.fire()
        assert len((await client.response()).body) == 9 * MIB


@pytest_twisted.ensureDeferred
async def test_announced_length_over_the_limit() -> None:
    """A body announced as too large is refused before it is invited."""

    async def bounded(request: StreamingRequest) -> None:
        try:
            await request.read_body(10)
        except TooLarge:
            answer(request, b"too large", 413)
            raise

    async with serving(bounded) as server:
        for head, wire in ((post(11, b"Expect: 100-continue"), b""), (CHUNKED, b"b\r\nhello world\r\n")):
            client = await server.connect()
            client.send(head, wire)
            assert (await client.response()).status == 413
            assert await client.closed() == b""


@pytest_twisted.ensureDeferred
async def test_malformed_chunk() -> None:
    """The reader of a malformed body is told, and the connection ends with the answer."""

    async def relay(request: StreamingRequest) -> None:
        try:
            await read_all(request.body, MIB)
        except BadRequest as error:
            answer(request, str(error).encode(), 400)

    async with serving(relay) as server:
        client = await server.connect()
        client.send(CHUNKED, b"3\r\nabcd\r\n0\r\n\r\n", GET)
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (400, "close")
        assert await client.closed() == b""


@pytest_twisted.ensureDeferred
async def test_client_leaves_in_its_body() -> None:
    """When the client leaves in the middle of its body, the coroutine that reads it is cancelled."""
    reading = Signal()

    async def read(request: StreamingRequest) -> None:
        assert await request.body.read(3) == b"abc"
        reading.fire()
        await request.body.read(3)

    async with serving(read) as server:
        client = await server.connect()
        client.send(post(10), b"abc")
        await reading.wait()
        client.transport.loseConnection()
        await server.root.done.wait()
        assert isinstance(server.root.outcomes[0], CancelledError)


@pytest_twisted.ensureDeferred
async def test_detached_reader_of_a_lost_body() -> None:
    """Who reads a body apart from the request learns that the client went away."""
    bodies: list[Any] = []
    begun = Signal()

    async def keep(request: StreamingRequest) -> None:
        bodies.append(request.body)
        begun.fire()
        await Signal().wait()

    async with serving(keep) as server:
        client = await server.connect()
        client.send(post(10), b"abc")
        await begun.wait()
        client.transport.loseConnection()
        await server.root.done.wait()
        with pytest.raises(ClientGone):
            await read_all(bodies[0], MIB)


@pytest.mark.parametrize(
    ("status", "wire"),
    [
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n"),
        (405, b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refused_heads(status: int, wire: bytes) -> None:
    """A head that is not served is answered without any handler, and the connection ends."""
    async with serving(echo) as server:
        client = await server.connect()
        client.send(wire, GET)
        response = await client.response()
        assert (response.status, response.headers["connection"]) == (status, "close")
        assert ("allow" in response.headers) == (status == 405)
        assert await client.closed() == b""
        assert server.root.outcomes == []


@pytest_twisted.ensureDeferred
async def test_refusal_keeps_its_turn() -> None:
    """A malformed request behind a good one is refused after the good one's answer."""
    async with serving(echo) as server:
        client = await server.connect()
        client.send(post(3), b"abc", b"bad\r\n\r\n")
        assert (await client.response()).body == b"abc"
        assert (await client.response()).status == 400


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", b"GET / HTTP/1.0\r\n\r\n"])
@pytest_twisted.ensureDeferred
async def test_close_on_wish(head: bytes) -> None:
    """A client that wants the connection closed, or is of the old kind, gets it closed."""
    async with serving(echo) as server:
        client = await server.connect()
        client.send(head)
        assert (await client.response()).headers["connection"] == "close"
        assert await client.closed() == b""
        wordy = await server.connect()
        wordy.send(head, GET * 1000)
        assert (await wordy.response()).headers["connection"] == "close"
        assert await wordy.closed() == b""


@pytest_twisted.ensureDeferred
async def test_answer_shorter_than_announced() -> None:
    """An answer that ends before its announced length breaks the connection."""

    async def short(request: StreamingRequest) -> None:
        request.setHeader(b"Content-Length", b"10")
        request.write(b"short")

    async with serving(short) as server:
        client = await server.connect()
        client.send(GET, GET)
        await client.lost.wait()
        assert client.received.count(b"HTTP/1.1") <= 1


@pytest_twisted.ensureDeferred
async def test_slow_head() -> None:
    """A head that dribbles in is answered 408 after its time, a silent new connection is just closed."""
    async with serving(echo, limits=Limits(head_timeout=30)) as server:
        dribbling, silent = await server.connect(), await server.connect()
        for byte in b"GET / HTT":
            dribbling.send(bytes([byte]))
            await _round_trip(server)
            server.clock.advance(3)
        server.clock.advance(4)
        assert (await dribbling.response()).status == 408
        assert await dribbling.closed() == b""
        assert await silent.closed() == b""


@pytest_twisted.ensureDeferred
async def test_idle_connection() -> None:
    """A kept-alive connection outlives the idle time that clients are told, by a little, and then closes."""
    async with serving(echo, limits=Limits(idle_timeout=75, idle_grace=5)) as server:
        client = await server.connect()
        client.send(GET)
        assert (await client.response()).headers["keep-alive"] == "timeout=75"
        server.clock.advance(79)
        client.send(GET)
        assert (await client.response()).status == 200
        server.clock.advance(80)
        assert await client.closed() == b""


@pytest.mark.parametrize(("keep_alive", "told"), [("75s", 70), ("12s", 7), ("2s", 1), ("500ms", None)])
@pytest_twisted.ensureDeferred
async def test_keep_alive_is_how_long_a_connection_is_kept(keep_alive: str, told: int | None) -> None:
    """An idle connection closes when the time of ``keep-alive`` is over, no sooner and no later; clients hear less."""
    settings = load(f"[limits]\nkeep-alive = '{keep_alive}'", environ={})
    seconds = settings.limits.keep_alive
    async with serving(echo, limits=limits_of(settings, 1000)) as server:
        client = await server.connect()
        client.send(GET)
        said = (await client.response()).headers.get("keep-alive")
        assert said == (None if told is None else f"timeout={told}")
        server.clock.advance(seconds * 0.99)
        client.send(GET)
        assert (await client.response()).status == 200
        server.clock.advance(seconds)
        assert await client.closed() == b""


@pytest_twisted.ensureDeferred
async def test_long_answers_are_not_idle() -> None:
    """No timer of the input ends a connection while its request is answered."""
    begun, go = Signal(), Signal()

    async def long(request: StreamingRequest) -> None:
        begun.fire()
        await go.wait()
        answer(request, b"at last")

    async with serving(long) as server:
        client = await server.connect()
        client.send(GET)
        await begun.wait()
        server.clock.advance(100_000)
        go.fire()
        assert (await client.response()).body == b"at last"


@pytest_twisted.ensureDeferred
async def test_slow_body() -> None:
    """A body that comes too slowly is broken off: its reader is told and the connection ends with the answer."""
    reading = Signal()

    async def relay(request: StreamingRequest) -> None:
        try:
            reading.fire()
            await read_all(request.body, MIB)
        except BodyTimedOut as error:
            answer(request, str(error).encode(), 408)

    async with serving(relay, limits=Limits(body_timeout=60, body_minimum=100)) as server:
        client = await server.connect()
        client.send(post(MIB), b"x" * 150)
        await reading.wait()
        await _round_trip(server)
        server.clock.advance(60)
        client.send(b"x" * 99)
        await _round_trip(server)
        server.clock.advance(59)
        assert not client.received
        server.clock.advance(1)
        assert (await client.response()).status == 408
        assert await client.closed() == b""


@pytest_twisted.ensureDeferred
async def test_slow_handlers_are_not_blamed_on_the_client() -> None:
    """While the server itself doesn't read, a body takes as long as it takes."""
    go = Signal()

    async def later(request: StreamingRequest) -> None:
        await go.wait()
        await echo(request)

    async with serving(later, limits=Limits(body_buffer=1000)) as server:
        client = await server.connect()
        client.send(post(MIB), b"x" * MIB)
        await _round_trip(server)
        for _ in range(5):
            server.clock.advance(60)
        go.fire()
        assert len((await client.response()).body) == MIB


@pytest_twisted.ensureDeferred
async def test_client_that_takes_nothing() -> None:
    """A client that takes nothing of its answer is dropped; one that takes a little now and then is not."""

    async def flood(request: StreamingRequest) -> None:
        answer(request, bytes(32 * MIB))

    async with serving(flood, limits=Limits(write_timeout=300)) as server:
        client = await server.connect()
        client.send(GET)
        for _ in range(6):
            await client.until(lambda: bool(client.received))
            client.received.clear()
            server.clock.advance(250)
        client.transport.pauseProducing()
        await _round_trip(server)
        for _ in range(6):
            server.clock.advance(75)
        client.transport.resumeProducing()
        await client.lost.wait()
        assert server.site.connections == 0


@pytest_twisted.ensureDeferred
async def test_too_many_connections() -> None:
    """Connections over the limit are told so and closed; a place that is left can be taken."""
    async with serving(echo, limits=Limits(connections_per_address=2)) as server:
        first, second, third = [await server.connect() for _ in range(3)]
        response = await third.response()
        assert (response.status, response.headers["retry-after"]) == (503, "5")
        assert await third.closed() == b""
        first.transport.loseConnection()
        await first.lost.wait()
        second.send(GET)
        assert (await second.response()).status == 200
        fourth = await server.connect()
        fourth.send(GET)
        assert (await fourth.response()).status == 200


@pytest_twisted.ensureDeferred
async def test_retire() -> None:
    """A retiring site closes idle connections now, busy ones after their answer, and serves no new ones."""
    begun, go = Signal(), Signal()

    async def long(request: StreamingRequest) -> None:
        begun.fire()
        await go.wait()
        answer(request, b"done")

    async with serving(long) as server:
        idle, busy = await server.connect(), await server.connect()
        busy.send(GET)
        await begun.wait()
        retired = server.site.retire()
        assert await idle.closed() == b""
        late = await server.connect()
        assert (await late.response()).status == 503
        await late.closed()
        assert not retired.called
        go.fire()
        response = await busy.response()
        assert (response.body, response.headers["connection"]) == (b"done", "close")
        await patient(retired)
        assert server.site.connections == 0


@pytest_twisted.ensureDeferred
async def test_abort_connections() -> None:
    """What is left at the end of a shutdown can be broken off."""
    begun = Signal()

    async def forever(request: StreamingRequest) -> None:
        begun.fire()
        await Signal().wait()

    async with serving(forever) as server:
        client = await server.connect()
        client.send(GET)
        await begun.wait()
        server.site.abort_connections()
        assert await client.closed() == b""
        await server.root.done.wait()
        assert isinstance(server.root.outcomes[0], CancelledError)


@pytest_twisted.ensureDeferred
async def test_failing_resource(flush_logged_errors: Any) -> None:
    """A resource that fails before the answer begins gives 500, after that a broken connection."""
    from twisted.internet import reactor
    from twisted.web.resource import Resource

    class Broken(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            if request.raw_path == b"/late":
                request.write(b"begun")
            raise ValueError("broken")

    site = make_site(Broken(), reactor=FakeClock())
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    server = Server(site, None, FakeClock(), port.getHost())  # type: ignore[arg-type]
    client = await server.connect()
    client.send(GET)
    assert (await client.response()).status == 500
    client.send(GET.replace(b"/x", b"/late"))
    assert b"0\r\n\r\n" not in await client.closed()
    await server.leave()
    await port.stopListening()
    assert len(flush_logged_errors(ValueError)) == 2


@pytest_twisted.ensureDeferred
async def test_klein() -> None:
    """Klein serves these requests: routes, HEAD, and coroutines that are cancelled when the client leaves."""
    from twisted.internet import reactor

    app, begun, ended = Klein(), Signal(), Signal()

    @app.route("/echo/<name>", methods=["GET", "HEAD", "POST"])
    async def reply(request: Any, name: str) -> bytes:
        return name.encode() + await read_all(request.body, MIB)

    @app.route("/wait")
    async def wait(request: Any) -> None:
        begun.fire()
        try:
            await Signal().wait()
        finally:
            ended.fire()

    site = make_site(app.resource(), reactor=FakeClock())
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    server = Server(site, None, FakeClock(), port.getHost())  # type: ignore[arg-type]
    client: RawClient = await server.connect()
    client.send(post(3).replace(b"/x", b"/echo/n"), b"abc")
    assert (await client.response()).body == b"nabc"
    client.send(GET.replace(b"GET /x", b"HEAD /echo/n"))
    assert (await client.response(bodiless=True)).status == 200
    client.send(GET.replace(b"/x", b"/wait"))
    await begun.wait()
    client.transport.loseConnection()
    await ended.wait()
    await server.leave()
    await port.stopListening()


@given(st.binary(max_size=30))
def test_text_can_be_sent_on_as_it_came(value: bytes) -> None:
    """What is taken for text has one character for each byte; whatever else there is, is refused."""
    try:
        assert text_of("Git-Protocol", [value]).encode("latin-1") == value
    except BadRequest:
        assert not value.isascii()


@pytest.mark.parametrize("value", [b"version=2\xff", b"\xff", b"caf\xe9", b"\xc3"])
def test_what_is_no_text_is_a_bad_request(value: bytes) -> None:
    """Bytes that are not UTF-8 are refused by name, in any header but those whose values may be anything."""
    with pytest.raises(BadRequest, match="Content-Encoding is not text"):
        text_of("Content-Encoding", [value])
    assert text_of("Cookie", [b"a=1", value]) == f"a=1; {value.decode('latin-1')}"
    assert text_of("if-none-match", [value]) == value.decode("latin-1")


def test_values_are_joined() -> None:
    """A header that is sent twice says both."""
    assert text_of("Accept", [b"a", b"b"]) == "a, b"


def test_only_what_is_looked_at_is_refused() -> None:
    """A request is not refused for a header that nobody reads."""
    fields = Fields([(b"X-Strange", [b"\xff"]), (b"Accept", [b"a", b"b"])])
    assert fields["accept"] == "a, b" and "x-strange" in fields and len(fields) == 2
    assert fields.get("missing") is None
    with pytest.raises(BadRequest):
        fields.get("x-strange")


@pytest_twisted.ensureDeferred
async def test_a_handler_reads_a_header() -> None:
    """Reading gives text, nothing, or the refusal; Twisted's own way, which fails on other bytes, is not used."""
    seen: list[object] = []

    async def read(request: StreamingRequest) -> None:
        seen.extend((request.getHeader("accept"), request.getHeader("missing"), request.fields["accept"]))
        with pytest.raises(BadRequest):
            request.getHeader("git-protocol")
        request.setHeader(b"Content-Length", b"0")
        request.write(b"")

    async with serving(read) as server:
        client = await server.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: h\r\nAccept: \xc3\xa9\r\nGit-Protocol: version=2\xff\r\n\r\n")
        assert (await client.response()).status == 200
    assert seen == ["\xc3\xa9", None, "\xc3\xa9"]


def test_what_clients_prove_themselves_with() -> None:
    """Schemes have names in any case, whatever ends them."""
    assert is_bound(b" ntlm TlRMTVNTUAAB") and is_bound(b"NEGOTIATE x") and is_bound(b'Digest username="a"')
    assert is_bound(b"Negotiate\tYIIx") and is_bound(b"\tNTLM\x0bx") and is_bound(b"Negotiate,Basic eDp4")
    assert not any(is_bound(proof) for proof in (b"Basic TlRMTVNTUAAB", b"Bearer NTLM", b"NTLMv3 x", b""))
