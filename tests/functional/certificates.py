"""A certificate authority for tests over HTTPS."""

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate


class Authority:
    """Signs certificates for loopback servers.

    :param directory: where its own certificate is written, as ``authority.pem``, for clients to trust.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "authority.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority of the tests")])
        own = self._certificate(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))
        self.path.write_bytes(own.public_bytes(serialization.Encoding.PEM))

    def server_options(self, *names: str) -> CertificateOptions:
        """Return the TLS settings of a server; see :meth:`server_pem`."""
        options: CertificateOptions = PrivateCertificate.loadPEM(self.server_pem(*names)).options()
        return options

    def gate_options(self) -> CertificateOptions:
        """Return the TLS settings of a server that lets nobody in without a certificate of this authority."""
        own = PrivateCertificate.loadPEM(self.server_pem())
        options: CertificateOptions = own.options(Certificate.loadPEM(self.path.read_bytes()))
        return options

    def server_pem(self, *names: str) -> bytes:
        """Return the certificate and the key of a server.

        :param names: the host names and addresses it answers for; by default those of the loopback interface.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        entries = [general_name(name) for name in names or ("localhost", "127.0.0.1")]
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        certificate = self._certificate(subject, key, x509.SubjectAlternativeName(entries))
        return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if isinstance(extension, x509.BasicConstraints):
            builder = builder.add_extension(key_usage_of_an_authority(), critical=True)
        else:
            uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def general_name(name: str) -> x509.GeneralName:
    """Return a host name or an address as a certificate holds it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def key_usage_of_an_authority() -> x509.KeyUsage:
    """Return the right to sign certificates and nothing else."""
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
