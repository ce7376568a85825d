"""Real connections on loopback: addresses, certificates, pooling, back-pressure."""

import contextlib
import datetime
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet import ssl
from twisted.internet.defer import Deferred
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from cachew.plumbing.clock import machine_clock
from cachew.plumbing.errors import UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.plumbing.streams import BytesSource, read_all
from cachew.upstream.agent import Agents, make_agents
from cachew.upstream.backoff import Backoff
from cachew.upstream.checked_endpoint import CheckedEndpoint
from cachew.upstream.client import UpstreamBounds, UpstreamClient
from cachew.upstream.connectionfailures import explain
from cachew.upstream.hosts import Hosts
from cachew.upstream.listing import Capabilities
from cachew.upstream.redirects import Redirects
from cachew.upstream.tlsfiles import TlsFiles
from tests.fakes.spellings import spelled_as_asked
from tests.functional.certificates import Authority

BIG = 8 * 1024 * 1024


class Git(Resource):
    """Answers ref checks, sends and takes big bodies."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.peers: set[int] = set()
        self.held: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()

    def render_GET(self, request: Any) -> Any:
        self.peers.add(request.getClientAddress().port)
        if request.path.endswith(b"/info/refs"):
            request.setHeader("Content-Type", "application/x-git-upload-pack-advertisement")
            return encode_all([f"{'a' * 40} refs/heads/main\0agent=x".encode(), FLUSH])
        request.notifyFinish().addBoth(lambda _: self.gone.callback(None))
        request.registerProducer(_Flood(self, request), True)
        return NOT_DONE_YET

    def render_POST(self, request: Any) -> bytes:
        self.peers.add(request.getClientAddress().port)
        if request.path.endswith(b"/git-upload-pack"):
            request.setHeader("Content-Type", "application/x-git-upload-pack-result")
            return encode_all([f"{'a' * 40} refs/heads/main\n".encode(), FLUSH])
        return b"%d" % len(request.content.read())


class _Flood:
    """Sends without end as long as it is let."""

    def __init__(self, git: Git, request: Any) -> None:
        self._git, self._request, self._on = git, request, True
        self._write()

    def _write(self) -> None:
        from twisted.internet import reactor

        if self._on:
            self._request.write(b"x" * 65536)
            reactor.callLater(0, self._write)

    def pauseProducing(self) -> None:
        self._on = False
        if not self._git.held.called:
            self._git.held.callback(None)

    def resumeProducing(self) -> None:
        self._on = True
        self._write()

    def stopProducing(self) -> None:
        self._on = False


class Ports:
    """Listens on loopback."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._ports: list[Any] = []

    def tcp(self, factory: Any) -> int:
        port = self._reactor.listenTCP(0, factory, interface="127.0.0.1")
        self._ports.append(port)
        return int(port.getHost().port)

    def tls(self, factory: Any, options: Any) -> int:
        port = self._reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self._ports.append(port)
        return int(port.getHost().port)

    async def stop(self) -> None:
        while self._ports:
            await self._ports.pop().stopListening()


@pytest.fixture
def ports() -> Iterator[Ports]:
    """Return what listens; stopped afterwards."""
    from twisted.internet import reactor

    ports = Ports(reactor)
    yield ports
    pytest_twisted.blockon(Deferred.fromCoroutine(ports.stop()))


@pytest.fixture
def pools() -> Iterator[list[Agents]]:
    """Return a list of agents whose kept connections are closed afterwards."""
    made: list[Agents] = []
    yield made
    for agents in made:
        pytest_twisted.blockon(Deferred.fromCoroutine(agents.stop()))


def client_for(
    pools: list[Agents],
    upstreams: dict[str, str | None],
    bounds: UpstreamBounds | None = None,
    ca_file: Path | None = None,
    own: tuple[int, Path] | None = None,
) -> UpstreamClient:
    """Return a client with real connections."""
    from twisted.internet import reactor

    hosts = Hosts(upstreams=upstreams)
    tls = TlsFiles(
        authorities={} if ca_file is None else {"127.0.0.1": ca_file},
        own={} if own is None else {("127.0.0.1", own[0]): own[1]},
    )
    agents = make_agents(reactor=reactor, hosts=hosts, connect_timeout=5, user_agent="git/2.39.5 cachew/1.0", tls=tls)
    pools.append(agents)
    backoff = Backoff(clock=machine_clock(), random=lambda: 0.0)
    return UpstreamClient(
        reactor=reactor,
        agents=agents,
        redirects=Redirects(hosts),
        spellings=spelled_as_asked(reactor),
        backoff=backoff,
        metrics=Metrics(),
        bounds=bounds or UpstreamBounds(),
    )


@pytest_twisted.ensureDeferred
async def test_private_refused(ports: Ports, pools: list[Agents]) -> None:
    """A host that resolves to a private address is not connected to unless the operator gave its URL."""
    git = Git()
    port = ports.tcp(Site(git))
    stranger = client_for(pools, {"*": None})
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(UpstreamUnreachable, match="no address that may be connected to"):
            await stranger.list_refs(f"http://{host}:{port}/r")
    assert not git.peers
    operators = client_for(pools, {"git.example": f"http://127.0.0.1:{port}/"})
    listing, _ = await operators.list_refs(f"http://127.0.0.1:{port}/r")
    assert listing.by_name["refs/heads/main"].oid == "a" * 40


@pytest_twisted.ensureDeferred
async def test_connection_is_kept(ports: Ports, pools: list[Agents]) -> None:
    """Checks and fetches share one kept connection; a body that can't be sent twice gets a connection of its own."""
    git = Git()
    url = f"http://127.0.0.1:{ports.tcp(Site(git))}"
    client = client_for(pools, {"git.example": url})
    for _ in range(3):
        await client.list_refs(f"{url}/r")
    assert len(git.peers) == 1
    await client.list_refs(f"{url}/r", known=Capabilities({"ls-refs": None}, 2, f"{url}/r"))
    assert len(git.peers) == 1
    response = await client.forward(b"POST", f"{url}/r/git-upload-pack", [], BytesSource(b"0000"), 4)
    assert await read_all(response.source, 100)
    assert len(git.peers) == 1
    response = await client.forward(b"POST", f"{url}/r/git-receive-pack", [], BytesSource(b"x" * BIG), BIG)
    assert await read_all(response.source, 100) == b"%d" % BIG
    assert len(git.peers) == 2


class HangsUp(Protocol):
    """Answers a connection's first request and drops the connection at the second, as a server's keep-alive ends."""

    requests = 0
    connections = 0

    def connectionMade(self) -> None:
        HangsUp.connections += 1

    def dataReceived(self, data: bytes) -> None:
        self.requests += 1
        if self.requests > 1:
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        body = encode_all([b"version 2\n", b"ls-refs\n", FLUSH])
        kind = b"application/x-git-upload-pack-advertisement"
        if data.startswith(b"POST"):
            body, kind = encode_all([FLUSH]), b"application/x-git-upload-pack-result"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body))
        self.transport.write(head + body)  # type: ignore[union-attr]


@pytest_twisted.ensureDeferred
async def test_stale_connection(ports: Ports, pools: list[Agents]) -> None:
    """A question that meets a dying kept connection is asked again over a new one."""
    HangsUp.connections = 0
    url = f"http://127.0.0.1:{ports.tcp(Factory.forProtocol(HangsUp))}"
    listing, _ = await client_for(pools, {"git.example": url}).list_refs(f"{url}/r")
    assert listing.refs == () and HangsUp.connections == 2


@pytest_twisted.ensureDeferred
async def test_fetch_meets_a_stale_connection(ports: Ports, pools: list[Agents]) -> None:
    """So is a request for objects, whose body can be sent twice."""
    HangsUp.connections = 0
    url = f"http://127.0.0.1:{ports.tcp(Factory.forProtocol(HangsUp))}"
    client = client_for(pools, {"git.example": url})
    refs = await client.forward(b"GET", f"{url}/r/info/refs?service=git-upload-pack", [])
    await read_all(refs.source, 1000)
    response = await client.forward(b"POST", f"{url}/r/git-upload-pack", [], BytesSource(b"0000"), 4)
    assert await read_all(response.source, 100) == b"0000" and HangsUp.connections == 2


@pytest_twisted.ensureDeferred
async def test_refused_connection(ports: Ports, pools: list[Agents]) -> None:
    """An upstream that is down is named with the reason."""
    url = f"http://127.0.0.1:{ports.tcp(Factory.forProtocol(Protocol))}"
    await ports.stop()
    with pytest.raises(UpstreamUnreachable, match=rf"{url}/r: refused the connection"):
        await client_for(pools, {"git.example": url}).list_refs(f"{url}/r")


@pytest_twisted.ensureDeferred
async def test_slow_reader(ports: Ports, pools: list[Agents]) -> None:
    """A reader that doesn't read holds the upstream back, and closing ends the connection at once."""
    git = Git()
    url = f"http://127.0.0.1:{ports.tcp(Site(git))}"
    client = client_for(pools, {"git.example": url})
    response = await client.forward(b"GET", f"{url}/r/info/lfs/objects/flood", [])
    assert await response.source.read(10)
    await git.held
    response.source.close()
    await git.gone


@pytest_twisted.ensureDeferred
async def test_silent_response(ports: Ports, pools: list[Agents]) -> None:
    """A response that stops in the middle fails after the idle time."""

    class Stops(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")  # type: ignore[union-attr]

    url = f"http://127.0.0.1:{ports.tcp(Factory.forProtocol(Stops))}"
    client = client_for(pools, {"git.example": url}, UpstreamBounds(idle=0.1))
    response = await client.forward(b"GET", f"{url}/r/info/lfs/x", [])
    with pytest.raises(UpstreamTimeout, match="sent nothing"):
        await read_all(response.source, 1000)


@pytest_twisted.ensureDeferred
async def test_broken_response(ports: Ports, pools: list[Agents]) -> None:
    """A response shorter than announced fails after what came of it."""

    class Breaks(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]

    url = f"http://127.0.0.1:{ports.tcp(Factory.forProtocol(Breaks))}"
    response = await client_for(pools, {"git.example": url}).forward(b"GET", f"{url}/r/info/lfs/x", [])
    assert await response.source.read(100) == b"half"
    with pytest.raises(UpstreamUnreachable, match="broke off"):
        await response.source.read(100)


@pytest_twisted.ensureDeferred
async def test_certificates(ports: Ports, pools: list[Agents], tmp_path: Path) -> None:
    """A certificate is accepted when a named authority signed it, refused otherwise."""
    options, ca_file = certificate(tmp_path)
    url = f"https://127.0.0.1:{ports.tls(Site(Git()), options)}"
    with pytest.raises(UpstreamUnreachable, match="TLS failed: certificate verify failed"):
        await client_for(pools, {"git.example": url}).list_refs(f"{url}/r")
    trusting = client_for(pools, {"git.example": url}, ca_file=ca_file)
    listing, _ = await trusting.list_refs(f"{url}/r")
    assert listing.oids()


@pytest_twisted.ensureDeferred
async def test_certificates_that_cannot_be_read(ports: Ports, pools: list[Agents], tmp_path: Path) -> None:
    """A request fails, as when no descriptor is left, and nothing in the reactor; the next one tries again."""
    options, ca_file = certificate(tmp_path)
    url = f"https://127.0.0.1:{ports.tls(Site(Git()), options)}"
    client = client_for(pools, {"git.example": url}, ca_file=ca_file)
    hidden = ca_file.rename(tmp_path / "hidden")
    with pytest.raises(UpstreamUnreachable, match="TLS failed"):
        await client.list_refs(f"{url}/r")
    hidden.rename(ca_file)
    listing, _ = await client.list_refs(f"{url}/r")
    assert listing.oids()


@pytest_twisted.ensureDeferred
async def test_a_certificate_is_shown_where_it_is_for(ports: Ports, pools: list[Agents], tmp_path: Path) -> None:
    """A gate that wants to see one lets its bearer in; the same host at another port is shown none, nor a proxy."""
    authority, own = Authority(tmp_path), tmp_path / "own.pem"
    own.write_bytes(authority.server_pem("client"))
    port = ports.tls(Site(Git()), authority.gate_options())
    url = f"https://127.0.0.1:{port}"
    passing = client_for(pools, {"git.example": url}, ca_file=authority.path, own=(port, own))
    listing, _ = await passing.list_refs(f"{url}/r")
    assert listing.oids()
    strangers = client_for(pools, {"git.example": url}, ca_file=authority.path, own=(port + 1, own))
    with pytest.raises(UpstreamUnreachable, match="TLS failed"):
        await strangers.list_refs(f"{url}/r")
    own.write_bytes(b"no certificate")
    broken = client_for(pools, {"git.example": url}, ca_file=authority.path, own=(port, own))
    with pytest.raises(UpstreamUnreachable, match=r"own\.pem holds no certificate and key that can be read"):
        await broken.list_refs(f"{url}/r")


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_was_renewed_is_shown(ports: Ports, pools: list[Agents], tmp_path: Path) -> None:
    """From the next connection on; one that the gate doesn't know is told as a failure of TLS."""
    authority, own, another = Authority(tmp_path), tmp_path / "own.pem", tmp_path / "another"
    another.mkdir()
    own.write_bytes(Authority(another).server_pem("stranger"))
    port = ports.tls(Site(Git()), authority.gate_options())
    url = f"https://127.0.0.1:{port}"
    client = client_for(pools, {"git.example": url}, ca_file=authority.path, own=(port, own))
    with pytest.raises(UpstreamUnreachable, match="TLS failed"):
        await client.list_refs(f"{url}/r")
    own.write_bytes(authority.server_pem("client"))
    listing, _ = await client.list_refs(f"{url}/r")
    assert listing.oids()


def certificate(directory: Path) -> tuple[Any, Path]:
    """Make a self-signed certificate for loopback; return server options and the file to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path, key_path = directory / "ca.pem", directory / "key.pem"
    path.write_bytes(pem)
    key_path.write_bytes(private)
    return ssl.DefaultOpenSSLContextFactory(str(key_path), str(path)), path


@pytest_twisted.ensureDeferred
async def test_connecting_takes_too_long() -> None:
    """An upstream that never takes a connection is told as one that was too slow, not as a client that left."""
    from twisted.internet import reactor

    with socket.socket() as listening, contextlib.ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):  # what the kernel takes by itself, and what it then drops
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        endpoint = CheckedEndpoint(
            reactor=reactor, host="127.0.0.1", port=listening.getsockname()[1], timeout=0.2, private=True
        )
        with pytest.raises(ConnectTimeout) as caught:
            await endpoint.connect(Factory.forProtocol(Protocol))
    explained = explain("https://git.example/org/repo", caught.value)
    assert isinstance(explained, UpstreamTimeout) and "connecting took too long" in str(explained)
