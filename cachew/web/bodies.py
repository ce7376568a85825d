"""Answers' bodies on their way out, with back-pressure from the client's socket to whatever the bytes come from.

A file goes from the page cache to a plain socket by ``sendfile(2)`` and is never in our memory. Anything else is read
in pieces, the next one when the last has left. Either way thirty slow readers cost next to nothing.
"""

import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.http import NO_BODY_CODES
from zope.interface import implementer

from cachew.plumbing.streams import PIECE, FileSource, Source

_SENDFILE_FROM = 64 * 1024
"""Files shorter than this, in bytes, leave together with the head in one write."""


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


async def send(request: Any, source: Source, *, length: int | None = None) -> None:
    """Send a source as a response's body; the caller sets status and headers before and finishes the request after.

    Nothing is written before the source has given its first piece, so until then a failure can be told properly.
    After that the connection is broken off, and the failure is raised all the same.

    :param request: a twisted.web request; ``HEAD`` and statuses without a body get the head only.
    :param source: is closed in every case.
    :param length: bytes of the source that are announced and sent; None for all of it, in chunks.
    :raise CancelledError: when the client went away.
    :raise EOFError: when the source has fewer bytes than ``length``.
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


async def _deliver(request: Any, source: Source, length: int | None) -> None:
    if request.method == b"HEAD" or request.code in NO_BODY_CODES:
        request.write(b"")
        return
    if isinstance(source, FileSource) and length is not None and length >= _SENDFILE_FROM:
        descriptor = getattr(request.channel, "sendfile_descriptor", lambda: None)()
        if descriptor is not None:
            await _send_file(request, source, length, descriptor)
            return
    await _send_pieces(request, source, length)


async def _send_pieces(request: Any, source: Source, length: int | None) -> None:
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


async def _send_file(request: Any, source: FileSource, length: int, descriptor: int) -> None:
    """Have the kernel send a file, a piece each time that the socket takes more and nothing waits before it."""
    gate, channel = _Gate(), request.channel
    request.write(b"")
    request.registerProducer(gate, True)
    try:
        while length:
            gate.pauseProducing()
            channel.signal_when_drained()
            await gate.opened()
            sent = _sendfile(descriptor, source, min(PIECE, length, source.length))
            length -= sent
            request.sentLength += sent
    finally:
        _unregister(request)


def _sendfile(descriptor: int, source: FileSource, count: int) -> int:
    try:
        sent = os.sendfile(descriptor, source.file.fileno(), source.offset, count)
    except BlockingIOError:  # something else has filled the socket meanwhile
        return 0
    except ConnectionError:
        raise CancelledError() from None  # the transport will hear of it in its turn
    if not sent:
        raise EOFError("a file is shorter than announced")
    source.advance(sent)
    return sent


def _unregister(request: Any) -> None:
    if getattr(request, "channel", None) is not None:
        request.unregisterProducer()
    else:  # the client is gone, and the channel with it
        request.producer = None


def _break_off(request: Any) -> None:
    channel = getattr(request, "channel", None)
    if channel is not None:
        abort = getattr(channel, "abort", None) or channel.transport.abortConnection
        abort()
