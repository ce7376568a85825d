"""One HTTP/1.1 connection with its requests, as twisted.web's requests want it.

twisted.web's own channel hands a request to its resource only when its whole body has been spooled. This one does it
when the head is in, so that bodies stream with back-pressure, uploads are refused before they are sent, and every cap
holds while bytes come in. The order of requests is :mod:`cachew.http.requestsequence`'s.

The end of a client's input is its leaving, though it may have closed only its side: TCP shows both alike until
something is written, and what is made for clients that have left has to end before that.
"""

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from cachew.http.connection import Connection
from cachew.http.heads import HeadRefused
from cachew.http.limits import Limits
from cachew.http.outgoing import left_behind
from cachew.http.requests import StreamingRequest
from cachew.http.requestsequence import RequestSequence
from cachew.plumbing.errors import ClientGone


class Channel(Connection):
    """Speaks HTTP/1.1 over one transport and offers requests what twisted.web's requests ask of a channel.

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
