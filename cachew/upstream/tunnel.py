"""Tunnels through a proxy, for https (RFC 9110, section 9.3.6)."""

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from cachew.upstream.proxies import Proxy

_HEAD = 16 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?\r\n")


class ProxyRefused(Exception):
    """A proxy does not connect where it was asked to."""


class _Tunnel(Protocol):
    """Asks a proxy for a tunnel, then is the transport's end for another protocol.

    :param target: ``host:port``.
    :param authorization: what the proxy is shown.
    :param factory: makes that other protocol.
    """

    def __init__(self, target: bytes, authorization: bytes | None, factory: IProtocolFactory) -> None:
        self._target = target
        self._authorization = authorization
        self._factory = factory
        self._head = b""
        self._inner: Any = None
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())
        self.transport: Any = None

    def connectionMade(self) -> None:
        """Ask."""
        shown = b"" if self._authorization is None else b"Proxy-Authorization: %b\r\n" % self._authorization
        self.transport.write(b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n%b\r\n" % (self._target, self._target, shown))

    def dataReceived(self, data: bytes) -> None:
        """Read the proxy's answer, then hand everything on."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, ended, rest = self._head.partition(b"\r\n\r\n")
        if not ended and len(self._head) <= _HEAD:
            return
        status = _STATUS.match(head + b"\r\n") if ended else None
        if status is None or not status[1].startswith(b"2"):
            self._refused(status)
            return
        self._inner = self._factory.buildProtocol(self.transport.getPeer())
        self._inner.makeConnection(self.transport)
        self.opened.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def _refused(self, status: re.Match[bytes] | None) -> None:
        words = b" ".join(filter(None, status.groups())).decode("latin-1") if status else "something that is not HTTP"
        self.transport.abortConnection()
        if not self.opened.called:
            self.opened.errback(ProxyRefused(f"answered {words} to CONNECT"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whoever uses the connection, or waits for it."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(reason)


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connects to a host through a proxy.

    :param proxy: the proxy.
    :param way: the endpoint at which it is.
    :param host: the host to connect to.
    :param port: its port.
    """

    def __init__(self, *, proxy: Proxy, way: IStreamClientEndpoint, host: str, port: int) -> None:
        self._proxy = proxy
        self._way = way
        self._target = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, see :class:`IStreamClientEndpoint`."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        authorization = await self._proxy.authorization()
        made: Any = await self._way.connect(Factory.forProtocol(lambda: _Tunnel(self._target, authorization, factory)))
        opened: IProtocol = await made.opened
        return opened
