"""The output half of an HTTP connection: back-pressure, files sent by the kernel, clients that take nothing."""

import fcntl
import struct
import termios
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IConsumer, IDelayedCall, IPushProducer, IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from cachew.http.filesender import FileSender, RegionTransfer
from cachew.plumbing.regions import AnyRegion


class Alarm:
    """At most one pending call; setting it anew forgets the old one.

    :param reactor: gives the timers.
    """

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._call: IDelayedCall | None = None

    @property
    def active(self) -> bool:
        """Whether a call is pending."""
        return self._call is not None

    def set(self, seconds: float, function: Callable[[], object]) -> None:
        """Call ``function`` in so many seconds instead of whatever was pending."""
        self.clear()
        self._call = self._reactor.callLater(seconds, self._ring, function)

    def clear(self) -> None:
        """Forget the pending call, if any."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _ring(self, function: Callable[[], object]) -> None:
        self._call = None
        function()


class OutputWatch:
    """Tells when output that is under way has not moved at all for some time.

    Slow is no reason: a client on a thin line may take hours. Only one that takes nothing is stalled.

    :param reactor: gives the timers.
    :param timeout: seconds without movement.
    :param position: anything that compares unequal once output has moved.
    :param stalled: called once, then the watch is off.
    """

    _SAMPLES = 4

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        timeout: float,
        position: Callable[[], object],
        stalled: Callable[[], object],
    ) -> None:
        self._alarm = Alarm(reactor)
        self._timeout = timeout
        self._position = position
        self._stalled = stalled
        self._last: object = None
        self._still = 0

    def start(self) -> None:
        """Begin to watch, unless it does already."""
        if not self._alarm.active:
            self._last, self._still = self._position(), 0
            self._again()

    def stop(self) -> None:
        """Watch no longer."""
        self._alarm.clear()

    def _again(self) -> None:
        self._alarm.set(self._timeout / self._SAMPLES, self._look)

    def _look(self) -> None:
        now = self._position()
        self._still = self._still + 1 if now == self._last else 0
        self._last = now
        if self._still >= self._SAMPLES:
            self._stalled()
        else:
            self._again()


def is_plain_tcp(transport: Any) -> bool:
    """Say whether what is written leaves by the socket as it is, which it doesn't with TLS."""
    if not isinstance(transport, tcp.Connection) or getattr(transport, "TLS", False):
        return False
    return bool(transport.connected)


def is_secure(transport: Any) -> bool:
    """Say whether a transport is TLS."""
    return bool(ISSLTransport.providedBy(transport))


def left_behind(transport: Any) -> int:
    """Return the bytes that were written to a transport and have not left."""
    waiting = len(getattr(transport, "dataBuffer", b"")) - getattr(transport, "offset", 0)
    return max(0, waiting + sum(map(len, getattr(transport, "_tempDataBuffer", ()))))


def output_position(transport: Any) -> object:
    """Return what changes when a client takes some of the output, out of our buffer or out of the kernel's."""
    if is_secure(transport):
        transport = getattr(transport, "transport", transport)
    queued = 0
    if isinstance(transport, tcp.Connection) and transport.connected:
        queued = struct.unpack("i", fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return queued, len(getattr(transport, "dataBuffer", b"")), getattr(transport, "offset", 0)


def resume_when_empty(transport: Any) -> None:
    """Have a transport resume its producer once its buffer is empty, as a write does that finds the buffer full."""
    transport.producerPaused = True
    transport.startWriting()


@implementer(IPushProducer, IConsumer)
class Outgoing(Protocol):
    """What requests and bodies write to; the transport's one push producer.

    :param reactor: gives the timers.
    :param timeout: seconds after which a client that takes nothing of the output is dropped.
    :param sender: sends regions of files, None where that is not to be had.
    :param stalled: called when a client is to be dropped.
    """

    transport: Any

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        timeout: float,
        sender: FileSender | None,
        stalled: Callable[[], object],
    ) -> None:
        self.open = True
        self._sender = sender
        self._transfer: RegionTransfer | None = None
        self.taken = 0
        """Bytes that the socket has taken of the last region."""
        self._stall = OutputWatch(reactor=reactor, timeout=timeout, position=self._position, stalled=stalled)
        self._producer: Any = None
        self.output_full = False
        self._resumes = 0

    def _drained(self) -> None:
        """Take note that all output has left."""

    def write(self, data: bytes) -> None:
        """Write; nothing once the connection closes."""
        if self.open:
            self.transport.write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """Write several pieces."""
        if self.open:
            self.transport.writeSequence(iovec)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Let a push producer know when output is full.

        :raise RuntimeError: when there is one already, or it is no push producer.
        """
        if self._producer is not None or not streaming:
            raise RuntimeError("one push producer at a time")
        self._producer = producer

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None

    @property
    def sends_regions(self) -> bool:
        """Whether the kernel can send here; not where the bytes must be seen first (TLS)."""
        return self._sender is not None and self._sender.running and self.open and is_plain_tcp(self.transport)

    async def send_region(self, region: AnyRegion, *, chunked: bool) -> None:
        """Have a region sent by the kernel, when all other output has left; nothing may be written meanwhile.

        :param chunked: whether it goes out as one chunk (RFC 9112, section 7.1).
        :raise OSError: when the connection is gone, the file can't be read, or there is no descriptor left.
        :raise EOFError: when the file is shorter than the region.
        """
        assert self._sender is not None
        self.taken = 0
        before, after = (b"%x\r\n" % region.length, b"\r\n") if chunked else (b"", b"")
        self._transfer = RegionTransfer(self.transport.fileno(), region, before=before, after=after)
        self._stall.start()
        try:
            await self._sender.send(self._transfer)
        finally:
            self.taken, self._transfer = self._transfer.sent, None
            self._stall.stop()
            self._region_ended()

    def _region_ended(self) -> None:
        """Take note that a region has been sent, or given up."""

    def signal_when_drained(self) -> None:
        """Have the producer resumed as soon as all output has left and the socket takes more."""
        self.output_full = True
        self._stall.start()
        resume_when_empty(self.transport)

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self.output_full = True
        self._stall.start()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self.output_full = False
        self._resumes += 1
        self._stall.stop()
        if self._producer is not None:
            self._producer.resumeProducing()
        self._drained()

    def stopProducing(self) -> None:
        """The transport is going away."""
        if self._producer is not None:
            self._producer.stopProducing()

    def _position(self) -> object:
        """Return what changes when the client takes some of the output."""
        sent = 0 if self._transfer is None else self._transfer.sent
        return output_position(self.transport), self._resumes, sent
