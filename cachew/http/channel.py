"""One HTTP/1.1 connection: which bytes belong to which request, and when the connection may go on or must end.

twisted.web's own channel hands a request to its resource only when its whole body has been spooled. This one does it
when the head is in, so that bodies stream with back-pressure, uploads are refused before they are sent, and every cap
holds while bytes come in. It answers one request at a time; what a client sends ahead waits in the socket.

The end of a client's input is its leaving, though it may have closed only its side: TCP shows both alike until
something is written, and what is made for clients that have left has to end before that.

The phases: HEAD (between requests or inside a head), BODY (the body still comes in, its request being answered or
already answered), ANSWER (the body is in, the answer is not out), LINGER (the answer is out, nothing more is served,
input is read and dropped for a while so that no reset destroys the answer) and CLOSED.
"""

from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IReactorTime, ITCPTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES, datetimeToString
from twisted.web.http_headers import Headers

from cachew.http.heads import Head, HeadReader, HeadRefused
from cachew.http.incoming import IncomingBody
from cachew.http.limits import Limits
from cachew.http.outgoing import Alarm, Outgoing
from cachew.http.requests import StreamingRequest
from cachew.plumbing.errors import BadRequest, BodyTimedOut, ClientGone


class Phase(Enum):
    """Where a connection is."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    CLOSED = auto()


class Channel(Outgoing):
    """Speaks HTTP/1.1 over one transport and offers requests what twisted.web's requests ask of a channel.

    :param site: makes the requests and is told when the connection ends.
    :param limits: the bounds.
    :param reactor: gives the timers.
    :param refusal: what this connection is turned away with, None when it is served.
    """

    log = Logger()

    def __init__(self, *, site: Any, limits: Limits, reactor: IReactorTime, refusal: HeadRefused | None = None) -> None:
        self.site = self.factory = site
        self._limits, self._refusal = limits, refusal
        super().__init__(reactor=reactor, timeout=limits.write_timeout, sender=site.sender, stalled=self.abort)
        self._alarm = Alarm(reactor)
        self._reactor = reactor
        self._abandoned: tuple[Any, Failure] | None = None
        self._phase = Phase.HEAD
        self._head = HeadReader(limits)
        self._pending = b""
        self._stepping = False
        self._holds: set[str] = set()
        self._request: StreamingRequest | None = None
        self._body: IncomingBody | None = None
        self._body_seen = 0
        self._persistent = True
        self._retiring = False
        self._lingered = 0
        self._head_timed = False

    # --- input --------------------------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """Begin."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        if self._refusal is not None:
            self._refuse(self._refusal)
        else:
            self._time_head()

    def dataReceived(self, data: bytes) -> None:
        """Take input."""
        if self._phase is Phase.LINGER:
            self._lingered += len(data)
            if self._lingered > self._limits.linger:
                self._close()
        elif self._phase is not Phase.CLOSED:
            self._pending = self._pending + data if self._pending else data
            self._advance()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End: the request under way is told, then whoever reads its body."""
        self._phase, self.open = Phase.CLOSED, False
        self._alarm.clear()
        self._stall.stop()
        request, self._request = self._request, None
        if request is not None:
            request.sentLength = max(0, request.sentLength - self._left_behind())
            if self._transfer is None:
                request.connectionLost(reason)
            else:
                # A client that has all it wants may close before the thread that sends it is heard.
                self._transfer.break_off()
                self._abandoned = request, reason
        if self._body is not None:
            self._body.fail(ClientGone("the client went away"))
        self.site.connection_ended(self)

    def _region_ended(self) -> None:
        """Tell the request whose client has gone meanwhile, after whoever sent the region has heard of its end."""
        abandoned, self._abandoned = self._abandoned, None
        if abandoned is not None:
            self._reactor.callLater(0, _tell_lost, *abandoned)

    def _advance(self) -> None:
        """Work through pending input; requests that end while they begin make this a loop, not a recursion."""
        if self._stepping:
            return
        self._stepping = True
        try:
            while self._pending and self._step():
                pass
        finally:
            self._stepping = False

    def _step(self) -> bool:
        if self._phase is Phase.HEAD:
            return self._step_head()
        if self._phase is Phase.BODY:
            return self._step_body()
        if self._phase is Phase.ANSWER and len(self._pending) > self._limits.pipelined:
            self._hold("pipelined")
        return False

    def _step_head(self) -> bool:
        if self._output_full:
            return False
        data, self._pending = self._pending, b""
        try:
            head = self._head.feed(data)
        except HeadRefused as refusal:
            self._refuse(refusal)
            return False
        if head is None:
            self._time_head()
            return False
        self._pending, self._head = self._head.rest, HeadReader(self._limits)
        self._begin(head)
        return True

    def _step_body(self) -> bool:
        body = self._body
        assert body is not None
        data, self._pending = self._pending, b""
        if body.broken:
            return False
        try:
            self._pending = body.take(data)
        except BadRequest as reason:
            self._break_body(reason)
            return False
        if body.ended:
            self._body_ended()
            return True
        if not self._alarm.active:
            self._watch_body()
        if body.dropped > self._limits.drain:
            self._too_much_dropped()
        return False

    # --- a request's life ---------------------------------------------------------------------------------------------

    def _time_head(self) -> None:
        """Start the time of a head, once; a client that sends it byte by byte gains nothing."""
        if not self._head_timed:
            self._head_timed = True
            self._alarm.set(self._limits.head_timeout, self._head_late)

    def _begin(self, head: Head) -> None:
        self._alarm.clear()
        self._persistent = head.keep_alive and not self._retiring
        body = self._body = IncomingBody(
            length=head.body_length,
            expected=self._send_continue if head.expects_continue else None,
            pause=lambda: self._hold("reader"),
            resume=lambda: self._release("reader"),
            high_water=self._limits.body_buffer,
        )
        self._phase = Phase.ANSWER if body.ended else Phase.BODY
        if self._phase is Phase.BODY and not body.awaited:
            self._watch_body()
        request = self._request = self.site.requestFactory(self)
        request.begin(head, body)

    def _send_continue(self) -> None:
        if self._phase is Phase.BODY and self._request is not None and not self._request.startedWriting:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._watch_body()

    def _watch_body(self) -> None:
        assert self._body is not None
        self._body_seen = self._body.received
        self._alarm.set(self._limits.body_timeout, self._body_late)

    def _body_late(self) -> None:
        body = self._body
        assert body is not None
        if self._holds or body.received - self._body_seen >= self._limits.body_minimum:
            self._watch_body()
        elif self._request is None:
            self._linger()
        else:
            self._break_body(BodyTimedOut("the request's body came too slowly"))

    def _break_body(self, reason: Exception) -> None:
        assert self._body is not None
        self._alarm.clear()
        self._persistent = False
        self._body.fail(reason)
        if self._request is None:
            self._linger()

    def _body_ended(self) -> None:
        self._alarm.clear()
        if self._request is not None:
            self._phase = Phase.ANSWER
        else:
            self._next()

    def _too_much_dropped(self) -> None:
        self._persistent = False
        if self._request is None:
            self._linger()
        else:
            self._hold("dropping")

    def requestDone(self, request: StreamingRequest) -> None:
        """Take note that the answer is out."""
        if request is not self._request:
            return
        self._request = None
        body = self._body
        assert body is not None
        if self._phase is Phase.CLOSED:
            return
        if _cut_short(request):
            self.abort()
            return
        body.close()
        if body.ended:
            self._next()
        elif self._worth_draining(body):
            self._watch_body()
        else:
            self._linger()

    def _worth_draining(self, body: IncomingBody) -> bool:
        if not self._persistent or body.awaited or body.broken:
            return False
        return (body.remaining or 0) + body.dropped <= self._limits.drain

    def _next(self) -> None:
        """Go on to the next request, if there may be one."""
        self._body = None
        if not self._persistent:
            if self._pending or self._holds:
                self._linger()
            else:
                self._close()
            return
        self._phase, self._head_timed = Phase.HEAD, False
        self._alarm.set(self._limits.idle_timeout + self._limits.idle_grace, self._idle_late)
        if self._output_full:
            self._hold("output")
        self._release("pipelined")
        self._advance()

    # --- endings ------------------------------------------------------------------------------------------------------

    def _idle_late(self) -> None:
        if self._output_full:  # the client still takes the last answer
            self._alarm.set(self._limits.idle_timeout + self._limits.idle_grace, self._idle_late)
        else:
            self._close()

    def _head_late(self) -> None:
        if self._head.begun:
            self._refuse(HeadRefused(408, "the request's head came too slowly"))
        else:
            self._close()

    def _refuse(self, refusal: HeadRefused) -> None:
        """Answer in place of a request object, and end."""
        self.log.debug("refused {peer}: {reason}", peer=self.transport.getPeer(), reason=str(refusal))
        text = f"{refusal}\n".encode()
        headers = Headers()
        for name, value in (*refusal.headers, (b"Content-Type", b"text/plain; charset=utf-8")):
            headers.addRawHeader(name, value)
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(text)])
        headers.setRawHeaders(b"Date", [datetimeToString()])
        self._persistent = False
        self.writeHeaders(b"HTTP/1.1", b"%d" % refusal.status, HTTPStatus(refusal.status).phrase.encode(), headers)
        self.write(text)
        self._linger()

    def _linger(self) -> None:
        """Half-close, and drop input for a while: closing a socket with unread input resets it under the answer."""
        self._phase = Phase.LINGER
        self._pending = b""
        self._holds.clear()
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        if not self.isSecure():
            self.transport.loseWriteConnection()
        self._alarm.set(self._limits.linger_timeout, self._close)
        self._stall.start()

    def _close(self) -> None:
        """Close once the output has left; a client that takes none of it is dropped by the stall watch."""
        self._phase, self.open = Phase.CLOSED, False
        self._pending = b""
        self._alarm.clear()
        self.transport.unregisterProducer()
        self._stall.start()
        self.transport.loseConnection()

    def abort(self) -> None:
        """Break the connection off at once, so that the client can't take what it has for the whole.

        Nothing that a request writes after this reaches the transport.
        """
        self._phase, self.open = Phase.CLOSED, False
        self._alarm.clear()
        self._stall.stop()
        self.transport.abortConnection()

    def retire(self) -> None:
        """Close now if no request is under way, after the answer if one is."""
        self._retiring, self._persistent = True, False
        if self._phase is Phase.HEAD and not self._head.begun:
            self._close()

    def loseConnection(self) -> None:
        """Close once what was written has left."""
        self._close()

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer and settle whether the connection outlives it."""
        if b"close" in [value.lower() for value in headers.getRawHeaders(b"Connection", ())]:
            self._persistent = False
        body = self._body
        if body is not None and not body.ended and not self._keeps_after_early_answer(body, int(code)):
            self._persistent = False
        if not self._persistent:
            headers.setRawHeaders(b"Connection", [b"close"])
        elif self._limits.idle_timeout >= 1:
            headers.setRawHeaders(b"Keep-Alive", [b"timeout=%d" % self._limits.idle_timeout])
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        lines += [b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self.write(b"".join([*lines, b"\r\n"]))

    def _keeps_after_early_answer(self, body: IncomingBody, code: int) -> bool:
        """Tell whether the rest of the body is little enough to wait for, or an answer that may go on beside it."""
        if body.awaited or body.broken:
            return False
        return code < 400 or (body.remaining is not None and body.remaining <= self._limits.drain)

    def _drained(self) -> None:
        self._release("output")
        if self._phase is Phase.HEAD:
            self._advance()

    def _hold(self, why: str) -> None:
        """Stop reading from the socket for a reason."""
        if not self._holds:
            self.transport.pauseProducing()
        self._holds.add(why)

    def _release(self, why: str) -> None:
        """Read on when no other reason is left."""
        if why in self._holds:
            self._holds.discard(why)
            if not self._holds and self._phase is not Phase.CLOSED:
                self.transport.resumeProducing()


def _cut_short(request: StreamingRequest) -> bool:
    """Tell whether an answer ended before the length that its head announced."""
    announced = request.responseHeaders.getRawHeaders(b"Content-Length")
    if not announced or request.method == b"HEAD" or request.code in NO_BODY_CODES:
        return False
    return bool(int(announced[-1]) != request.sentLength)


def _tell_lost(request: StreamingRequest, reason: Failure) -> None:
    """Tell a request that its client has gone, unless all of its answer had left before."""
    if not request.finished:
        request.connectionLost(reason)
