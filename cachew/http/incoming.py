"""The body of one request while it comes in: framing on the connection's side, a source on the handler's."""

from collections.abc import Callable

from cachew.http.framing import framing_for
from cachew.plumbing.streams import PushSource


class IncomingBody:
    """A :class:`~cachew.plumbing.streams.Source` that the connection fills.

    :param length: bytes announced; 0 for no body, None for a chunked one.
    :param expected: called before the first read when the client waits to be told to go on.
    :param pause: called when the handler is slower than the client.
    :param resume: called when it has caught up or given up.
    :param high_water: bytes held before ``pause`` is called.
    """

    def __init__(
        self,
        *,
        length: int | None,
        expected: Callable[[], object] | None,
        pause: Callable[[], object],
        resume: Callable[[], object],
        high_water: int,
    ) -> None:
        self._framing = framing_for(length)
        self._source = PushSource(pause=pause, resume=resume, stop=resume, high_water=high_water)
        self._expected = expected
        self._broken = False
        self.received = 0
        self.dropped = 0
        if self._framing.ended:
            self._source.finish()

    @property
    def ended(self) -> bool:
        """Whether all of the body has come in."""
        return self._framing.ended

    @property
    def broken(self) -> bool:
        """Whether the rest of the body can no longer be made sense of."""
        return self._broken

    @property
    def remaining(self) -> int | None:
        """Bytes still to come; None when that isn't known."""
        return self._framing.remaining

    @property
    def awaited(self) -> bool:
        """Whether the client still waits to be told to send the body."""
        return self._expected is not None

    async def read(self, size: int) -> bytes:
        """Return the next 1..size bytes, ``b""`` at the end.

        :raise BadRequest: when the body is malformed.
        :raise BodyTimedOut: when it came too slowly.
        :raise ClientGone: when the client went away.
        """
        expected, self._expected = self._expected, None
        if expected is not None and not self._source.closed:
            expected()
        return await self._source.read(size)

    def close(self) -> None:
        """Give the body up; what still comes of it is dropped."""
        self._source.close()

    def take(self, data: bytes) -> bytes:
        """Take bytes off the wire.

        :return: what lies after the body's end.
        :raise BadRequest: when the body is malformed; its reader gets the same.
        """
        self._expected = None
        self.received += len(data)
        body, rest = self._framing.take(data)
        if self._source.closed:
            self.dropped += len(data) - len(rest)
        self._source.data(body)
        if self._framing.ended:
            self._source.finish()
        return rest

    def fail(self, reason: Exception) -> None:
        """Break the body off; unless all of it has come, its reader gets ``reason``."""
        self._broken = self._broken or not self.ended
        self._source.fail(reason)
