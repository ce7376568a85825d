"""Copying an object into nearer tiers while it is being read from a farther one.

The copies become visible only when every byte has come and its SHA-256 is the promised one.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing

from twisted.internet.defer import Deferred, succeed

from cachew.cache.interface import Entry, ObjectInfo, Writer
from cachew.cache.tiers import Tier
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError
from cachew.plumbing.regions import MemoryRegion
from cachew.plumbing.streams import Source

Begin = Callable[[ObjectInfo], Awaitable["Copies"]]

_COPIED_AT_ONCE = 1024 * 1024
"""Bytes that go into the copies by one call of a thread."""


class Copies:
    """The copies of one object that are being made.

    A tier that fails loses its copy; whoever reads never notices.
    """

    def __init__(self, *, info: ObjectInfo, ended: Callable[[], object]) -> None:
        self._info, self._ended = info, ended
        self._writers: list[tuple[Tier, Writer]] = []
        self._size = 0

    async def begin(self, tiers: Sequence[Tier], ttl: float | None) -> None:
        """Begin a copy in each of some tiers.

        :param ttl: seconds that the original has left.
        """
        info = self._info
        for tier in tiers:
            creation = tier.cache.create(
                info.namespace,
                info.key,
                headers=info.headers,
                size=info.size,
                ttl=ttl,
                etag=info.etag,
                digest=info.digest or None,
                modified=info.modified,
            )
            try:
                self._writers.append((tier, await tier.ask(creation)))
            except CachewError:
                continue

    @property
    def complete(self) -> bool:
        """Whether all bytes have come."""
        return self._size == self._info.size

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        for tier, writer in list(self._writers):
            try:
                await tier.ask(writer.write(data))
            except CachewError:
                self._writers.remove((tier, writer))
                await abandon(writer)
        self._size += len(data)

    async def end(self) -> None:
        """Make the copies visible when all bytes have come, otherwise forget them."""
        try:
            while self._writers:
                tier, writer = self._writers.pop()
                try:
                    if self.complete:
                        await tier.ask(writer.commit())
                        tier.took()
                except CachewError:
                    continue
                finally:
                    await abandon(writer)
        finally:
            self._ended()


async def abandon(writer: Writer) -> None:
    """Forget what a writer has written, also where its storage fails."""
    try:
        await writer.abort()
    except CachewError:
        # Its storage is failing; what is left there is removed when that starts again.
        return


class CopyingSource:
    """A stream that copies what is read from it.

    A piece is handed out while the copies take it, and the next one is read when they have it. They are begun with the
    first read, as only then it may wait.

    :param info: what is known of the object, of which this is the whole.
    :param begin: begins the copies.
    :param background: where they are ended, so that no reader waits for that.
    """

    def __init__(self, *, info: ObjectInfo, source: Source, begin: Begin, background: Background) -> None:
        self._info = info
        self._source = source
        self._begin = begin
        self._background = background
        self._left = info.size
        self._copies: Copies | None = None
        self._copying: Deferred[None] = succeed(None)
        self._ready = memoryview(b"")
        self._begun = self._closed = False

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        return bytes(await self._take(size))

    async def region(self, limit: int) -> MemoryRegion | None:
        """Return the next bytes as they lie in memory, as :meth:`read` does."""
        data = await self._take(limit)
        return MemoryRegion(data) if data else None

    async def _take(self, size: int) -> memoryview:
        if not self._ready and not self._closed:
            await self._read_on()
        if self._closed:
            return memoryview(b"")
        piece, self._ready = self._ready[:size], self._ready[size:]
        return piece

    async def _read_on(self) -> None:
        if not self._begun:
            self._begun = True
            self._copies = await self._begin(self._info)
        await self._copying
        if self._closed:
            self._end()
            return
        data = await self._source.read(_COPIED_AT_ONCE)
        self._left -= len(data)
        self._ready = memoryview(data)
        if self._copies is not None and data:
            self._copying = Deferred.fromCoroutine(self._copies.write(data))
        if not data or not self._left:
            self._end()

    def _end(self) -> None:
        copies, self._copies = self._copies, None
        if copies is not None:
            self._background.start(_end(copies, self._copying), "copying an object into a nearer cache")

    def close(self) -> None:
        """Give the stream up, and with it copies that are not complete."""
        self._closed = True
        self._source.close()
        self._end()


async def _end(copies: Copies, copying: Deferred[None]) -> None:
    try:
        await copying
    finally:
        await copies.end()


class FarEntry:
    """An object found in a farther tier.

    Who reads the whole of it fills the nearer tiers on the way; who reads a part has them filled in the background.

    :param wanted: whether nobody fills them already; asked when somebody reads.
    :param begin: begins the copies.
    :param fill: has them made in the background.
    """

    def __init__(
        self,
        *,
        entry: Entry,
        wanted: Callable[[], bool],
        begin: Begin,
        fill: Callable[[], object],
        background: Background,
    ) -> None:
        self._entry = entry
        self._wanted = wanted
        self._begin = begin
        self._fill = fill
        self._background = background
        self._filled = False

    @property
    def info(self) -> ObjectInfo:
        """What is known of the object."""
        return self._entry.info

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of the content."""
        source = self._entry.source(offset, length)
        whole = offset == 0 and (length is None or length >= self.info.size)
        if self._filled or not self._wanted():
            return source
        self._filled = True
        if not whole:
            self._fill()
            return source
        return CopyingSource(info=self.info, source=source, begin=self._begin, background=self._background)

    def close(self) -> None:
        """Give the entry up."""
        self._entry.close()


async def copy(entry: Entry, copies: Copies) -> None:
    """Read an object to its end for the sake of its copies."""
    try:
        with closing(entry), closing(entry.source()) as source:
            while data := await source.read(_COPIED_AT_ONCE):
                await copies.write(data)
    finally:
        await copies.end()
