"""Names of hosts, looked up in threads by the system: whatever fails there is told as a name without addresses.

Twisted's own resolver knows one kind of failure. A machine that has no descriptor left fails in another way, and who
wanted to connect would hear nothing at all until his patience ends.
"""

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cachew.plumbing.threads import in_pool

_KINDS: dict[int, Any] = {
    socket.AF_INET: IPv4Address,
    socket.AF_INET6: IPv6Address,
}


@implementer(IHostResolution)
class Resolution:
    """A name that is being looked up; that can't be broken off.

    :param name: the name.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def cancel(self) -> None:
        """Nothing can be done."""


@implementer(IHostnameResolver)
class Resolver:
    """Looks names up.

    :param reactor: the reactor, with its pool of threads.
    :param getaddrinfo: asks the system; see :func:`socket.getaddrinfo`.
    """

    log = Logger()

    def __init__(self, *, reactor: Any, getaddrinfo: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._reactor, self._getaddrinfo = reactor, getaddrinfo

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Look a name up, see :class:`IHostnameResolver`."""
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        kind = socket.SOCK_DGRAM if transportSemantics == "UDP" else socket.SOCK_STREAM
        ask = partial(self._getaddrinfo, hostName, portNumber, _family(addressTypes), kind)
        asked: Deferred[Any] = in_pool(self._reactor, self._reactor.getThreadPool(), ask)
        asked.addErrback(self._failed, hostName)
        asked.addCallback(self._tell, resolutionReceiver, transportSemantics)
        asked.addErrback(
            lambda failure: self.log.failure("telling the addresses of {name} failed", failure, name=hostName)
        )
        return resolution

    def _failed(self, failure: Failure, name: str) -> Sequence[Any]:
        failure.trap(OSError, UnicodeError)
        if not failure.check(socket.gaierror):
            self.log.warn("{name} can't be looked up: {error}", name=name, error=failure.getErrorMessage())
        return ()

    def _tell(self, found: Sequence[Any], receiver: IResolutionReceiver, transport: str) -> None:
        for family, _, _, _, address in found:
            if family in _KINDS:
                receiver.addressResolved(_KINDS[family](transport, *address))
        receiver.resolutionComplete()


def _family(kinds: Sequence[type[IAddress]] | None) -> int:
    """Return the family of addresses that is wanted; any when both are."""
    wanted = set(kinds or _KINDS.values())
    if wanted == {IPv4Address}:
        return socket.AF_INET
    return socket.AF_INET6 if wanted == {IPv6Address} else socket.AF_UNSPEC
