"""Connections to addresses that may be talked to.

The check is made on the very addresses that are then connected to, after name resolution, so a name that resolves to
something else a moment later gains nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from cachew.upstream.hosts import AddressRefused, is_public_address

_STAND_IN = "host.invalid"


@implementer(IHostnameResolver)
class PublicOnly:
    """Resolves like another resolver and withholds every address that is not public.

    :param resolver: the other.
    """

    def __init__(self, resolver: IHostnameResolver) -> None:
        self._resolver = resolver
        self.withheld = 0

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Resolve a name, see :class:`IHostnameResolver`."""
        receiver = _PublicReceiver(resolutionReceiver, self)
        return self._resolver.resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)


@implementer(IResolutionReceiver)
class _PublicReceiver:
    def __init__(self, receiver: IResolutionReceiver, owner: PublicOnly) -> None:
        self._receiver, self._owner = receiver, owner

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: Any) -> None:
        if is_public_address(address.host):
            self._receiver.addressResolved(address)
        else:
            self._owner.withheld += 1

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


@implementer(IHostnameResolver)
class _OneHost:
    """Resolves one host by another resolver, whatever it is asked for.

    :class:`HostnameEndpoint` takes no name that is none of the public internet, as those that container engines give
    (``git_server``) and that git connects to.

    :param resolver: the other.
    :param host: the host.
    """

    def __init__(self, resolver: IHostnameResolver, host: str) -> None:
        self._resolver, self._host = resolver, host

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Resolve the host, see :class:`IHostnameResolver`."""
        return self._resolver.resolveHostName(
            resolutionReceiver, self._host, portNumber, addressTypes, transportSemantics
        )


@implementer(IReactorPluggableNameResolver)
class _Resolving:
    """A reactor with another name resolver, as :class:`HostnameEndpoint` wants it."""

    def __init__(self, reactor: Any, resolver: IHostnameResolver) -> None:
        self._reactor = reactor
        self.nameResolver = resolver

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        previous, self.nameResolver = self.nameResolver, resolver
        return previous

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


@implementer(IStreamClientEndpoint)
class CheckedEndpoint:
    """Connects to a host by name, to its public addresses only, within a time that includes name resolution.

    :param reactor: the reactor.
    :param host: the host's name or address.
    :param port: its port.
    :param timeout: seconds that connecting may take.
    :param private: whether its addresses may be private.
    :param answered: is told the address that was connected to.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        host: str,
        port: int,
        timeout: float,
        private: bool,
        answered: Callable[[str], object] = lambda address: None,
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout = timeout
        self._private = private
        self._answered = answered

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect, see :class:`IStreamClientEndpoint`."""
        public = PublicOnly(self._reactor.nameResolver)
        resolver = _OneHost(self._reactor.nameResolver if self._private else public, self._host)
        endpoint = HostnameEndpoint(_Resolving(self._reactor, resolver), _STAND_IN, self._port, self._timeout)

        def explain(failure: Failure) -> Failure:
            if not failure.check(DNSLookupError):
                return failure
            if public.withheld:
                return Failure(AddressRefused(f"{self._host} has no public address"))
            return Failure(DNSLookupError(f"{self._host} has no address"))

        def too_slow(result: Any, seconds: float) -> Any:
            # Twisted calls an attempt that is given up cancelled, as if nobody waited for it any more.
            return Failure(ConnectTimeout(f"not within {seconds:g} s")) if isinstance(result, Failure) else result

        def note(protocol: Any) -> Any:
            if (peer := getattr(protocol.transport, "getPeer", None)) is not None:
                self._answered(peer().host)
            return protocol

        connected: Deferred[IProtocol] = endpoint.connect(protocolFactory)
        return connected.addTimeout(self._timeout, self._reactor, too_slow).addCallbacks(note, explain)
