"""Where git connects to: the public addresses that a host has now, and no others.

git resolves names by itself, after this server has judged them, so a name could lead to another place the second time.
It is therefore told which addresses to use (git-config(1), ``http.curloptResolve``, git 2.37 and later).
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from zope.interface import implementer

from cachew.plumbing.errors import UpstreamTimeout, UpstreamUnreachable
from cachew.upstream.hosts import DEFAULT_PORTS, Hosts, is_public_address


class Pins:
    """Gives git children the addresses of their upstreams.

    :param reactor: resolves names.
    :param hosts: says which hosts may have private addresses; those are left to git.
    :param timeout: seconds that resolving may take.
    """

    def __init__(self, *, reactor: Any, hosts: Hosts, timeout: float) -> None:
        self._reactor = reactor
        self._hosts = hosts
        self._timeout = timeout

    async def git_environment(self, url: str) -> Mapping[str, str]:
        """Return what to add to a git child's environment so that it connects to public addresses only.

        :raise UpstreamUnreachable: when the host has none.
        :raise UpstreamTimeout: when that can't be found out in time.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]
        if self._hosts.may_be_private(host, port):
            return {}
        addresses = [address for address in await self._addresses(url, host) if is_public_address(address)]
        if not addresses:
            raise UpstreamUnreachable(url, f"{host} has no public address")
        ordered = self._hosts.answering.first(host, port, addresses)
        written = ",".join(f"[{address}]" if ":" in address else address for address in ordered)
        return {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "http.curloptResolve",
            "GIT_CONFIG_VALUE_0": f"{host}:{port}:{written}",
        }

    async def _addresses(self, url: str, host: str) -> list[str]:
        receiver = _Receiver()
        self._reactor.nameResolver.resolveHostName(receiver, host)
        try:
            return await receiver.complete.addTimeout(self._timeout, self._reactor)
        except DeferredTimeout:
            raise UpstreamTimeout(url, f"the name {host} was not resolved within {self._timeout:.0f} seconds") from None


@implementer(IResolutionReceiver)
class _Receiver:
    def __init__(self) -> None:
        self._found: list[str] = []
        self.complete: Deferred[list[str]] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Nothing is to be done."""

    def addressResolved(self, address: Any) -> None:
        self._found.append(address.host)

    def resolutionComplete(self) -> None:
        if not self.complete.called:
            self.complete.callback(list(dict.fromkeys(self._found)))
