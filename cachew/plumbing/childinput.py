"""What a child process reads, copied as fast as it takes it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from cachew.plumbing.streams import PIECE, Source


@implementer(IPushProducer)
class ChildInput:
    """Copies a source into a child's standard input as fast as the child reads."""

    def __init__(self, source: Source, transport: Any) -> None:
        self._source, self._transport = source, transport
        self._room: Deferred[None] | None = None
        self._stopped = False

    async def run(self) -> None:
        """Copy until the source ends or the child closes its input.

        :raise Exception: the source's failure.
        """
        self._transport.registerProducer(self, True)
        try:
            while not self._stopped and (piece := await self._source.read(PIECE)):
                self._transport.write(piece)
                if self._room is not None:
                    await self._room
        finally:
            self._source.close()
            self._transport.unregisterProducer()
            self._transport.closeStdin()

    def pauseProducing(self) -> None:
        self._room = self._room or Deferred()

    def resumeProducing(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        self._stopped = True
        self._source.close()
        self.resumeProducing()
