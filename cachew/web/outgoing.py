"""The output half of an HTTP connection: back-pressure, files sent by the kernel, clients that take nothing."""

import fcntl
import struct
import termios
from collections.abc import Iterable
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, IConsumer, IPushProducer, IReactorTime, ISSLTransport
from twisted.internet.protocol import Protocol
from zope.interface import implementer

from cachew.web.alarms import StallWatch


@implementer(IPushProducer, IConsumer)
class Outgoing(Protocol):
    """What requests and bodies write to; the transport's one push producer.

    :param clock: where time comes from.
    :param timeout: seconds after which a client that takes nothing of the output is dropped.
    """

    transport: Any

    def __init__(self, *, clock: IReactorTime, timeout: float) -> None:
        self.open = True
        self._stall = StallWatch(clock=clock, timeout=timeout, position=self._position, stalled=self.abort)
        self._producer: Any = None
        self._output_full = False
        self._resumes = 0

    def abort(self) -> None:
        """Break the connection off at once."""
        raise NotImplementedError

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

    def sendfile_descriptor(self) -> int | None:
        """Return the socket that files can be sent on directly; None where the bytes must be seen first (TLS)."""
        transport = self.transport
        plain = isinstance(transport, tcp.Connection) and not getattr(transport, "TLS", False)
        return transport.fileno() if plain and self.open and transport.connected else None

    def signal_when_drained(self) -> None:
        """Have the producer resumed as soon as all output has left and the socket takes more."""
        self._output_full = True
        self._stall.start()
        # What write() does when its buffer is full: the transport resumes us once its buffer is empty.
        self.transport.producerPaused = True
        self.transport.startWriting()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._output_full = True
        self._stall.start()
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport's buffer is empty."""
        self._output_full = False
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
        """Return what changes when the client takes some of the output, out of our buffer or out of the kernel's."""
        transport = self.transport
        if self.isSecure():
            transport = getattr(transport, "transport", transport)
        queued = 0
        if isinstance(transport, tcp.Connection) and transport.connected:
            queued = struct.unpack("i", fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
        return queued, len(getattr(transport, "dataBuffer", b"")), getattr(transport, "offset", 0), self._resumes

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
        return bool(ISSLTransport.providedBy(self.transport))
