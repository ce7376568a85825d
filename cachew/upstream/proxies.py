"""Which proxy leads to a URL, if any, what it has to be shown, and requests that go through one.

What leaves through a proxy is resolved and connected to by the proxy: the check of addresses
(:mod:`cachew.upstream.agent`) and git's pinned ones can't be made for it. Names are judged as ever, and addresses that
stand in a URL.
"""

import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from cachew.plumbing.errors import CredentialUnavailable
from cachew.upstream.hosts import DEFAULT_PORTS, AddressRefused, Hosts, origin

_USER_AND_PASSWORD = re.compile(r"[^:\x00-\x20][^\x00-\x1f:]*:[^\x00-\x1f]*")


@dataclass(frozen=True)
class Proxy:
    """A proxy that speaks HTTP.

    :param url: where it is: scheme, host and port.
    :param credentials: returns ``USER:PASSWORD``, None when it wants none.
    """

    url: str
    credentials: Callable[[], Awaitable[str | None]] = field(repr=False, compare=False)

    @property
    def address(self) -> tuple[str, int]:
        """Its host and port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]

    async def authorization(self) -> bytes | None:
        """Return the ``Proxy-Authorization`` that it has to be shown (RFC 9110, section 11.7.2).

        :raise CredentialUnavailable: when it can't be had.
        """
        known = await self.credentials()
        return None if known is None else b"Basic " + b64encode(known.encode())

    async def url_for_git(self) -> str:
        """Return its URL with user and password, as curl takes them from the configuration of git.

        :raise CredentialUnavailable: when they can't be had.
        """
        known = await self.credentials()
        if known is None:
            return self.url
        user, _, password = known.partition(":")
        parts = urlsplit(self.url)
        return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()


class CredentialsFile:
    """``USER:PASSWORD`` in a file, read each time, so that a new password is taken up at once.

    :param path: the file; white space at its ends doesn't count.
    :param in_thread: runs the reading.
    """

    def __init__(self, path: Path, in_thread: Callable[[Callable[[], str]], Awaitable[str]]) -> None:
        self._path = path
        self._in_thread = in_thread

    async def __call__(self) -> str:
        """Return them.

        :raise CredentialUnavailable: when the file can't be read or holds something else.
        """
        try:
            text = (await self._in_thread(self._path.read_text)).strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not text"
            raise CredentialUnavailable(str(self._path), f"the proxy's credentials file: {reason}") from None
        if not _USER_AND_PASSWORD.fullmatch(text):
            raise CredentialUnavailable(str(self._path), "the proxy's credentials file does not hold USER:PASSWORD")
        return text


async def no_credentials() -> None:
    """Return nothing: the proxy wants nothing."""


class Proxies:
    """Says of each URL through which proxy it is reached.

    :param default: the proxy of whatever has none of its own; None for none.
    :param direct: hosts that the default proxy is not for: names, which stand for what lies below them too, addresses,
        networks, ``*`` for all, each with a port or without.
    :param own: proxies of single upstreams by URL, None for those that are reached directly.
    """

    def __init__(
        self,
        *,
        default: Proxy | None = None,
        direct: Iterable[str] = (),
        own: Mapping[str, Proxy | None] | None = None,
    ) -> None:
        self.replace(default=default, direct=direct, own=own or {})

    def replace(self, *, default: Proxy | None, direct: Iterable[str], own: Mapping[str, Proxy | None]) -> None:
        """Take these ways from now on."""
        self._default = default
        self._direct = tuple(entry.strip().lower() for entry in direct if entry.strip())
        self._own = {origin(url): proxy for url, proxy in own.items()}

    def of(self, url: str) -> Proxy | None:
        """Return the proxy to a URL, None when it is reached directly."""
        where = origin(url)
        if where in self._own:
            return self._own[where]
        _, host, port = where
        if self._default is None or _is_loopback(host) or any(_covers(entry, host, port) for entry in self._direct):
            return None
        return self._default


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _covers(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    name, colon, at = entry.rpartition(":")
    if colon and at.isdecimal() and ("]" in name or ":" not in name):
        if int(at) != port:
            return False
        entry = name
    entry = entry.strip("[]")
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        bare = entry.removeprefix("*").removeprefix(".")
        return host == bare or host.endswith(f".{bare}")


@implementer(IAgent)
class ThroughProxies:
    """Sends requests for http URLs to their proxy (RFC 9112, section 3.2.2), and all others as another agent does.

    :param proxies: the proxies.
    :param direct: the other agent.
    :param hosts: says which hosts may have private addresses.
    :param way: the endpoint at which a proxy is.
    :param reactor: the reactor.
    :param pool: kept connections to proxies.
    """

    def __init__(
        self,
        *,
        proxies: Proxies,
        direct: IAgent,
        hosts: Hosts,
        way: Callable[[Proxy], IStreamClientEndpoint],
        reactor: Any,
        pool: HTTPConnectionPool,
    ) -> None:
        self._proxies = proxies
        self._direct = direct
        self._hosts = hosts
        self._way = way
        self._reactor = reactor
        self._pool = pool
        self._agents: dict[str, ProxyAgent] = {}

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[IResponse]:
        """Send a request, see :class:`IAgent`."""
        url = uri.decode("ascii")
        proxy = self._proxies.of(url) if url.lower().startswith("http:") else None
        if proxy is None:
            return self._direct.request(method, uri, headers, bodyProducer)
        _, host, port = origin(url)
        if self._hosts.withholds(host, port):
            return fail(AddressRefused(f"{host} is not a public address"))
        return Deferred.fromCoroutine(self._through(proxy, method, uri, headers, bodyProducer))

    async def _through(
        self, proxy: Proxy, method: bytes, uri: bytes, headers: Headers | None, body: IBodyProducer | None
    ) -> IResponse:
        shown = headers.copy() if headers is not None else Headers()
        if (authorization := await proxy.authorization()) is not None:
            shown.setRawHeaders(b"Proxy-Authorization", [authorization])
        agent = self._agents.get(proxy.url)
        if agent is None:
            agent = self._agents[proxy.url] = ProxyAgent(self._way(proxy), self._reactor, self._pool)
        response: IResponse = await agent.request(method, uri, shown, body)
        return response


class Pinned(Protocol):
    """Says where git may connect to."""

    async def git_environment(self, url: str) -> Mapping[str, str]:
        """Return what tells a git child."""


class GitConnections:
    """Tells git children how to reach their upstream: through its proxy, or at the addresses that were judged.

    :param proxies: the proxies.
    :param pins: says where git may connect to by itself.
    """

    def __init__(self, *, proxies: Proxies, pins: Pinned) -> None:
        self._proxies = proxies
        self._pins = pins

    async def git_environment(self, url: str) -> Mapping[str, str]:
        """Return what to add to a git child's environment.

        :raise UpstreamError: when the upstream may not be connected to, or the proxy's credentials can't be had.
        """
        proxy = self._proxies.of(url)
        if proxy is None:
            return await self._pins.git_environment(url)
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.proxy",
            "GIT_CONFIG_VALUE_0": await proxy.url_for_git(),
        }
