"""Endpoints to serve on: Twisted's own descriptions, and TLS with certificates that are replaced while it runs.

``tls:PORT:certificate=FILE:key=FILE:interface=ADDRESS`` serves TLS 1.2 and later with a PEM file of the certificate and
its chain. The files are looked at with each new connection, and read when one has changed; what can't be used leaves
the old certificate in place and is said in the log. Without ``key`` the certificate's file holds the key as well.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.internet.defer import Deferred, execute
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

_UNESCAPED_COLON = re.compile(r"(?<!\\):")
_PREFIX = "tls:"
_OPTIONS = frozenset({"certificate", "key", "interface", "backlog"})
_BACKLOG = 1024
"""Connections that may wait to be accepted: whoever finds no place tries again after a second, and a hundred builds
begin at once. The kernel keeps it within its own bound (``net.core.somaxconn``)."""
_WITH_BACKLOG = re.compile(r"(tcp|tcp6|ssl|unix):(?:\\.|[^\\:])+(:[a-zA-Z]+=(?:\\.|[^\\:])*)*")


class CertificateError(Exception):
    """A certificate can't be used."""


def server_endpoint(reactor: Any, description: str) -> IStreamServerEndpoint:
    """Return the endpoint that a description names.

    :raise ValueError: when it is malformed.
    """
    if not description.startswith(_PREFIX):
        endpoint: IStreamServerEndpoint = serverFromString(reactor, _with_backlog(description))
        return endpoint
    port, options = _parsed(description)
    return TlsEndpoint(
        reactor=reactor,
        port=port,
        certificates=_certificates(options),
        interface=options.get("interface", ""),
        backlog=int(options.get("backlog", _BACKLOG)),
    )


def _with_backlog(description: str) -> str:
    """Add how many connections may wait, where a description of Twisted's doesn't say."""
    if ":backlog=" in description or not _WITH_BACKLOG.fullmatch(description):
        return description
    return f"{description}:backlog={_BACKLOG}"


def certificates_of(description: str) -> "Certificates | None":
    """Return the certificate that a description names, None when it has none of this kind.

    :raise ValueError: when it is malformed.
    """
    return _certificates(_parsed(description)[1]) if description.startswith(_PREFIX) else None


def _parsed(description: str) -> tuple[int, dict[str, str]]:
    port, *words = [word.replace("\\:", ":") for word in _UNESCAPED_COLON.split(description[len(_PREFIX) :])]
    options = dict(word.partition("=")[::2] for word in words)
    if not port.isdecimal() or int(port) > 65535:
        raise ValueError("tls: is followed by a port")
    if unknown := options.keys() - _OPTIONS:
        raise ValueError(f"tls: has no {', '.join(sorted(unknown))}; there are {', '.join(sorted(_OPTIONS))}")
    if not options.get("certificate"):
        raise ValueError("tls: needs certificate=FILE")
    return int(port), options


def _certificates(options: Mapping[str, str]) -> "Certificates":
    certificate = Path(options["certificate"])
    return Certificates(certificate=certificate, key=Path(options.get("key") or certificate))


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """A certificate and its key, as their files are now.

    :param certificate: PEM file of the certificate and its chain.
    :param key: PEM file of its key.
    """

    log = Logger()

    def __init__(self, *, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._seen: object = None
        self._context: SSL.Context | None = None

    def load(self) -> None:
        """Read the files.

        :raise CertificateError: when they are of no use.
        """
        try:
            self._seen = self._stamps()
            context = SSL.Context(SSL.TLS_SERVER_METHOD)
            context.set_min_proto_version(SSL.TLS1_2_VERSION)
            context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_RENEGOTIATION)
            context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
            context.use_certificate_chain_file(str(self._certificate))
            context.use_privatekey_file(str(self._key))
            context.check_privatekey()
        except OSError as error:
            raise CertificateError(f"{error.filename}: {error.strerror}") from None
        except SSL.Error as error:
            reason = error.args[0][-1][-1] if error.args and error.args[0] else "it can't be read"
            raise CertificateError(f"the certificate {self._certificate} with {self._key}: {reason}") from None
        self._context = context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Begin TLS, see :class:`IOpenSSLServerConnectionCreator`."""
        self._follow()
        assert self._context is not None
        return SSL.Connection(self._context, None)

    def _follow(self) -> None:
        try:
            if self._stamps() == self._seen:
                return
            self.load()
        except (OSError, CertificateError) as error:
            self.log.error("going on with the old certificate: {error}", error=str(error))
        else:
            self.log.info("read the certificate {path} anew", path=str(self._certificate))

    def _stamps(self) -> object:
        found = [path.stat() for path in (self._certificate, self._key)]
        return [(one.st_mtime_ns, one.st_size, one.st_ino) for one in found]


@implementer(IStreamServerEndpoint)
class TlsEndpoint:
    """Listens on a TCP port and speaks TLS.

    :param reactor: the reactor.
    :param port: the port.
    :param certificates: who the server is.
    :param interface: the address to listen on, empty for all.
    :param backlog: connections that wait to be accepted.
    """

    def __init__(
        self, *, reactor: Any, port: int, certificates: Certificates, interface: str = "", backlog: int = _BACKLOG
    ) -> None:
        self._reactor = reactor
        self._port = port
        self._certificates = certificates
        self._interface, self._backlog = interface, backlog

    def listen(self, protocolFactory: IProtocolFactory) -> "Deferred[IListeningPort]":
        """Listen, see :class:`IStreamServerEndpoint`."""

        def begin() -> IListeningPort:
            self._certificates.load()
            port: IListeningPort = self._reactor.listenSSL(
                self._port, protocolFactory, self._certificates, backlog=self._backlog, interface=self._interface
            )
            return port

        return execute(begin)
