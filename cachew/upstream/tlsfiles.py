"""What is trusted and shown in TLS with upstreams, by files of the operator's.

Making a TLS context reads the system's certificates, which takes milliseconds; who needs one keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL.SSL import Context
from OpenSSL.SSL import Error as SSLError
from twisted.internet import ssl
from twisted.internet._sslverify import IOpenSSLTrustRoot
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from zope.interface import implementer


@implementer(IOpenSSLTrustRoot)
class SystemAndFile:
    """Trusts what the system trusts and the certificates of one more file.

    :param path: a PEM file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def _addCACertsToContext(self, context: Context) -> None:
        context.set_default_verify_paths()
        context.load_verify_locations(str(self._path))


@dataclass(frozen=True)
class TlsFiles:
    """The operator's files.

    :param authorities: host, as in a URL without its port, to certificates to trust there besides the system's.
    :param own: host and port to the certificate that is shown there, with its chain and key in one PEM file.
    """

    authorities: Mapping[str, Path] = field(default_factory=dict)
    own: Mapping[tuple[str, int], Path] = field(default_factory=dict)

    def version(self, host: str, port: int) -> int:
        """Return what changes when what is shown to a host is replaced: such certificates are short-lived."""
        own = self.own.get((host, port))
        try:
            return 0 if own is None else own.stat().st_mtime_ns
        except OSError:
            return -1

    def connecting(self, host: str, port: int, version: int) -> IOpenSSLClientConnectionCreator:
        """Return what begins TLS with a host (blocking).

        :param version: tells it from what :meth:`version` gave another number for.
        :raise OpenSSL.SSL.Error: when a file can't be read, or holds something else.
        """
        authority, own = self.authorities.get(host), self.own.get((host, port))
        creator: IOpenSSLClientConnectionCreator = ssl.optionsForClientTLS(
            host,
            trustRoot=ssl.platformTrust() if authority is None else SystemAndFile(authority),
            extraCertificateOptions=None if own is None else _shown(own),
        )
        make = getattr(creator, "_createConnection", None)
        if make is not None:
            # Newer releases of Twisted make the context when there is a connection, where its failure is nobody's; made
            # now, it is the request's.
            make.__self__.getContext()
        return creator


def _shown(file: Path) -> dict[str, Any]:
    try:
        content = file.read_bytes()
        key, (first, *chain) = load_pem_private_key(content, None), load_pem_x509_certificates(content)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):
        raise SSLError([("", "", f"{file} holds no certificate and key that can be read")]) from None
    return {"privateKey": key, "certificate": first, "extraCertChain": chain}
