"""Names of hosts, and what becomes of those who ask for them when looking up fails."""

import errno
import os
import socket
from collections.abc import Sequence
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import DNSLookupError
from twisted.internet.interfaces import IHostResolution, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import capturedLogs
from zope.interface import implementer

from cachew.plumbing.resolver import Resolver


@implementer(IResolutionReceiver)
class Asker:
    """Who wants to know."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.found: list[Any] = []
        self.complete: Deferred[None] = Deferred()

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """Note the name."""
        self.names.append(resolutionInProgress.name)

    def addressResolved(self, address: Any) -> None:
        """Note an address."""
        self.found.append(address)

    def resolutionComplete(self) -> None:
        """That was all."""
        self.complete.callback(None)


async def looked_up(resolver: Resolver, name: str, kinds: Sequence[Any] | None = None) -> list[Any]:
    """Look a name up."""
    asker = Asker()
    resolver.resolveHostName(asker, name, 80, kinds)
    await asker.complete
    assert asker.names == [name]
    return asker.found


@pytest_twisted.ensureDeferred
async def test_addresses_are_told() -> None:
    """Those of the kinds that are wanted, as the system gives them."""
    resolver = Resolver(reactor=reactor)
    assert await looked_up(resolver, "127.0.0.1") == [IPv4Address("TCP", "127.0.0.1", 80)]
    (found,) = await looked_up(resolver, "::1", [IPv6Address])
    assert (found.host, found.port) == ("::1", 80)
    assert await looked_up(resolver, "::1", [IPv4Address]) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("failure", "lines"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), 0),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), 1),
        (UnicodeError("label too long"), 1),
    ],
)
async def test_whatever_fails_is_told_at_once(failure: Exception, lines: int) -> None:
    """Who wants to connect hears of it as of a name without addresses; what is the machine's own fault is logged."""

    def fail(*words: Any) -> None:
        raise failure

    resolver = Resolver(reactor=reactor, getaddrinfo=fail)
    with capturedLogs() as logs:
        assert await looked_up(resolver, "git.example") == []
    assert len(logs) == lines


@pytest_twisted.ensureDeferred
async def test_a_connection_fails_at_once_that_has_no_descriptor_for_its_name() -> None:
    """It waits for no time-out."""

    class Without:
        """The reactor, with another resolver."""

        def __init__(self) -> None:
            self.nameResolver = Resolver(reactor=reactor, getaddrinfo=self.fail)

        def fail(self, *words: Any) -> None:
            """Have no descriptor."""
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        def __getattr__(self, name: str) -> Any:
            return getattr(reactor, name)

    with pytest.raises(DNSLookupError):
        await HostnameEndpoint(Without(), "git.example", 80, 30).connect(Factory.forProtocol(Protocol))
