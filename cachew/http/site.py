"""The site: accepts connections within the limits, gives each its channel and knows those that are open.

twisted.web's own channel hands a request to its resource only when its whole body has been spooled. The one here does
it when the head is in, so that bodies stream with back-pressure, uploads are refused before they are sent, and every
cap holds while bytes come in. The order of requests is :mod:`cachew.http.requestsequence`'s.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.http_headers import Headers

from cachew.http.collecting import BodyStore
from cachew.http.connection import Connection
from cachew.http.filesender import FileSender
from cachew.http.heads import HeadRefused
from cachew.http.limits import Limits
from cachew.http.outgoing import left_behind
from cachew.http.requests import StreamingRequest, address_in_words
from cachew.http.requestsequence import RequestSequence
from cachew.plumbing.errors import ClientGone
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


class Channel(Connection):
    """Speaks HTTP/1.1 over one transport and offers requests what twisted.web's requests ask of a channel.

    The end of a client's input is its leaving, though it may have closed only its side: TCP shows both alike until
    something is written, and what is made for clients that have left has to end before that.

    :param site: makes the requests and is told when the connection ends.
    :param limits: the bounds.
    :param reactor: gives the timers.
    :param refusal: what this connection is turned away with, None when it is served.

    :ivar requests: those that come over it.
    """

    def __init__(self, *, site: Any, limits: Limits, reactor: IReactorTime, refusal: HeadRefused | None = None) -> None:
        super().__init__(limits=limits, reactor=reactor, sender=site.sender)
        self.site = self.factory = site
        self._reactor = reactor
        self._refusal = refusal
        self._abandoned: tuple[StreamingRequest, Failure] | None = None
        self.requests = RequestSequence(connection=self, limits=limits, make_request=lambda: site.requestFactory(self))

    def connectionMade(self) -> None:
        """Begin."""
        super().connectionMade()
        if self._refusal is not None:
            self.refuse(self._refusal)
        else:
            self.requests.begin()

    def dataReceived(self, data: bytes) -> None:
        """Take input."""
        if self.serves:
            self.requests.take(data)
        elif self.open:
            self.drop(data)

    def linger(self) -> None:
        """Serve no more; what has come is dropped."""
        self.requests.pending = b""
        super().linger()

    def close(self) -> None:
        """Close once the output has left; what has come is dropped."""
        self.requests.pending = b""
        super().close()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End: the request under way is told, then whoever reads its body."""
        self.ended()
        request, self.requests.current = self.requests.current, None
        if request is not None:
            request.sentLength = max(0, request.sentLength - left_behind(self.transport))
            if self._transfer is None:
                request.connectionLost(reason)
            else:
                # A client that has all it wants may close before the thread that sends it is heard.
                self._transfer.break_off()
                self._abandoned = request, reason
        if self.requests.reception is not None:
            self.requests.reception.body.fail(ClientGone("the client went away"))
        self.site.connection_ended(self)

    def _region_ended(self) -> None:
        """Tell the request whose client has gone meanwhile, after whoever sent the region has heard of its end."""
        abandoned, self._abandoned = self._abandoned, None
        if abandoned is not None:
            self._reactor.callLater(0, _tell_lost, *abandoned)

    def _drained(self) -> None:
        self.requests.output_has_left()

    def retire(self) -> None:
        """Close now if no request is under way, after the answer if one is."""
        self.requests.retire()

    def loseConnection(self) -> None:
        """Close once what was written has left."""
        self.close()

    def requestDone(self, request: StreamingRequest) -> None:
        """Take note that the answer is out."""
        self.requests.done(request)

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer and settle whether the connection outlives it."""
        closes = b"close" in [value.lower() for value in headers.getRawHeaders(b"Connection", ())]
        if not self.requests.goes_on_after(int(code), closes=closes):
            headers.setRawHeaders(b"Connection", [b"close"])
        elif self._limits.idle_timeout >= 1:
            headers.setRawHeaders(b"Keep-Alive", [b"timeout=%d" % self._limits.idle_timeout])
        self.write_head(version, code, reason, headers)


def _tell_lost(request: StreamingRequest, reason: Failure) -> None:
    """Tell a request that its client has gone, unless all of its answer had left before."""
    if not request.finished:
        request.connectionLost(reason)


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
