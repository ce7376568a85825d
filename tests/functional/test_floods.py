"""Clients that are slow, or do nothing, in great numbers: others are served, and memory stays."""

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.task import deferLater

from tests.functional import repositories
from tests.functional.gitclient import Git
from tests.functional.process import ServerProcess
from tests.functional.rawhttp import ask
from tests.functional.upstream import Upstream

COUNT = 500
MEGABYTE = 1024 * 1024
PATH = "/git/git.example/org/repo"


class Slow(Protocol):
    """Sends a beginning, and perhaps reads nothing of what comes back.

    :param beginning: what it sends.
    :param reads: whether it reads.
    """

    transport: Any

    def __init__(self, beginning: bytes, *, reads: bool) -> None:
        self._beginning, self._reads = beginning, reads

    def connectionMade(self) -> None:
        """Send what there is to send."""
        if not self._reads:
            self.transport.getHandle().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            self.transport.pauseProducing()
        self.transport.write(self._beginning)


async def flood(port: int, beginning: bytes, *, reads: bool = True) -> list[Any]:
    """Open the connections."""
    endpoint = TCP4ClientEndpoint(cast(Any, reactor), "127.0.0.1", port)
    opening = [connectProtocol(endpoint, Slow(beginning, reads=reads)) for _ in range(COUNT)]
    return [found for good, found in await DeferredList(opening) if good]


async def answered(url: str) -> Any:
    """Ask until there is an answer: while very many are being turned away, more are closed without one."""
    for _ in range(100):
        with suppress(AssertionError):
            return await ask(reactor, url, "GET", "/_liveness")
        await deferLater(cast(Any, reactor), 0.05, lambda: None)
    raise AssertionError("nobody answers")


FLOODS = {
    "idle": b"",
    "slow head": b"GET /git/git.example/org/repo/info/refs?service=git-upload-pack HTTP/1.1\r\nHost: x\r\nX: ",
    "slow body": (
        b"POST /git/git.example/org/repo/git-upload-pack HTTP/1.1\r\nHost: x\r\n"
        b"Content-Type: application/x-git-upload-pack-request\r\nContent-Length: 1000000\r\n\r\n"
        b"0014command=ls-refs\n"
    ),
    "slow reading": (
        b"GET /git/git.example/org/repo/snapshot.tar.zst HTTP/1.1\r\nHost: x\r\n\r\n"
        b"GET /git/git.example/org/repo/snapshot.tar.zst HTTP/1.1\r\nHost: x\r\n\r\n"
    ),
}


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
@pytest.mark.timeout(90)
async def test_floods(upstream: Upstream, git: Git, tmp_path: Path) -> None:
    """While 500 connections of a kind are held, a clone succeeds, and the server has grown by less than 100 MB."""
    repositories.make_repository(upstream.path("org/repo"), commits=3, size=2 * MEGABYTE)
    config = f'[upstreams."git.example"]\nurl = "{upstream.url}"\n'
    server = ServerProcess(reactor=reactor, directory=tmp_path / "server", config=config)
    await server.start()
    try:
        url = f"{server.url}{PATH}"
        await git.run("clone", "-q", url, "first")
        assert (await ask(reactor, server.url, "GET", f"{PATH}/snapshot.tar.zst")).status == 200
        before = server.memory()
        for kind, beginning in FLOODS.items():
            held = await flood(server.port, beginning, reads=kind != "slow reading")
            assert len(held) == COUNT
            await git.run("clone", "-q", url, kind.replace(" ", "-"))
            assert (await ask(reactor, server.url, "GET", f"{PATH}/snapshot.tar.zst")).status == 200
            grown = server.memory() - before
            assert grown < 100 * MEGABYTE, f"{kind}: {grown / MEGABYTE:.0f} MB"
            for client in held:
                client.transport.abortConnection()
    finally:
        await server.stop()


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_one_address_takes_no_more_than_its_share(upstream: Upstream, tmp_path: Path) -> None:
    """A flood from one address beyond its bound is turned away at once, and leaves room for others."""
    config = f'[upstreams."git.example"]\nurl = "{upstream.url}"\n[limits]\nconnections-per-address = 20\n'
    server = ServerProcess(reactor=reactor, directory=tmp_path / "server", config=config)
    await server.start()
    try:
        held = await flood(server.port, b"")
        refused = await answered(server.url)
        assert refused.status == 503 and "retry-after" in refused.headers
        endpoint = TCP4ClientEndpoint(cast(Any, reactor), "127.0.0.1", server.port, bindAddress=("127.0.0.2", 0))
        other: Any = await connectProtocol(endpoint, Protocol())
        assert other.transport.getHost().host == "127.0.0.2"
        for client in [*held, other]:
            client.transport.abortConnection()
    finally:
        await server.stop()


class Uploading(Protocol):
    """Sends most of a body, and tells what comes back.

    :param size: how much of it.
    :param answered: fires with the first answer that any of them gets.
    """

    transport: Any

    def __init__(self, size: int, answered: "Deferred[bytes]") -> None:
        self._size, self._answered = size, answered

    def connectionMade(self) -> None:
        """Send it."""
        length = self._size + 4 * MEGABYTE
        head = f"POST {PATH}/git-upload-pack HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n"
        self.transport.write(head.encode() + bytes(self._size))

    def dataReceived(self, data: bytes) -> None:
        """Tell the first answer of all."""
        if not self._answered.called:
            self._answered.callback(data)


@pytest.mark.no_cover
@pytest_twisted.ensureDeferred
async def test_open_request_bodies_cost_no_memory(upstream: Upstream, git: Git, tmp_path: Path) -> None:
    """Unfinished bodies of one address lie on disk up to its share; past it comes 503 with Retry-After, and not to
    others."""
    repositories.make_repository(upstream.path("org/repo"))
    config = f'[upstreams."git.example"]\nurl = "{upstream.url}"\n'
    server = ServerProcess(reactor=reactor, directory=tmp_path / "server", config=config)
    await server.start()
    try:
        await git.run("clone", "-q", f"{server.url}{PATH}", "first")
        before, refused = server.memory(), Deferred[bytes]()
        endpoint = TCP4ClientEndpoint(cast(Any, reactor), "127.0.0.1", server.port, bindAddress=("127.0.0.2", 0))
        clients = [await connectProtocol(endpoint, Uploading(16 * MEGABYTE, refused)) for _ in range(16)]
        answer = await refused
        assert answer.startswith(b"HTTP/1.1 503 ") and b"\r\nRetry-After: 5\r\n" in answer
        grown = server.memory() - before
        assert grown < 32 * MEGABYTE, f"{grown / MEGABYTE:.0f} MB"
        await git.run("clone", "-q", f"{server.url}{PATH}", "second")
        for client in clients:
            cast(Any, client).transport.abortConnection()
    finally:
        await server.stop()
