"""Bodies on their way to and from an upstream, with back-pressure in both directions."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer, IResponse
from zope.interface import implementer

from cachew.plumbing.errors import UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.streams import PIECE, PushSource, Source


class Watch:
    """A timer that is wound up again whenever there is progress.

    :param reactor: gives the timer.
    :param seconds: how long may pass without progress.
    :param expired: called once when more has passed.
    """

    def __init__(self, *, reactor: IReactorTime, seconds: float, expired: Callable[[], object]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._expired = expired
        self._call: IDelayedCall | None = None
        self._closed = False
        self.has_expired = False

    def restart(self) -> None:
        """Start, or start over."""
        if self._call is not None:
            self._call.reset(self._seconds)
        elif not self._closed:
            self._call = self._reactor.callLater(self._seconds, self._expire)

    def stop(self) -> None:
        """Stop until the next :meth:`restart`."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def close(self) -> None:
        """Stop for good."""
        self._closed = True
        self.stop()

    def _expire(self) -> None:
        self._call = None
        self._closed = self.has_expired = True
        self._expired()


class ResponseBody(Protocol):
    """Receives a response body and offers it as a source.

    While the reader is slow the connection is paused and the idle time does not run. A reader that closes early, or
    an upstream that is silent for too long, ends the connection at once: a polite close would wait for the peer.

    :param upstream: the URL for messages.
    :param reactor: gives the timer.
    :param idle: seconds without data after which the upstream is given up.
    """

    def __init__(self, *, upstream: str, reactor: IReactorTime, idle: float) -> None:
        self._upstream = upstream
        self._idle = idle
        self._watch = Watch(reactor=reactor, seconds=idle, expired=self._silent)
        self.source = PushSource(pause=self._pause, resume=self._resume, stop=self._abort)

    def connectionMade(self) -> None:
        """Begin to receive."""
        self._watch.restart()

    def dataReceived(self, data: bytes) -> None:
        """Take what has come."""
        self._watch.restart()
        self.source.data(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note the end; a body that the closing connection delimits is taken as whole."""
        self._watch.close()
        if reason.check(ResponseDone, PotentialDataLoss):
            self.source.finish()
        else:
            self.source.fail(UpstreamUnreachable(self._upstream, "the response broke off"))

    def _pause(self) -> None:
        self._watch.stop()
        self._connection.pauseProducing()

    def _resume(self) -> None:
        self._watch.restart()
        self._connection.resumeProducing()

    def _silent(self) -> None:
        self.source.fail(UpstreamTimeout(self._upstream, f"sent nothing for {self._idle:.0f} seconds"))
        self._abort()

    def _abort(self) -> None:
        self._watch.close()
        # What Twisted hands to a body's protocol has no abortConnection; the transport that it wraps has.
        wrapped = getattr(self._connection, "_producer", None)
        abort = getattr(wrapped, "abortConnection", None) or self._connection.stopProducing
        abort()

    @property
    def _connection(self) -> Any:
        return self.transport


def response_source(response: IResponse, *, upstream: str, reactor: IReactorTime, idle: float) -> Source:
    """Return a response's body as a source.

    :param upstream: the URL for messages.
    :param idle: seconds without data after which :class:`UpstreamTimeout` is raised to the reader.
    """
    body = ResponseBody(upstream=upstream, reactor=reactor, idle=idle)
    response.deliverBody(body)
    return body.source


@implementer(IBodyProducer)
class SourceBody:
    """Sends a source as a request body, no faster than the upstream takes it.

    :param source: what is sent; closed at the end, whatever the end.
    :param length: its bytes; None for a chunked body.
    :param watch: wound up when a piece has been sent, stopped while the source is waited for, whose slowness is not
        the upstream's.
    """

    def __init__(self, *, source: Source, length: int | None, watch: Watch | None = None) -> None:
        self.length: Any = UNKNOWN_LENGTH if length is None else length
        self._source, self._watch = source, watch
        self._work: Deferred[None] | None = None
        self._room: Deferred[None] | None = None
        self._paused = False
        self._stopped = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Send the whole source; the result fires at its end."""
        finished: Deferred[None] = Deferred()
        self._work = Deferred.fromCoroutine(self._send(consumer))
        self._work.addBoth(self._done, finished)
        return finished

    async def _send(self, consumer: IConsumer) -> None:
        try:
            while True:
                if self._paused:
                    self._room = Deferred()
                    await self._room
                piece = await self._next()
                if not piece:
                    return
                consumer.write(piece)
        finally:
            self._source.close()

    async def _next(self) -> bytes:
        if self._watch is None:
            return await self._source.read(PIECE)
        self._watch.stop()
        try:
            return await self._source.read(PIECE)
        finally:
            self._watch.restart()

    def _done(self, result: Any, finished: Deferred[None]) -> None:
        if self._stopped:
            if isinstance(result, Failure):
                result.trap(CancelledError)
        elif isinstance(result, Failure):
            finished.errback(result)
        else:
            finished.callback(None)

    def pauseProducing(self) -> None:
        """The connection is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The connection has room again."""
        self._paused = False
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone or nobody wants the answer."""
        self._stopped = True
        self._source.close()
        if self._work is not None:
            self._work.cancel()
