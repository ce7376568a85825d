"""A connection of HTTP/1.1: when its socket is read, how long it may be idle, whom it turns away, and how it ends."""

from http import HTTPStatus

from twisted.internet.interfaces import IAddress, IReactorTime, ITCPTransport
from twisted.logger import Logger
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers

from cachew.http.filesender import FileSender
from cachew.http.heads import Head, HeadReader, HeadRefused
from cachew.http.limits import Limits
from cachew.http.outgoing import Alarm, Outgoing, is_secure


class Connection(Outgoing):
    """One transport, until it is closed.

    A connection that lingers serves no more: the answer is out, and input is read and dropped for a while so that no
    reset destroys it.

    :param limits: the bounds.
    :param reactor: gives the timers.
    :param sender: sends regions of files, None where that is not to be had.

    :ivar holds: the reasons not to read from the socket.
    :ivar alarm: rings when what is waited for takes too long.
    :ivar lingers: whether it lingers.
    :ivar lingered: bytes that were dropped since.
    """

    log = Logger()

    def __init__(self, *, limits: Limits, reactor: IReactorTime, sender: FileSender | None) -> None:
        super().__init__(reactor=reactor, timeout=limits.write_timeout, sender=sender, stalled=self.abort)
        self._limits = limits
        self.holds: set[str] = set()
        self.alarm = Alarm(reactor)
        self.lingers = False
        self.lingered = 0

    def connectionMade(self) -> None:
        """Begin."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)

    @property
    def serves(self) -> bool:
        """Whether anything is answered still."""
        return self.open and not self.lingers

    def hold(self, why: str) -> None:
        """Stop reading from the socket for a reason."""
        if not self.holds:
            self.transport.pauseProducing()
        self.holds.add(why)

    def release(self, why: str) -> None:
        """Read on when no other reason is left."""
        if why in self.holds:
            self.holds.discard(why)
            if not self.holds and self.open:
                self.transport.resumeProducing()

    def write_head(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of an answer."""
        lines = [b"%b %b %b\r\n" % (version, code, reason)]
        lines += [b"%b: %b\r\n" % (name, value) for name, values in headers.getAllRawHeaders() for value in values]
        self.write(b"".join([*lines, b"\r\n"]))

    def refuse(self, refusal: HeadRefused) -> None:
        """Answer in place of a request object, and end."""
        self.log.debug("refused {peer}: {reason}", peer=self.transport.getPeer(), reason=str(refusal))
        text = f"{refusal}\n".encode()
        headers = Headers()
        for name, value in (*refusal.headers, (b"Content-Type", b"text/plain; charset=utf-8")):
            headers.addRawHeader(name, value)
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(text)])
        headers.setRawHeaders(b"Date", [datetimeToString()])
        headers.setRawHeaders(b"Connection", [b"close"])
        self.write_head(b"HTTP/1.1", b"%d" % refusal.status, HTTPStatus(refusal.status).phrase.encode(), headers)
        self.write(text)
        self.linger()

    def linger(self) -> None:
        """Half-close, and drop input for a while: closing a socket with unread input resets it under the answer."""
        self.lingers = True
        self.holds.clear()
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        if not self.isSecure():
            self.transport.loseWriteConnection()
        self.alarm.set(self._limits.linger_timeout, self.close)
        self._stall.start()

    def drop(self, data: bytes) -> None:
        """Drop input while it lingers."""
        self.lingered += len(data)
        if self.lingered > self._limits.linger:
            self.close()

    def close(self) -> None:
        """Close once the output has left; a client that takes none of it is dropped by the stall watch."""
        self.open = False
        self.alarm.clear()
        self.transport.unregisterProducer()
        self._stall.start()
        self.transport.loseConnection()

    def ended(self) -> None:
        """Take note that the transport is gone, or about to be."""
        self.open = False
        self.alarm.clear()
        self._stall.stop()

    def abort(self) -> None:
        """Break the connection off at once, so that the client can't take what it has for the whole.

        Nothing that a request writes after this reaches the transport.
        """
        self.ended()
        self.transport.abortConnection()

    def getPeer(self) -> IAddress:
        """Return the client's address."""
        peer: IAddress = self.transport.getPeer()
        return peer

    def getHost(self) -> IAddress:
        """Return the address that the client connected to."""
        host: IAddress = self.transport.getHost()
        return host

    def isSecure(self) -> bool:
        """Return whether the transport is TLS."""
        return is_secure(self.transport)


class AwaitedHead:
    """The head of the next request, and how long it may take.

    :param connection: what it comes over.
    :param limits: the bounds.
    """

    def __init__(self, *, connection: Connection, limits: Limits) -> None:
        self._connection = connection
        self._limits = limits
        self._reader = HeadReader(limits)
        self._timed = False

    @property
    def begun(self) -> bool:
        """Whether any of it has come."""
        return self._reader.begun

    def expect(self) -> None:
        """Start the time of a head, once; a client that sends it byte by byte gains nothing."""
        if not self._timed:
            self._timed = True
            self._connection.alarm.set(self._limits.head_timeout, self._late)

    def idle(self) -> None:
        """Give a client time to think of its next request."""
        self._timed = False
        self._connection.alarm.set(self._limits.idle_timeout + self._limits.idle_grace, self._idle_late)

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """Take bytes off the wire; a head that can't be read ends the connection.

        :return: the head, when all of it is there, and what lies after it.
        """
        try:
            head = self._reader.feed(data)
        except HeadRefused as refusal:
            self._connection.refuse(refusal)
            return None
        if head is None:
            self.expect()
            return None
        rest, self._reader = self._reader.rest, HeadReader(self._limits)
        self._connection.alarm.clear()
        return head, rest

    def _late(self) -> None:
        if self._reader.begun:
            self._connection.refuse(HeadRefused(408, "the request's head came too slowly"))
        else:
            self._connection.close()

    def _idle_late(self) -> None:
        if self._connection.output_full:  # the client still takes the last answer
            self._connection.alarm.set(self._limits.idle_timeout + self._limits.idle_grace, self._idle_late)
        else:
            self._connection.close()
