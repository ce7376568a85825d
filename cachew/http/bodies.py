"""Answers' bodies on their way out, with back-pressure from the client's socket to whatever the bytes come from.

What lies in a file goes to a plain socket by ``sendfile(2)``, in a thread of its own, and is never in our memory, also
while the file is still being written. Anything else is read in pieces, the next one when the last has left. Either way
thirty slow readers cost next to nothing.
"""

import errno

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import NO_BODY_CODES
from zope.interface import implementer

from cachew.http.requests import StreamingRequest
from cachew.plumbing.regions import AnyRegion
from cachew.plumbing.streams import PIECE, FiledSource, Source

_KERNEL_FROM = 64 * 1024
"""Regions shorter than this, in bytes, are read and written like anything else, together with the head."""
_GONE = frozenset(
    {
        errno.EPIPE, errno.ECONNRESET, errno.ECONNABORTED, errno.ENOTCONN, errno.ESHUTDOWN, errno.ETIMEDOUT,
        errno.EHOSTUNREACH, errno.EHOSTDOWN, errno.ENETUNREACH, errno.ENETDOWN, errno.ENETRESET,
    }
)  # fmt: skip
"""What the system says when a client or the way to it is gone; anything else (EIO, EMFILE) is this server's trouble."""
_REGION = 1 << 30
"""The longest region that is sent in one go when the length is not announced."""


@implementer(IPushProducer)
class _Gate:
    """A push producer that tells a coroutine when it may go on."""

    def __init__(self) -> None:
        self._closed = False
        self._waiter: Deferred[None] | None = None

    def pauseProducing(self) -> None:
        self._closed = True

    def resumeProducing(self) -> None:
        self._closed = False
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.callback(None)

    def stopProducing(self) -> None:
        """Nothing: the request tells of the client's leaving."""

    async def opened(self) -> None:
        """Wait while output is full."""
        while self._closed:
            self._waiter = Deferred()
            await self._waiter


async def send(request: StreamingRequest, source: Source, *, length: int | None = None) -> None:
    """Send a source as a response's body; the caller sets status and headers before and finishes the request after.

    Nothing is written before the source has given its first piece, so until then a failure can be told properly.
    After that the connection is broken off, and the failure is raised all the same.

    :param request: a twisted.web request; ``HEAD`` and statuses without a body get the head only.
    :param source: is closed in every case.
    :param length: bytes of the source that are announced and sent; None for all of it, in chunks.
    :raise CancelledError: when the client went away.
    :raise EOFError: when the source has fewer bytes than ``length``.
    :raise OSError: when a file can't be read or a descriptor is missing.
    """
    try:
        if getattr(request, "channel", None) is None:
            raise CancelledError()
        if length is not None:
            request.setHeader(b"Content-Length", b"%d" % length)
        work = Deferred.fromCoroutine(_deliver(request, source, length))
        request.notifyFinish().addErrback(lambda gone: work.cancel())
        await work
    except BaseException:
        if request.startedWriting:
            _break_off(request)
        raise
    finally:
        source.close()


async def _deliver(request: StreamingRequest, source: Source, length: int | None) -> None:
    if request.method == b"HEAD" or request.code in NO_BODY_CODES:
        request.write(b"")
        return
    short = length is not None and length < _KERNEL_FROM
    if not short and isinstance(source, FiledSource) and getattr(request.channel, "sends_regions", False):
        await _send_regions(request, source, length)
    else:
        await _send_pieces(request, source, length)


async def _send_pieces(request: StreamingRequest, source: Source, length: int | None) -> None:
    gate = _Gate()
    piece = await _next_piece(source, length)
    request.registerProducer(gate, True)
    try:
        while piece:
            request.write(piece)
            length = None if length is None else length - len(piece)
            await gate.opened()
            piece = await _next_piece(source, length)
        request.write(b"")  # the head, if there was nothing
    finally:
        _unregister(request)


async def _next_piece(source: Source, remaining: int | None) -> bytes:
    if remaining == 0:
        return b""
    piece = await source.read(PIECE if remaining is None else min(PIECE, remaining))
    if not piece and remaining is not None:
        raise EOFError(f"a body ended {remaining} bytes early")
    return piece


async def _send_regions(request: StreamingRequest, source: FiledSource, length: int | None) -> None:
    gate = _Gate()
    region = await _next_region(source, length)
    request.registerProducer(gate, True)
    try:
        while region is not None:
            if region.length < _KERNEL_FROM:
                request.write(region.read())
                await gate.opened()
            else:
                await _hand_over(request, gate, region)
            length = None if length is None else length - region.length
            region = await _next_region(source, length)
        request.write(b"")  # the head, if there was nothing
    finally:
        _unregister(request)


async def _next_region(source: FiledSource, remaining: int | None) -> AnyRegion | None:
    if remaining == 0:
        return None
    region = await source.region(_REGION if remaining is None else remaining)
    if region is None and remaining is not None:
        raise EOFError(f"a body ended {remaining} bytes early")
    return region


async def _hand_over(request: StreamingRequest, gate: _Gate, region: AnyRegion) -> None:
    """Have the kernel send a region as soon as nothing waits before it."""
    request.write(b"")  # the head
    if not request.channel.open:
        raise CancelledError()  # gone while the region before this one was sent, of which the request hears later
    gate.pauseProducing()
    request.channel.signal_when_drained()
    await gate.opened()
    channel = request.channel
    try:
        await channel.send_region(region, chunked=bool(request.chunked))
    except OSError as failure:
        request.sentLength += channel.taken
        if failure.errno not in _GONE:
            raise
        raise CancelledError() from None  # the transport will hear of it in its turn
    request.sentLength += region.length


def _unregister(request: StreamingRequest) -> None:
    if getattr(request, "channel", None) is not None:
        request.unregisterProducer()
    else:  # the client is gone, and the channel with it
        request.producer = None


def _break_off(request: StreamingRequest) -> None:
    channel = getattr(request, "channel", None)
    if channel is not None:
        abort = getattr(channel, "abort", None) or channel.transport.abortConnection
        abort()
