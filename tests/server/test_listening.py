"""TLS listeners, whose certificates are replaced while they serve."""

import datetime
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactor
from twisted.internet.threads import deferToThread

from cachew.server.listening import CertificateError, TlsEndpoint, server_endpoint


def write_certificate(path: Path, name: str, *, key: Path | None = None) -> None:
    """Write a self-signed certificate, and its key into the same file or another."""
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(private.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now)
    certificate = builder.not_valid_after(now + datetime.timedelta(days=1)).sign(private, hashes.SHA256())
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    aside = path.with_suffix(".new")
    aside.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + (b"" if key else text))
    if key:
        key.write_bytes(text)
    aside.replace(path)


def served_name(port: int) -> str:
    """Return the name in the certificate that a port shows; blocks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as wrapped:
        certificate = x509.load_der_x509_certificate(wrapped.getpeercert(binary_form=True) or b"")
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


@pytest_twisted.ensureDeferred
async def test_a_new_certificate_is_served_at_once(tmp_path: Path) -> None:
    """A certificate that is replaced is shown to the next client; one that is broken leaves the old in place."""
    from twisted.internet import reactor

    file, key = tmp_path / "a:b.pem", tmp_path / "key.pem"
    write_certificate(file, "first", key=key)
    place = str(file).replace(":", "\\:")
    description = f"tls:0:certificate={place}:key={key}:interface=127.0.0.1"
    port: Any = await server_endpoint(reactor, description).listen(Factory.forProtocol(Protocol))
    try:
        assert await deferToThread(served_name, port.getHost().port) == "first"
        write_certificate(file, "second", key=key)
        assert await deferToThread(served_name, port.getHost().port) == "second"
        file.write_text("nonsense")
        assert await deferToThread(served_name, port.getHost().port) == "second"
        file.unlink()
        assert await deferToThread(served_name, port.getHost().port) == "second"
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_what_can_not_be_used_keeps_it_from_listening(tmp_path: Path) -> None:
    """A certificate without its own key, or none at all, ends the start with its name."""
    from twisted.internet import reactor

    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    write_certificate(one, "one", key=tmp_path / "one.key")
    write_certificate(other, "other", key=tmp_path / "other.key")
    for text in (f"certificate={one}:key={tmp_path / 'other.key'}", f"certificate={tmp_path / 'none.pem'}"):
        with pytest.raises(CertificateError, match=r"one\.pem|none\.pem"):
            await server_endpoint(reactor, f"tls:0:{text}").listen(Factory.forProtocol(Protocol))


@pytest.mark.parametrize(
    "description", ["tls:", "tls:x:certificate=a", "tls:443", "tls:443:certificate=", "tls:443:certificate=a:colour=b"]
)
def test_malformed_descriptions_are_refused(description: str) -> None:
    """A description that does not say port and certificate, or says more, is no endpoint."""
    with pytest.raises(ValueError, match="tls: "):
        server_endpoint(object(), description)


def test_the_key_may_be_in_the_same_file() -> None:
    """Without a key's file the certificate's holds both."""
    assert isinstance(server_endpoint(object(), "tls:443:certificate=a.pem"), TlsEndpoint)


@pytest.mark.parametrize(
    ("description", "backlog"),
    [
        ("tcp:80", 1024),
        ("tcp:80:interface=127.0.0.1", 1024),
        (r"tcp6:80:interface=\:\:1", 1024),
        ("tcp:80:backlog=7:interface=127.0.0.1", 7),
        ("tcp:80:127.0.0.1:7", 7),
        ("tcp:80:127.0.0.1", 50),
        ("unix:/run/cachew:mode=600", 1024),
    ],
)
def test_many_connections_may_wait_to_be_accepted(description: str, backlog: int) -> None:
    """A hundred builds that begin at once find room, where Twisted has fifty and the rest waits for a second."""
    reactor = MemoryReactor()
    server_endpoint(reactor, description).listen(Factory.forProtocol(Protocol))
    listening = [one[3] if len(one) == 5 else one[2] for one in (*reactor.tcpServers, *reactor.unixServers)]
    assert listening == [backlog] or reactor.unixServers[0][2] == backlog
