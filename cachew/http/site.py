"""The site: accepts connections within the limits, gives each its channel and knows those that are open."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web import http, server

from cachew.http.channel import Channel
from cachew.http.collecting import BodyStore
from cachew.http.filesender import FileSender
from cachew.http.heads import HeadRefused
from cachew.http.limits import Limits
from cachew.http.requests import StreamingRequest, address_in_words
from cachew.plumbing.waiters import Waiters

_TURNED_AWAY_AT_ONCE = 64


class Census:
    """Counts the connections that are open, in all and by address.

    :param limits: how many there may be.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses: dict[str, int] = {}
        self.total = 0

    def admit(self, address: str) -> bool:
        """Count one more connection, unless that would be too many.

        :return: whether it was counted; then :meth:`leave` is owed.
        """
        here = self._addresses.get(address, 0)
        if self.total >= self._limits.connections or here >= self._limits.connections_per_address:
            return False
        self.total += 1
        self._addresses[address] = here + 1
        return True

    def leave(self, address: str) -> None:
        """Count one connection less."""
        self.total -= 1
        here = self._addresses[address] - 1
        if here:
            self._addresses[address] = here
        else:
            del self._addresses[address]


class StreamingSite(server.Site):
    """Accepts connections within the limits and knows those that are open.

    :param resource: the root resource.
    :param reactor: where time comes from.
    :param limits: the bounds.
    :param sender: sends what lies in files.
    :param bodies: where bodies are collected that are needed whole.
    :param client_of: names a request's client, whom its body is put down to.
    """

    noisy = False

    def __init__(
        self,
        resource: Any,
        *,
        reactor: IReactorTime,
        limits: Limits,
        sender: FileSender | None,
        bodies: BodyStore,
        client_of: Callable[[Any], str],
    ) -> None:
        super().__init__(resource, requestFactory=StreamingRequest, reactor=reactor)
        self.sender = sender
        self.bodies = bodies
        self.client_of = client_of
        self._limits = limits
        self._census = Census(limits)
        self._counted: dict[Channel, str] = {}
        self._refused: set[Channel] = set()
        self._retiring = False
        self._emptied = Waiters()

    @property
    def connections(self) -> int:
        """How many connections are open, those that are being turned away left out."""
        return self._census.total

    def buildProtocol(self, addr: IAddress | None) -> Channel | None:  # type: ignore[override]
        """Make the channel of a new connection; one over the limits is answered 503, a flood of those not at all."""
        address = address_in_words(addr)
        if not self._retiring and self._census.admit(address):
            channel = Channel(site=self, limits=self._limits, reactor=self.reactor)
            self._counted[channel] = address
            return channel
        if len(self._refused) >= _TURNED_AWAY_AT_ONCE:
            return None
        refusal = HeadRefused(503, "too many connections, try again later", [(b"Retry-After", b"5")])
        channel = Channel(site=self, limits=self._limits, reactor=self.reactor, refusal=refusal)
        self._refused.add(channel)
        return channel

    def connection_ended(self, channel: Channel) -> None:
        """Take note that a connection is gone."""
        self._refused.discard(channel)
        if (address := self._counted.pop(channel, None)) is not None:
            self._census.leave(address)
        if self._retiring and not self._counted and not self._refused:
            self._emptied.wake()

    def retire(self) -> Deferred[None]:
        """Close idle connections now, the others after the answer under way, and turn new ones away.

        :return: fires when no connection is left; cancelling it gives up the wait only.
        """
        self._retiring = True
        for channel in list(self._counted):
            channel.retire()
        if not self._counted and not self._refused:
            return succeed(None)
        return self._emptied.wait()

    def abort_connections(self) -> None:
        """Break off every connection."""
        for channel in [*self._counted, *self._refused]:
            channel.abort()

    def acceptableProtocols(self) -> list[bytes]:
        """Offer HTTP/1.1 only."""
        return [b"http/1.1"]

    def startFactory(self) -> None:
        """Open no log file and start no timer."""

    def stopFactory(self) -> None:
        """Nothing was started."""

    def log(self, request: http.Request) -> None:
        """Write no access log; the application logs its requests."""


def make_site(
    resource: Any,
    *,
    reactor: IReactorTime,
    limits: Limits | None = None,
    sender: FileSender | None = None,
    bodies: BodyStore | None = None,
    client_of: Callable[[Any], str] = lambda request: request.remote_address,
) -> StreamingSite:
    """Make the site that serves a resource.

    :param resource: the root resource.
    :param reactor: where time comes from.
    :param limits: the bounds, the defaults when None.
    :param sender: sends what lies in files; without it, files are read in pieces like anything else.
    :param bodies: where bodies are collected that are needed whole; the system's directory when None.
    :param client_of: names a request's client, whom its body is put down to.
    """
    return StreamingSite(
        resource,
        reactor=reactor,
        limits=limits or Limits(),
        sender=sender,
        bodies=bodies or BodyStore(),
        client_of=client_of,
    )
