"""A slow link between a client and a server on loopback: bytes take their time, and each has to wait for those before.

All connections share the link, each direction has a rate of its own, and a new connection costs one round trip more, as
TCP's does. Who sends faster than the link is held back after what fits into it.
"""

import asyncio
import threading
from asyncio import AbstractEventLoop, Queue, StreamReader, StreamWriter, Task
from contextlib import suppress
from types import TracebackType

from scripts.benchmarks import ports

_PIECE = 16 * 1024
_HELD = 64
"""Pieces that may be under way on a connection in each direction."""


class Lane:
    """One direction of a link: says when what is sent arrives.

    :param delay: seconds that a byte is under way.
    :param rate: bytes that are sent in a second.
    """

    def __init__(self, *, delay: float, rate: float) -> None:
        self._delay, self._rate = delay, rate
        self._free_at = 0.0
        self.sent = 0

    def arrival(self, size: int, now: float) -> float:
        """Send so many bytes as soon as those before have been sent, and return when the last of them arrives."""
        self.sent += size
        self._free_at = max(self._free_at, now) + size / self._rate
        return self._free_at + self._delay


class SlowLink:
    """A context in which a port leads to another one by way of a slow link.

    :param port: of the server on loopback.
    :param delay: seconds that a byte is under way, half of the round trip.
    :param rate: bytes that are sent in a second, in each direction.
    :ivar port: where clients connect.
    """

    def __init__(self, port: int, *, delay: float, rate: float) -> None:
        self._server_port, self._delay = port, delay
        self._there, self._back = Lane(delay=delay, rate=rate), Lane(delay=delay, rate=rate)
        self._loop: AbstractEventLoop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._connections: set[Task[None]] = set()
        self.port = 0

    @property
    def received(self) -> int:
        """Bytes that the server has sent by this link, with all headers."""
        return self._back.sent

    def __enter__(self) -> "SlowLink":
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> int:
        self._listener = await asyncio.start_server(self._connected, ports.HOST, 0, backlog=1024)
        return int(self._listener.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        connection = self._loop.create_task(self._relay(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await asyncio.sleep(2 * self._delay)
            from_server, to_server = await asyncio.open_connection(ports.HOST, self._server_port)
            try:
                await asyncio.gather(
                    self._pass(reader, to_server, self._there), self._pass(from_server, writer, self._back)
                )
            finally:
                to_server.close()
        except OSError:
            pass  # one of the two has gone
        finally:
            writer.close()

    async def _pass(self, reader: StreamReader, writer: StreamWriter, lane: Lane) -> None:
        under_way: Queue[tuple[float, bytes]] = Queue(_HELD)
        delivery = self._loop.create_task(self._deliver(under_way, writer))
        try:
            while True:
                piece = await reader.read(_PIECE)
                await under_way.put((lane.arrival(len(piece), self._loop.time()), piece))
                if not piece:
                    break
            await delivery
        finally:
            delivery.cancel()

    async def _deliver(self, under_way: "Queue[tuple[float, bytes]]", writer: StreamWriter) -> None:
        while True:
            due, piece = await under_way.get()
            await asyncio.sleep(due - self._loop.time())
            if not piece:
                break
            # What comes for a receiver that has gone is taken from the link and thrown away.
            with suppress(OSError):
                writer.write(piece)
                await writer.drain()
        with suppress(OSError):
            writer.write_eof()
