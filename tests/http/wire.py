"""Raw HTTP over loopback: a server of one function, and a client that sends bytes and counts what comes back."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from cachew.http.filesender import FileSender
from cachew.http.incoming import framing_for
from cachew.http.limits import Limits
from cachew.http.requests import StreamingRequest
from cachew.http.site import StreamingSite, make_site
from tests.fakes.clock import FakeClock

PATIENCE = 20
"""Seconds that a test waits for anything."""

Handler = Callable[[StreamingRequest], Awaitable[object]]


def patient(deferred: "Deferred[Any]") -> "Deferred[Any]":
    """Bound a wait by the real clock."""
    from twisted.internet import reactor

    return deferred.addTimeout(PATIENCE, reactor)


class Signal:
    """An event that coroutines wait for."""

    def __init__(self) -> None:
        self._fired = False
        self._waiters: list[Deferred[None]] = []

    def fire(self) -> None:
        """Let everyone go on."""
        self._fired = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)

    async def wait(self) -> None:
        """Wait for it."""
        if not self._fired:
            waiter: Deferred[None] = Deferred()
            self._waiters.append(waiter)
            await patient(waiter)


@dataclass
class Response:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient(Protocol):
    """Keeps what the server sent and lets a test wait for more."""

    transport: Any

    def __init__(self) -> None:
        self.received = bytearray()
        self.ended = False
        self.lost = Signal()
        self._changed = Signal()

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self._tell()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True
        self.lost.fire()
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, Signal()
        changed.fire()

    def send(self, *pieces: bytes) -> None:
        """Send bytes."""
        self.transport.write(b"".join(pieces))

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until something is so of what was received.

        :raise AssertionError: when the connection ends before.
        """
        while not true():
            assert not self.ended, f"connection ended after {bytes(self.received[:500])!r}"
            await self._changed.wait()

    async def take(self, count: int) -> bytes:
        """Wait for so many bytes and take them."""
        await self.until(lambda: len(self.received) >= count)
        taken = bytes(self.received[:count])
        del self.received[:count]
        return taken

    async def head(self) -> Response:
        """Take the head of a response."""
        await self.until(lambda: b"\r\n\r\n" in self.received)
        block = await self.take(self.received.index(b"\r\n\r\n") + 4)
        first, *lines = block.decode("latin-1").split("\r\n")[:-2]
        matched = re.fullmatch(r"HTTP/1\.[01] (\d{3}) .*", first)
        assert matched, first
        return Response(int(matched[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}, b"")

    async def response(self, *, bodiless: bool = False) -> Response:
        """Take a whole response."""
        response = await self.head()
        if bodiless or response.status in NO_BODY_CODES or response.status == 100:
            return response
        response.body = await self.body_of(response)
        return response

    async def body_of(self, response: Response) -> bytes:
        """Take the body that follows a head."""
        chunked = response.headers.get("transfer-encoding") == "chunked"
        framing = framing_for(None if chunked else int(response.headers["content-length"]))
        pieces = []
        while not framing.ended:
            await self.until(lambda: bool(self.received))
            wire, self.received = bytes(self.received), bytearray()
            body, rest = framing.take(wire)
            pieces.append(body)
            self.received[:0] = rest
        return b"".join(pieces)

    async def closed(self) -> bytes:
        """Wait until the server has closed; return what came before that and was not taken."""
        await self.lost.wait()
        return bytes(self.received)


class Root(Resource):
    """Gives every request to one coroutine function and finishes it after."""

    isLeaf = True

    def __init__(self, handler: Handler) -> None:
        super().__init__()
        self._handler = handler
        self.outcomes: list[BaseException | None] = []
        self.done = Signal()

    def render(self, request: Any) -> Any:
        work: Deferred[None] = Deferred.fromCoroutine(self._run(request))
        request.notifyFinish().addErrback(lambda _: work.cancel())
        return NOT_DONE_YET

    async def _run(self, request: StreamingRequest) -> None:
        outcome: BaseException | None = None
        try:
            await self._handler(request)
        except (Exception, CancelledError) as error:
            outcome = error
        if not request._disconnected:
            request.finish()
        self.outcomes.append(outcome)
        self.done.fire()


class Server:
    """A listening site and its clients."""

    def __init__(self, site: StreamingSite, root: Root, clock: FakeClock, address: Any) -> None:
        self.site, self.root, self.clock = site, root, clock
        self._address = address
        self._clients: list[RawClient] = []

    async def connect(self) -> RawClient:
        """Open a connection."""
        from twisted.internet import reactor

        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self._address.port)
        client: RawClient = await patient(connectProtocol(endpoint, RawClient()))
        self._clients.append(client)
        return client

    async def leave(self) -> None:
        """Break off what is still open."""
        for client in self._clients:
            if not client.ended:
                client.transport.abortConnection()
                await client.lost.wait()
        await patient(self.site.retire())


@asynccontextmanager
async def serving(handler: Handler, *, limits: Limits | None = None) -> AsyncIterator[Server]:
    """Serve with one coroutine function on loopback; the server's time stands still but for ``clock.advance``."""
    from twisted.internet import reactor

    clock, root = FakeClock(), Root(handler)
    sender = FileSender(reactor=reactor, threads=2)
    await sender.start()
    site = make_site(root, reactor=clock, limits=limits, sender=sender)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(site)
    server = Server(site, root, clock, port.getHost())
    try:
        yield server
    finally:
        await server.leave()
        await port.stopListening()
        await sender.stop()
