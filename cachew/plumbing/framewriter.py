"""Writes an archive of zstd frames: compresses in a few threads, hands the frames on in order, ends with the table.

Memory is bounded by the number of frames under way: a caller waits in :meth:`FrameWriter.add` until one is through.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from mmap import mmap
from typing import Any

from twisted.internet.defer import Deferred

from cachew.plumbing import tarzst
from cachew.plumbing.tarzst import Compressed, Segment

Sink = Callable[[bytes], Awaitable[object]]
"""Takes the next bytes of a stream; awaited, so that a slow one slows the writer."""

InThread = Callable[..., Coroutine[Any, Any, Any]]
"""Runs a function in a thread and gives its result (:class:`cachew.plumbing.threads.Threads`)."""


class FrameWriter:
    """Makes one archive.

    :param sink: takes the archive's bytes.
    :param threads: where frames are compressed.
    :param parallel: how many frames may be under way at once.
    :param frame_size: content bytes of a frame.
    """

    def __init__(
        self, *, sink: Sink, threads: InThread, parallel: int = 2, frame_size: int = tarzst.FRAME_SIZE
    ) -> None:
        self._sink, self._threads = sink, threads
        self._parallel, self._frame_size = parallel, frame_size
        self._pending: deque[Deferred[Compressed]] = deque()
        self._written: list[tuple[int, int]] = []
        self._buffer: mmap | None = None
        self._filled = 0

    async def add(self, segments: Iterable[Segment], level: int) -> None:
        """Write a stream of segments, in frames of its own.

        :param level: zstd's.
        """
        await self.flush()
        for frame in tarzst.into_frames(segments, self._frame_size):
            await self._submit(frame, level)

    async def write(self, data: bytes) -> None:
        """Write bytes at the normal level; they are collected until a frame is full."""
        view = memoryview(data)
        while view:
            if self._buffer is None:
                # One frame's memory less, and the one being filled counts as under way.
                await self._wait_for_room()
                # Pages of its own go back to the system when the frame is through; the heap would keep them.
                self._buffer = mmap(-1, self._frame_size)
            count = min(len(view), self._frame_size - self._filled)
            self._buffer[self._filled : self._filled + count] = view[:count]
            self._filled += count
            view = view[count:]
            if self._filled == self._frame_size:
                await self.flush()

    async def flush(self) -> None:
        """End the frame that bytes are collected in."""
        if self._buffer is not None:
            whole = memoryview(self._buffer)[: self._filled]
            self._buffer, self._filled = None, 0
            await self._submit([whole], tarzst.LEVEL)

    async def finish(self) -> None:
        """Write what is under way and the table."""
        await self.flush()
        while self._pending:
            await self._pass_on()
        await self._sink(tarzst.encode_table(self._written))

    def abandon(self) -> None:
        """Forget what is under way; harmless after :meth:`finish`."""
        self._buffer = None
        pending, self._pending = self._pending, deque()
        for frame in pending:
            frame.addErrback(lambda _: None)
            frame.cancel()

    async def _submit(self, segments: list[Segment], level: int) -> None:
        await self._wait_for_room()
        self._pending.append(Deferred.fromCoroutine(self._threads(tarzst.compress, segments, level)))

    async def _wait_for_room(self) -> None:
        while len(self._pending) >= self._parallel:
            await self._pass_on()

    async def _pass_on(self) -> None:
        frame = await self._pending.popleft()
        self._written.append((frame.length, frame.size))
        for piece in frame.pieces:
            await self._sink(piece)
