"""Bodies arrive whole or visibly broken, hold little memory under slow readers, and let go of everything at the end."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet import ssl
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, connectProtocol, wrapClientTLS

from cachew.http.bodies import send
from cachew.http.filesender import FileSender
from cachew.http.requests import StreamingRequest
from cachew.http.site import make_site
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import PIECE, BytesSource, FileSource, Source
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import FakeRequest, Steps
from tests.fakes.settled import failure_of
from tests.http.wire import RawClient, Root, Server, Signal, patient, serving

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
MIB = 1024 * 1024


class Pattern:
    """A source of so many bytes that counts what was read of it and notes its close."""

    def __init__(self, total: int, *, failure: Exception | None = None) -> None:
        self.total, self.read_so_far, self.closed = total, 0, False
        self._failure = failure

    async def read(self, size: int) -> bytes:
        count = min(size, self.total - self.read_so_far)
        self.read_so_far += count
        if not count and self._failure is not None:
            raise self._failure
        return bytes(count)

    def close(self) -> None:
        self.closed = True


class Never:
    """A source that never gives anything."""

    def __init__(self) -> None:
        self.closed = False
        self.reading = Signal()

    async def read(self, size: int) -> bytes:
        self.reading.fire()
        await Deferred()
        raise AssertionError

    def close(self) -> None:
        self.closed = True


def sender(make: Callable[[], Source], length: int | None) -> Callable[[StreamingRequest], Any]:
    """Return a handler that sends a source."""

    async def handle(request: StreamingRequest) -> None:
        await send(request, make(), length=length)

    return handle


def content(path: Path) -> bytes:
    """Return what a file holds."""
    return path.read_bytes()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that fits no socket buffer."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(MIB) * 40)
    return path


@pytest.mark.parametrize("size", [0, 1, PIECE, 3 * MIB + 1])
@pytest.mark.parametrize("announced", [True, False])
@pytest_twisted.ensureDeferred
async def test_whole(size: int, announced: bool) -> None:
    """A source arrives whole, with its length or in chunks, and the connection goes on."""
    data = os.urandom(size)
    async with serving(sender(lambda: BytesSource(data), size if announced else None)) as server:
        client = await server.connect()
        for _ in range(2):
            client.send(GET)
            response = await client.response()
            assert response.body == data
            assert ("content-length" in response.headers) == announced


@pytest.mark.parametrize(("offset", "length"), [(0, 40 * MIB), (12345, 30 * MIB), (MIB, 70_000), (5, 10), (0, 0)])
@pytest_twisted.ensureDeferred
async def test_file(large: Path, offset: int, length: int) -> None:
    """A part of a file arrives as it is, several times over one connection; its descriptor is closed each time."""
    files = []

    def opened() -> Source:
        files.append(large.open("rb"))
        return FileSource(files[-1], offset, length)

    async with serving(sender(opened, length)) as server:
        client = await server.connect()
        client.send(GET, GET, GET)
        expected = content(large)[offset : offset + length]
        for _ in range(3):
            assert (await client.response()).body == expected
    assert all(file.closed for file in files[:2])


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
@pytest_twisted.ensureDeferred
async def test_spool_that_grows(tmp_path: Path, version: bytes) -> None:
    """What is still being written arrives whole, small pieces and large ones, framed as the client understands it."""
    pieces = [os.urandom(size) for size in (10, 3 * MIB, 100, 0, 70_000, 9 * MIB, 1)]
    spool = Spool(path=tmp_path / "spool")
    async with serving(sender(spool.follow, None)) as server:
        early, late = await server.connect(), await server.connect()
        early.send(GET.replace(b"HTTP/1.1", version))
        received = 0
        for piece in pieces:
            spool.write(piece)
            received += len(piece)
            await early.until(lambda: len(early.received) > received)  # noqa: B023
        late.send(GET.replace(b"HTTP/1.1", version))
        spool.finish()
        for client in (early, late):
            if version == b"HTTP/1.1":
                assert (await client.response()).body == b"".join(pieces)
            else:
                assert (await client.closed()).endswith(b"\r\n\r\n" + b"".join(pieces))
    assert spool.followers == 0
    spool.discard()


@pytest_twisted.ensureDeferred
async def test_spool_that_fails(tmp_path: Path) -> None:
    """A writer that breaks off after large pieces breaks the connection."""
    spool = Spool(path=tmp_path / "spool")
    async with serving(sender(spool.follow, None)) as server:
        client = await server.connect()
        client.send(GET)
        spool.write(bytes(MIB))
        await client.until(lambda: len(client.received) > MIB)
        spool.fail(ValueError("lost"))
        assert not (await client.closed()).endswith(b"0\r\n\r\n")
    spool.discard()


@pytest_twisted.ensureDeferred
async def test_sent_bytes_are_counted(large: Path) -> None:
    """The request knows how much of a file it has sent, for the log."""
    counts = []

    async def handle(request: StreamingRequest) -> None:
        await send(request, FileSource(large.open("rb")), length=40 * MIB)
        counts.append(request.sentLength)
        assert request.producer is None

    async with serving(handle) as server:
        client = await server.connect()
        client.send(GET)
        await client.response()
        assert counts == [40 * MIB]


class Unreadable(FileSource):
    """A file whose disk fails while it is sent.

    :param number: the system's error number.
    """

    def __init__(self, path: Path, number: int) -> None:
        super().__init__(path.open("rb"))
        self._number = number

    async def region(self, limit: int) -> Any:
        """Return a region that can't be read."""
        found = await super().region(limit)
        return None if found is None else _Broken(found, self._number)


class _Broken:
    def __init__(self, region: Any, number: int) -> None:
        self._number, self._region, self.length = number, region, region.length

    def held(self) -> "_Broken":
        return _Broken(self._region.held(), self._number)

    def send(self, connection: Any, start: int, limit: int) -> int:
        raise OSError(self._number, os.strerror(self._number))

    def close(self) -> None:
        self._region.close()


@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.ENOMEM, errno.EBADF])
@pytest_twisted.ensureDeferred
async def test_a_disk_that_fails_is_no_client_that_leaves(large: Path, number: int) -> None:
    """What the system says of a file or of descriptors is told as it is, and the connection is broken off."""
    failures = []

    async def handle(request: StreamingRequest) -> None:
        source = Unreadable(large, number)
        try:
            await send(request, source, length=source.length)
        except Exception as failure:
            failures.append(failure)
            raise

    async with serving(handle) as server:
        client = await server.connect()
        client.send(GET)
        assert b"200" in (await client.closed())[:20]
    assert [getattr(failure, "errno", None) for failure in failures] == [number]


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH])
@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_gone_is_a_client_that_leaves(large: Path, number: int) -> None:
    """What the system says of the way to a client ends its request without being anybody's failure."""
    failures = []

    async def handle(request: StreamingRequest) -> None:
        source = Unreadable(large, number)
        try:
            await send(request, source, length=source.length)
        except CancelledError as failure:
            failures.append(failure)
            raise

    async with serving(handle) as server:
        client = await server.connect()
        client.send(GET)
        await client.closed()
    assert len(failures) == 1


class LostMeanwhile:
    """The connection of a client that has gone, of which the request has not heard yet."""

    sends_regions, open = True, False

    def signal_when_drained(self) -> None:
        """Fail, as a transport without a socket does."""
        raise ValueError("file descriptor cannot be a negative integer (-1)")

    def abort(self) -> None:
        """Nothing is left to be broken off."""


def test_a_region_for_a_client_that_has_just_gone(tmp_path: Path) -> None:
    """What comes after the region during which a client left is not handed over to a connection that is closed."""
    (tmp_path / "file").write_bytes(bytes(MIB))
    request: Any = FakeRequest(Steps(slow=False))
    request.channel = LostMeanwhile()
    source = FileSource((tmp_path / "file").open("rb"))
    sent = Deferred.fromCoroutine(send(request, source, length=MIB))
    assert isinstance(failure_of(sent), CancelledError) and source.file.closed


@pytest.mark.parametrize("status", [200, 304, 204])
@pytest_twisted.ensureDeferred
async def test_no_body(large: Path, status: int) -> None:
    """HEAD, and a status without a body, send the head only; the source is closed unread."""
    sources = []

    async def handle(request: StreamingRequest) -> None:
        request.setResponseCode(status)
        sources.append(Pattern(100))
        await send(request, sources[-1], length=100)

    async with serving(handle) as server:
        client = await server.connect()
        client.send((GET if status != 200 else GET.replace(b"GET", b"HEAD")) * 2)
        for _ in range(2):
            response = await client.response(bodiless=True)
            assert (response.status, response.headers["content-length"]) == (status, "100")
    assert [(source.read_so_far, source.closed) for source in sources] == [(0, True)] * 2


@pytest.mark.parametrize("announced", [None, 40 * MIB])
@pytest_twisted.ensureDeferred
async def test_slow_reader(announced: int | None) -> None:
    """Little more than the kernel's buffers is read ahead of a client that has stopped; then it gets all."""
    source = Pattern(40 * MIB)
    async with serving(sender(lambda: source, announced)) as server:
        client = await server.connect()
        client.transport.pauseProducing()
        client.send(GET)
        other = await server.connect()
        other.send(b"nonsense\r\n\r\n")
        await other.closed()
        (channel,) = [channel for channel in server.site._counted if channel.requests.current]
        assert len(channel.transport.dataBuffer) + channel.transport._tempDataLen <= PIECE + 2**16
        assert source.read_so_far < 20 * MIB
        client.transport.resumeProducing()
        assert len((await client.response()).body) == 40 * MIB
    assert source.closed


@pytest_twisted.ensureDeferred
async def test_many_slow_readers_of_a_file(large: Path) -> None:
    """Files on their way to many clients that have stopped are not in our memory at all."""
    async with serving(sender(lambda: FileSource(large.open("rb")), 40 * MIB)) as server:
        clients = [await server.connect() for _ in range(32)]
        for client in clients:
            client.send(GET)
            await client.until(lambda client=client: len(client.received) > MIB)  # type: ignore[misc]
            client.transport.pauseProducing()
        for channel in server.site._counted:
            assert len(channel.transport.dataBuffer) + channel.transport._tempDataLen == 0
        for client in clients[:2]:
            client.transport.resumeProducing()
            assert (await client.response()).body == content(large)
        for client in clients[2:]:
            client.transport.abortConnection()
            await client.lost.wait()


@pytest.mark.parametrize("announced", [None, 3 * MIB])
@pytest_twisted.ensureDeferred
async def test_source_fails_under_way(announced: int | None) -> None:
    """A source that fails after its first byte breaks the connection: the client can't take the part for the whole."""
    source = Pattern(MIB, failure=ValueError("lost"))
    async with serving(sender(lambda: source, announced)) as server:
        client = await server.connect()
        client.send(GET, GET)
        received = await client.closed()
        assert not received.endswith(b"0\r\n\r\n")
        assert received.count(b"HTTP/1.1 ") <= 1
        assert isinstance(server.root.outcomes[0], ValueError)
        assert source.closed


@pytest.mark.parametrize("announced", [None, 100])
@pytest_twisted.ensureDeferred
async def test_source_fails_at_once(announced: int | None) -> None:
    """A source that fails before its first byte leaves room for a proper answer."""
    source = Pattern(0, failure=ValueError("nothing"))

    async def handle(request: StreamingRequest) -> None:
        try:
            await send(request, source, length=announced)
        except ValueError:
            assert not request.startedWriting
            request.setResponseCode(502)
            request.setHeader(b"Content-Length", b"3")
            request.write(b"sad")

    async with serving(handle) as server:
        client = await server.connect()
        client.send(GET)
        response = await client.response()
        assert (response.status, response.body) == (502, b"sad")
        assert source.closed


@pytest_twisted.ensureDeferred
async def test_source_too_short() -> None:
    """A source with fewer bytes than announced breaks the connection; of one with more, no more is sent."""
    async with serving(sender(lambda: Pattern(5), 10)) as server:
        client = await server.connect()
        client.send(GET)
        await client.lost.wait()
        assert isinstance(server.root.outcomes[0], EOFError)
    async with serving(sender(lambda: Pattern(15), 10)) as server:
        client = await server.connect()
        client.send(GET, GET)
        assert [len((await client.response()).body) for _ in range(2)] == [10, 10]


@pytest_twisted.ensureDeferred
async def test_file_that_shrinks(large: Path) -> None:
    """A file that shrinks while it is sent breaks the connection."""
    async with serving(sender(lambda: FileSource(large.open("rb")), 40 * MIB)) as server:
        client = await server.connect()
        client.send(GET)
        await client.until(lambda: len(client.received) > 0)
        client.transport.pauseProducing()
        os.truncate(large, 100)
        client.transport.resumeProducing()
        await client.lost.wait()
        await server.root.done.wait()
        assert isinstance(server.root.outcomes[0], EOFError)
        assert len(client.received) < 40 * MIB


@pytest_twisted.ensureDeferred
async def test_client_leaves(large: Path) -> None:
    """When the client leaves in the middle, the source is closed, the coroutine ends and nothing stays registered."""
    ended: list[object] = []
    lost: list[Deferred[object]] = []
    file = large.open("rb")
    sources: list[Source] = [FileSource(file), Pattern(1000 * MIB)]

    async def handle(request: StreamingRequest) -> None:
        lost.append(request.notifyFinish().addErrback(lambda gone: getattr(request, "channel", None)))
        try:
            await send(request, sources.pop(0), length=40 * MIB)
        finally:
            ended.append(request.producer)

    for _ in range(2):
        async with serving(handle) as server:
            client = await server.connect()
            client.send(GET)
            await client.until(lambda client=client: len(client.received) > MIB)  # type: ignore[misc]
            client.transport.abortConnection()
            await server.root.done.wait()
            assert isinstance(server.root.outcomes[0], CancelledError)
            assert await lost[-1] is None
    assert file.closed
    assert ended == [None] * 2


@pytest_twisted.ensureDeferred
async def test_client_leaves_before_the_first_byte() -> None:
    """The wait for a source's first byte ends when the client leaves."""
    source = Never()
    async with serving(sender(lambda: source, None)) as server:
        client = await server.connect()
        client.send(GET)
        await source.reading.wait()
        client.transport.loseConnection()
        await server.root.done.wait()
        assert isinstance(server.root.outcomes[0], CancelledError)
        assert source.closed


@pytest_twisted.ensureDeferred
async def test_client_left_already() -> None:
    """For a client that is gone nothing is sent, and the source is closed."""
    begun, source = Signal(), Pattern(10)
    left: list[BaseException] = []

    async def handle(request: StreamingRequest) -> None:
        begun.fire()
        try:
            await Deferred()
        except CancelledError:
            try:
                await send(request, source, length=10)
            except CancelledError as error:
                left.append(error)

    async with serving(handle) as server:
        client = await server.connect()
        client.send(GET)
        await begun.wait()
        client.transport.loseConnection()
        await server.root.done.wait()
        assert (len(left), source.closed, source.read_so_far) == (1, True, 0)


@pytest_twisted.ensureDeferred
async def test_cancelled_by_the_server() -> None:
    """A coroutine that is cancelled in the middle of an answer breaks the connection."""
    work: list[Deferred[None]] = []

    async def handle(request: StreamingRequest) -> None:
        work.append(Deferred.fromCoroutine(send(request, Pattern(1000 * MIB), length=1000 * MIB)))
        await work[0]

    async with serving(handle) as server:
        client = await server.connect()
        client.send(GET)
        await client.until(lambda: len(client.received) > MIB)
        work[0].cancel()
        await client.lost.wait()


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
@pytest_twisted.ensureDeferred
async def test_tls(large: Path) -> None:
    """Over TLS a file is encrypted like anything else, and HTTP/1.1 is what is spoken."""
    from twisted.internet import reactor

    certificate = self_signed()
    root = Root(sender(lambda: FileSource(large.open("rb")), 40 * MIB))
    files = FileSender(reactor=reactor, threads=1)
    await files.start()
    site = make_site(root, reactor=FakeClock(), sender=files)
    assert site.acceptableProtocols() == [b"http/1.1"]
    endpoint = SSL4ServerEndpoint(reactor, 0, certificate.options(), interface="127.0.0.1")
    port = await endpoint.listen(site)
    plain = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client: RawClient = await patient(connectProtocol(wrapClientTLS(ssl.CertificateOptions(), plain), RawClient()))
    client.send(GET)
    assert (await client.response()).body == content(large)
    (channel,) = site._counted
    assert channel.isSecure()
    assert not channel.sends_regions
    client.send(b"nonsense\r\n\r\n")
    assert (await client.response()).status == 400
    client.transport.loseConnection()
    await client.lost.wait()
    await Server(site, root, FakeClock(), port.getHost()).leave()
    await port.stopListening()
    await files.stop()


def self_signed() -> ssl.PrivateCertificate:
    """Make a certificate for this test."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    now = datetime.now(UTC)
    builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    pem = Encoding.PEM
    secret = key.private_bytes(pem, PrivateFormat.PKCS8, NoEncryption())
    loaded: ssl.PrivateCertificate = ssl.PrivateCertificate.loadPEM(
        secret + builder.sign(key, SHA256()).public_bytes(pem)
    )
    return loaded
