"""Writes an archive of zstd frames: compresses in a few threads, hands the frames on in order, ends with the table.

Memory is bounded by the number of frames under way: a caller waits in :meth:`FrameWriter.add` until one is through.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import Deferred

from cachew.plumbing import tarzst
from cachew.plumbing.tarzst import Segment
from cachew.plumbing.threads import InThread
from cachew.plumbing.workspace import Workspace

Sink = Callable[[bytes], Awaitable[object]]
"""Takes the next bytes of a stream; awaited, so that a slow one slows the writer."""


class FrameWriter:
    """Makes one archive.

    :param sink: takes the archive's bytes.
    :param threads: where frames are compressed.
    :param parallel: how many frames may be under way at once, the one that bytes are collected in among them.
    :param frame_size: content bytes of a frame.
    """

    def __init__(
        self, *, sink: Sink, threads: InThread, parallel: int = 3, frame_size: int = tarzst.FRAME_SIZE
    ) -> None:
        self._sink, self._threads = sink, threads
        self._parallel, self._frame_size = parallel, frame_size
        self._idle: list[Workspace] = []
        self._filling: Workspace | None = None
        self._pending: deque[tuple[Workspace, Deferred[None]]] = deque()
        self._written: list[tuple[int, int]] = []

    async def add(self, segments: Iterable[Segment], level: int) -> None:
        """Write a stream of segments, in frames of its own.

        :param level: zstd's.
        """
        await self.flush()
        for frame in tarzst.into_frames(segments, self._frame_size):
            self._submit(await self._workspace(), frame, level)

    async def write(self, data: bytes) -> None:
        """Write bytes at the normal level; they are collected until a frame is full."""
        view = memoryview(data)
        while view:
            if self._filling is None:
                self._filling = await self._workspace()
            part, view = view[: self._filling.room], view[self._filling.room :]
            self._filling.put(part)
            if not self._filling.room:
                await self.flush()

    async def flush(self) -> None:
        """End the frame that bytes are collected in."""
        filled, self._filling = self._filling, None
        if filled is not None:
            self._submit(filled, [], tarzst.LEVEL)

    async def finish(self) -> None:
        """Write what is under way and the table."""
        await self.flush()
        while self._pending:
            await self._pass_on()
        await self._sink(tarzst.encode_table(self._written))

    def abandon(self) -> None:
        """Forget what is under way; harmless after :meth:`finish`."""
        self._filling = None
        pending, self._pending = self._pending, deque()
        for _, frame in pending:
            frame.addErrback(lambda _: None)
            frame.cancel()

    def _submit(self, workspace: Workspace, segments: list[Segment], level: int) -> None:
        work = self._threads(workspace.compress, segments, level)
        self._pending.append((workspace, Deferred.fromCoroutine(work)))

    async def _workspace(self) -> Workspace:
        while len(self._pending) >= self._parallel:
            await self._pass_on()
        workspace = self._idle.pop() if self._idle else Workspace(self._frame_size)
        workspace.clear()
        return workspace

    async def _pass_on(self) -> None:
        workspace, made = self._pending.popleft()
        await made
        self._written.append((workspace.length, workspace.size))
        for piece in workspace.frame():
            await self._sink(piece)
        self._idle.append(workspace)
