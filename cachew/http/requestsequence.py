"""The requests of one connection, one after the other: which bytes belong to which, and whether there can be a next.

The phases: HEAD (between requests or inside a head), BODY (the body still comes in, its request being answered or
already answered) and ANSWER (the body is in, the answer is not out). It answers one request at a time; what a client
sends ahead waits in the socket.
"""

from collections.abc import Callable
from enum import Enum, auto

from twisted.web.http import NO_BODY_CODES

from cachew.http.connection import AwaitedHead, Connection
from cachew.http.heads import Head
from cachew.http.incoming import IncomingBody
from cachew.http.limits import Limits
from cachew.http.requests import StreamingRequest
from cachew.plumbing.errors import BadRequest, BodyTimedOut


class Phase(Enum):
    """Where the request under way is."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()


class BodyReception:
    """The body of the request under way: whether it comes fast enough, and what of it nobody wants is worth taking.

    :param head: the request's.
    :param go_on: tells a client to send the body that waits to be told.
    :param connection: what it comes over.
    :param limits: the bounds.
    :param no_next: called when no other request can follow this body; says whether its request is being answered.
    """

    def __init__(
        self,
        *,
        head: Head,
        go_on: Callable[[], object],
        connection: Connection,
        limits: Limits,
        no_next: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._limits = limits
        self._no_next = no_next
        self._seen = 0
        self.body = IncomingBody(
            length=head.body_length,
            expected=go_on if head.expects_continue else None,
            pause=lambda: connection.hold("reader"),
            resume=lambda: connection.release("reader"),
            high_water=limits.body_buffer,
        )

    def watch(self) -> None:
        """See to it that it goes on coming."""
        self._seen = self.body.received
        self._connection.alarm.set(self._limits.body_timeout, self._late)

    def _late(self) -> None:
        if self._connection.holds or self.body.received - self._seen >= self._limits.body_minimum:
            self.watch()
        else:
            self._break_off(BodyTimedOut("the request's body came too slowly"))

    def _break_off(self, reason: Exception) -> None:
        self._connection.alarm.clear()
        self.body.fail(reason)
        self._no_next()

    def take(self, data: bytes) -> bytes:
        """Take bytes off the wire.

        :return: what lies after the body's end.
        """
        if self.body.broken:
            return b""
        try:
            rest = self.body.take(data)
        except BadRequest as reason:
            self._break_off(reason)
            return b""
        if self.body.ended:
            self._connection.alarm.clear()
            return rest
        if not self._connection.alarm.active:
            self.watch()
        if self.body.dropped > self._limits.drain and self._no_next():
            self._connection.hold("dropping")
        return rest

    def is_worth_draining(self) -> bool:
        """Tell whether the rest of it, behind its answer, is little enough to be dropped for the next request."""
        if self.body.awaited or self.body.broken:
            return False
        return (self.body.remaining or 0) + self.body.dropped <= self._limits.drain

    def allows_next_after(self, code: int) -> bool:
        """Tell whether an answer that begins now may be followed by another.

        :return: whether the body is in, its rest little enough to wait for, or the answer one that may go on beside it.
        """
        if self.body.ended:
            return True
        if self.body.awaited or self.body.broken:
            return False
        return code < 400 or (self.body.remaining is not None and self.body.remaining <= self._limits.drain)


class RequestSequence:
    """One request after the other.

    :param connection: what they come over.
    :param limits: the bounds.
    :param make_request: makes the next request.

    :ivar current: the request that is being answered.
    :ivar reception: the body of the last request, until it has ended and the request is answered.
    :ivar pending: bytes that have come and belong to what follows.
    """

    def __init__(self, *, connection: Connection, limits: Limits, make_request: Callable[[], StreamingRequest]) -> None:
        self._connection = connection
        self._limits = limits
        self._make_request = make_request
        self._head = AwaitedHead(connection=connection, limits=limits)
        self._phase = Phase.HEAD
        self._stepping = False
        self._taking = False
        self._persistent = True
        self._retiring = False
        self.current: StreamingRequest | None = None
        self.reception: BodyReception | None = None
        self.pending = b""

    def begin(self) -> None:
        """Wait for the first."""
        self._head.expect()

    def take(self, data: bytes) -> None:
        """Take bytes off the wire."""
        self.pending = self.pending + data if self.pending else data
        self._advance()

    def _advance(self) -> None:
        """Work through pending input; requests that end while they begin make this a loop, not a recursion."""
        if self._stepping:
            return
        self._stepping = True
        try:
            while self.pending and self._connection.serves and self._step():
                pass
        finally:
            self._stepping = False

    def _step(self) -> bool:
        if self._phase is Phase.HEAD:
            return not self._connection.output_full and self._step_head()
        if self._phase is Phase.BODY:
            return self._step_body()
        if len(self.pending) > self._limits.pipelined:
            self._connection.hold("pipelined")
        return False

    def _step_head(self) -> bool:
        data, self.pending = self.pending, b""
        if (found := self._head.feed(data)) is None:
            return False
        head, self.pending = found
        self._begin(head)
        return True

    def _step_body(self) -> bool:
        reception = self.reception
        assert reception is not None
        data, self.pending = self.pending, b""
        self._taking = True
        try:
            self.pending = reception.take(data)
        finally:
            self._taking = False
        if not reception.body.ended or not self._connection.serves:
            return False
        if self.current is not None:
            self._phase = Phase.ANSWER
        else:
            self._next()
        return True

    def _begin(self, head: Head) -> None:
        self._persistent = head.keep_alive and not self._retiring
        reception = self.reception = BodyReception(
            head=head,
            go_on=self._send_continue,
            connection=self._connection,
            limits=self._limits,
            no_next=self._no_next,
        )
        self._phase = Phase.ANSWER if reception.body.ended else Phase.BODY
        if self._phase is Phase.BODY and not reception.body.awaited:
            reception.watch()
        request = self.current = self._make_request()
        request.begin(head, reception.body)

    def _send_continue(self) -> None:
        if self._phase is not Phase.BODY or not self._connection.serves or self.current is None:
            return
        if self.reception is not None and not self.current.startedWriting:
            self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.reception.watch()

    def _no_next(self) -> bool:
        """Have this request be the last; the connection ends at once when it has been answered."""
        self._persistent = False
        if self.current is None:
            self._connection.linger()
        return self.current is not None

    def goes_on_after(self, code: int, *, closes: bool) -> bool:
        """Settle whether the connection outlives an answer that begins.

        :param closes: whether the answer says that it does not.
        """
        if closes or (self.reception is not None and not self.reception.allows_next_after(code)):
            self._persistent = False
        return self._persistent

    def done(self, request: StreamingRequest) -> None:
        """Take note that the answer to a request is out."""
        reception = self.reception
        if request is not self.current or reception is None:
            return
        self.current = None
        if not self._connection.open:
            return
        if _cut_short(request):
            self._connection.abort()
            return
        reception.body.close()
        if reception.body.ended:
            # Who has just been handed the last of it may be done before what follows it is known.
            if not self._taking:
                self._next()
        elif self._persistent and reception.is_worth_draining():
            reception.watch()
        else:
            self._connection.linger()

    def _next(self) -> None:
        """Go on to the next request, if there may be one."""
        self.reception = None
        if not self._persistent:
            if self.pending or self._connection.holds:
                self._connection.linger()
            else:
                self._connection.close()
            return
        self._phase = Phase.HEAD
        self._head.idle()
        if self._connection.output_full:
            self._connection.hold("output")
        self._connection.release("pipelined")
        self._advance()

    def output_has_left(self) -> None:
        """Go on with what waited for the client to take its answers."""
        self._connection.release("output")
        if self._phase is Phase.HEAD:
            self._advance()

    def retire(self) -> None:
        """End the connection now if no request is under way, after the answer if one is."""
        self._retiring, self._persistent = True, False
        if self._phase is Phase.HEAD and self._connection.serves and not self._head.begun:
            self._connection.close()


def _cut_short(request: StreamingRequest) -> bool:
    """Tell whether an answer ended before the length that its head announced."""
    announced = request.responseHeaders.getRawHeaders(b"Content-Length")
    if not announced or request.method == b"HEAD" or request.code in NO_BODY_CODES:
        return False
    return bool(int(announced[-1]) != request.sentLength)
