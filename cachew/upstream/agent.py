"""Connections to upstreams: pooled, verified, and only to addresses that may be talked to."""

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from urllib.parse import urlsplit

from OpenSSL.SSL import Error as SSLError
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.error import SchemeNotSupported
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from cachew.plumbing.logs import REQUEST_ID, request_id
from cachew.upstream.checked_endpoint import CheckedEndpoint
from cachew.upstream.hosts import AddressRefused, Hosts
from cachew.upstream.proxies import Proxies, Proxy, ThroughProxies
from cachew.upstream.responseheads import GenerousPool
from cachew.upstream.tlsfiles import TlsFiles
from cachew.upstream.tunnel import TunnelEndpoint
from cachew.upstream.useragent import TracedAgent

KEPT_PER_HOST = 64
"""Idle connections kept for one upstream."""
KEPT_FOR = 45
"""Seconds that an idle connection is kept; less than the usual servers and load balancers keep theirs."""


NO_PROXIES = Proxies()
"""All upstreams are reached directly."""
NO_FILES = TlsFiles()
"""What the system trusts is trusted, and nothing is shown."""


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Makes the endpoint for a URL.

    :param reactor: the reactor.
    :param hosts: says which hosts may have private addresses.
    :param timeout: seconds that connecting may take.
    :param tls: what is trusted and shown in TLS.
    :param proxies: what leads to them.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        hosts: Hosts,
        timeout: float,
        tls: TlsFiles = NO_FILES,
        proxies: Proxies = NO_PROXIES,
    ) -> None:
        self._reactor = reactor
        self._hosts = hosts
        self._timeout = timeout
        self._proxies = proxies
        self._files = tls
        self._tls = lru_cache(maxsize=256)(tls.connecting)

    def _within_tls(self, host: bytes, port: int, endpoint: IStreamClientEndpoint) -> IStreamClientEndpoint:
        try:
            name = host.decode("ascii")
            creator = self._tls(name, port, self._files.version(name, port))
        except (SSLError, UnicodeError) as error:
            return RefusedEndpoint(error)
        wrapped: IStreamClientEndpoint = wrapClientTLS(creator, endpoint)
        return wrapped

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint, see :class:`IAgentEndpointFactory`.

        :raise SchemeNotSupported: for anything but http and https.
        """
        if uri.scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"unsupported scheme {uri.scheme!r}")
        endpoint = self._endpoint(uri)
        if uri.scheme == b"http":
            return endpoint
        return self._within_tls(uri.host, uri.port, endpoint)

    def _endpoint(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        private = self._hosts.may_be_private(host, uri.port)
        proxy = self._proxies.of(uri.toBytes().decode("ascii"))
        if proxy is not None and uri.scheme == b"https":
            if self._hosts.withholds(host, uri.port):
                return RefusedEndpoint(AddressRefused(f"{host} is not a public address"))
            return TunnelEndpoint(proxy=proxy, way=self.way_to(proxy), host=host, port=uri.port)
        return CheckedEndpoint(
            reactor=self._reactor,
            host=host,
            port=uri.port,
            timeout=self._timeout,
            private=private,
            answered=partial(self._hosts.answering.note, host, uri.port),
        )

    def way_to(self, proxy: Proxy) -> IStreamClientEndpoint:
        """Return the endpoint at which a proxy is, whose address is the operator's word."""
        host, port = proxy.address
        endpoint = CheckedEndpoint(reactor=self._reactor, host=host, port=port, timeout=self._timeout, private=True)
        if urlsplit(proxy.url).scheme == "http":
            return endpoint
        return self._within_tls(host.encode("ascii"), port, endpoint)


@implementer(IStreamClientEndpoint)
class RefusedEndpoint:
    """Connects nowhere.

    :param reason: why.
    """

    def __init__(self, reason: Exception) -> None:
        self._reason = reason

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fail."""
        return fail(self._reason)


@implementer(IAgent)
class NamedAgent:
    """Sends requests like another agent, each with a ``User-Agent`` and the id of the request that it is for.

    :param agent: the other.
    :param name: the ``User-Agent`` of requests that have none.
    """

    def __init__(self, agent: IAgent, name: str) -> None:
        self._agent, self._name = agent, name.encode("ascii")

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Send a request, see :class:`IAgent`."""
        sent = Headers() if headers is None else headers.copy()
        if not sent.hasHeader(b"User-Agent"):
            sent.addRawHeader(b"User-Agent", self._name)
        if identifier := request_id():
            sent.setRawHeaders(REQUEST_ID, [identifier])
        return self._agent.request(method, uri, sent, bodyProducer)


@dataclass(frozen=True)
class Agents:
    """The two ways to send a request.

    :param pooled: over kept connections.
    :param single_use: each over a connection of its own, for bodies that can't be sent twice: a kept connection may
        be closed by its server in the moment in which it is used.
    """

    pooled: IAgent
    single_use: IAgent
    pool: HTTPConnectionPool

    async def stop(self) -> None:
        """Close the kept connections."""
        await self.pool.closeCachedConnections()


def make_agents(
    *,
    reactor: Any,
    hosts: Hosts,
    connect_timeout: float,
    user_agent: str,
    tls: TlsFiles = NO_FILES,
    proxies: Proxies = NO_PROXIES,
    traced: bool = False,
) -> Agents:
    """Make the agents for talking to upstreams.

    :param hosts: says which hosts may have private addresses.
    :param connect_timeout: seconds that connecting may take, name resolution included.
    :param user_agent: what this server calls itself where no client is asked for.
    :param tls: what is trusted and shown in TLS.
    :param proxies: what leads to upstreams.
    :param traced: whether requests are parts of traces.
    """
    endpoints = Endpoints(reactor=reactor, hosts=hosts, timeout=connect_timeout, tls=tls, proxies=proxies)

    def agent(pool: HTTPConnectionPool) -> IAgent:
        direct = Agent.usingEndpointFactory(reactor, endpoints, pool=pool)
        through = ThroughProxies(
            proxies=proxies, direct=direct, hosts=hosts, way=endpoints.way_to, reactor=reactor, pool=pool
        )
        named = NamedAgent(through, user_agent)
        return TracedAgent(named) if traced else named

    pool = GenerousPool(reactor, persistent=True)
    pool.maxPersistentPerHost = KEPT_PER_HOST
    pool.cachedConnectionTimeout = KEPT_FOR
    single = GenerousPool(reactor, persistent=False)
    return Agents(agent(pool), agent(single), pool)
