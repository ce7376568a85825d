"""A source of what somebody else pushes, who is asked to pause when the reader is slow."""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from cachew.plumbing.streams import PIECE


class PushSource:
    """Turns pushed data into a source and asks the pusher to pause when the reader is slow.

    :param pause: called when more than ``high_water`` bytes wait.
    :param resume: called when the reader has caught up.
    :param stop: called once if the reader gives up before the end.
    :param high_water: bytes that may wait before ``pause`` is called.
    """

    def __init__(
        self,
        *,
        pause: Callable[[], object] = lambda: None,
        resume: Callable[[], object] = lambda: None,
        stop: Callable[[], object] = lambda: None,
        high_water: int = 2 * PIECE,
    ) -> None:
        self._pause = pause
        self._resume = resume
        self._stop = stop
        self._high_water = high_water
        self._pieces: deque[bytes] = deque()
        self._waiting = 0
        self._paused = self._ended = self._closed = False
        self._failure: Exception | None = None
        self._reader: Deferred[None] | None = None

    @property
    def closed(self) -> bool:
        """Whether the reader has given up."""
        return self._closed

    def data(self, data: bytes) -> None:
        """Take data from the pusher."""
        if self._closed or not data:
            return
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > self._high_water and not self._paused:
            self._paused = True
            self._pause()
        self._wake()

    def take_all(self) -> bytes:
        """Return what waits, at once."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._drop_to(0)
        return data

    def finish(self) -> None:
        """The pusher is done."""
        self._ended = True
        self._wake()

    def fail(self, reason: Exception) -> None:
        """The pusher broke off; what has come is still read, then ``reason`` is raised."""
        if not self._ended:
            self._failure = reason
            self.finish()

    def _wake(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.callback(None)

    async def read(self, size: int) -> bytes:
        """Return the next bytes, waiting for the pusher if none have come."""
        while not self._pieces:
            if self._closed:
                return b""
            if self._ended:
                if self._failure is not None:
                    raise self._failure
                return b""
            self._reader = Deferred()
            await self._reader
        piece = self._pieces.popleft()
        if len(piece) > size:
            self._pieces.appendleft(piece[size:])
            piece = piece[:size]
        self._drop_to(self._waiting - len(piece))
        return piece

    def _drop_to(self, waiting: int) -> None:
        self._waiting = waiting
        if self._paused and waiting <= self._high_water // 2:
            self._paused = False
            self._resume()

    def close(self) -> None:
        """Give up: drop what waits and stop the pusher unless it is done."""
        if self._closed:
            return
        self._closed = True
        self._pieces.clear()
        self._waiting = 0
        if not self._ended:
            self._stop()
        self._wake()
