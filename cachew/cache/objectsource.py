"""Reading content out of an object store: in ranges, several at once for large objects, every block checked."""

from collections import deque
from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred

from cachew.cache.blocks import BLOCK, Blocks
from cachew.plumbing.bucket import PART, Bucket
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CorruptObject
from cachew.plumbing.regions import MemoryRegion

PARALLEL_FROM = 32 * 1024 * 1024
"""Regions of this many bytes and more are read by several requests at once."""
_BLOCKS_PER_REQUEST = PART // BLOCK
"""No request needs two of what stores keep apart. Fewer blocks would cost both sides more."""
_MOST_AT_ONCE = 3
_LONG = 3.0
"""Seconds after which a request was for too much: over a slow line none should come near the store's time-out."""


class ObjectSource:
    """A stream over a region of an object's content.

    The first request is for one block and those after it for more and more, up to eight, so that the first byte comes
    early; while they take long the next are for less. They end where parts of an upload do. Large regions are read
    ahead, by one more request whenever the reader has to wait, up to three: that keeps a far store busy, and a slow
    reader, who waits once, holds 24 MiB.

    :param path: where the content lies.
    :param damaged: told when a block is not what was stored.
    :param clock: how long requests take.
    """

    def __init__(
        self,
        *,
        bucket: Bucket,
        path: str,
        blocks: Blocks,
        offset: int,
        length: int,
        damaged: Callable[[], Awaitable[object]],
        clock: Clock,
    ) -> None:
        self._bucket = bucket
        self._path = path
        self._blocks = blocks
        self._damaged = damaged
        self._clock = clock
        self._skip, self._left = offset % BLOCK, length
        numbers = blocks.covering(offset, length)
        self._next, self._end, self._count = numbers.start, numbers.stop, 1
        self._at_once, self._most_at_once = 1, _MOST_AT_ONCE if length >= PARALLEL_FROM else 1
        self._coming: deque[Deferred[memoryview]] = deque()
        self._ready = memoryview(b"")
        self._closed = False

    async def read(self, size: int) -> bytes:
        """Return the next bytes.

        :raise CorruptObject: when they are not what was stored.
        :raise StorageUnavailable: when the store fails.
        """
        return bytes(await self._take(size))

    async def region(self, limit: int) -> MemoryRegion | None:
        """Return the next bytes as they lie in memory, as :meth:`read` does."""
        data = await self._take(limit)
        return MemoryRegion(data) if data else None

    async def _take(self, size: int) -> memoryview:
        if not self._ready and self._left and not self._closed:
            self._request()
            if not self._coming[0].called:
                self._at_once = min(self._at_once + 1, self._most_at_once)
            data = await self._coming[0]
            if self._closed:
                return memoryview(b"")
            self._coming.popleft()
            self._ready = data[self._skip : self._skip + self._left]
            self._skip = 0
            if self._at_once > 1:
                self._request()
        piece, self._ready = self._ready[:size], self._ready[size:]
        self._left -= len(piece)
        return piece

    def _request(self) -> None:
        while len(self._coming) < self._at_once and self._next < self._end:
            first, part = self._next, self._next - self._next % _BLOCKS_PER_REQUEST
            self._next = min(first + self._count, part + _BLOCKS_PER_REQUEST, self._end)
            if self._next - first == self._count:
                self._count = min(self._count * 2, _BLOCKS_PER_REQUEST)
            self._coming.append(Deferred.fromCoroutine(self._fetch(first, self._next - 1)))

    async def _fetch(self, first: int, last: int) -> memoryview:
        began = self._clock.seconds()
        try:
            return await self._fetch_blocks(first, last)
        finally:
            if self._clock.seconds() - began > _LONG:
                self._count = max((last - first + 1) // 2, 1)

    async def _fetch_blocks(self, first: int, last: int) -> memoryview:
        start, end = self._blocks.bounds(first)[0], self._blocks.bounds(last)[1]
        try:
            return await self._fetch_sound(first, start, end)
        except FileNotFoundError:
            await self._damaged()
            raise CorruptObject("the content of a stored object is gone") from None
        except CorruptObject:
            await self._damaged()
            raise

    async def _fetch_sound(self, first: int, start: int, end: int) -> memoryview:
        try:
            return await self._bucket.call(self._fetch_checked, first, start, end)
        except CorruptObject:
            # Damaged on its way, perhaps: what others share isn't thrown away for that.
            return await self._bucket.call(self._fetch_checked, first, start, end)

    def _fetch_checked(self, first: int, start: int, end: int) -> memoryview:
        data = self._bucket.read_range(self._path, start, end)
        if len(data) != end - start:
            raise CorruptObject("the content of a stored object is cut short")
        self._blocks.verify(first, data)
        return data

    def close(self) -> None:
        """Give the stream up, with what is under way."""
        self._closed = True
        self._ready = memoryview(b"")
        coming, self._coming = self._coming, deque()
        for deferred in coming:
            deferred.addErrback(lambda _: None)
            deferred.cancel()
