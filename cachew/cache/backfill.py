"""Copying an object into nearer tiers while it is being read from a farther one.

The copies become visible only when every byte has come and its SHA-256 is the promised one.
"""

from collections.abc import Awaitable, Callable, Sequence

from cachew.cache.interface import Entry, ObjectInfo, Writer
from cachew.cache.tiers import Tier
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CachewError
from cachew.plumbing.streams import PIECE, Source

Begin = Callable[[ObjectInfo], Awaitable["Copies"]]


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
                await _abandon(writer)
        self._size += len(data)

    async def end(self) -> None:
        """Make the copies visible when all bytes have come, otherwise forget them."""
        try:
            while self._writers:
                tier, writer = self._writers.pop()
                try:
                    if self.complete:
                        await tier.ask(writer.commit())
                except CachewError:
                    continue
                finally:
                    await _abandon(writer)
        finally:
            self._ended()


async def _abandon(writer: Writer) -> None:
    try:
        await writer.abort()
    except CachewError:
        # Its storage is failing; what is left there is removed when that starts again.
        return


class CopyingSource:
    """A stream that copies what is read from it.

    :param background: where the copies are ended, so that no reader waits for that.
    """

    def __init__(self, *, source: Source, copies: Copies, background: Background) -> None:
        self._source, self._background = source, background
        self._copies: Copies | None = copies

    async def read(self, size: int) -> bytes:
        """Return the next bytes, which the copies have by then."""
        data = await self._source.read(size)
        copies = self._copies
        if copies is not None and data:
            await copies.write(data)
        if copies is not None and (not data or copies.complete):
            self._end()
        return data

    def _end(self) -> None:
        copies, self._copies = self._copies, None
        if copies is not None:
            self._background.start(copies.end(), "copying an object into a nearer cache")

    def close(self) -> None:
        """Give the stream up, and with it copies that are not complete."""
        self._source.close()
        self._end()


class LazyCopyingSource:
    """A :class:`CopyingSource` that begins its copies with the first read, as only then it may wait."""

    def __init__(self, *, info: ObjectInfo, source: Source, begin: Begin, background: Background) -> None:
        self._info, self._source, self._begin, self._background = info, source, begin, background
        self._copying: CopyingSource | None = None
        self._closed = False

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        if self._closed:
            return b""
        if self._copying is None:
            copies = await self._begin(self._info)
            self._copying = CopyingSource(source=self._source, copies=copies, background=self._background)
            if self._closed:
                self._copying.close()
                return b""
        return await self._copying.read(size)

    def close(self) -> None:
        """Give the stream up."""
        self._closed = True
        (self._copying or self._source).close()


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
        self._entry, self._wanted, self._begin, self._fill = entry, wanted, begin, fill
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
        return LazyCopyingSource(info=self.info, source=source, begin=self._begin, background=self._background)

    def close(self) -> None:
        """Give the entry up."""
        self._entry.close()


async def copy(entry: Entry, copies: Copies) -> None:
    """Read an object to its end for the sake of its copies."""
    source = entry.source()
    try:
        while data := await source.read(PIECE):
            await copies.write(data)
    finally:
        source.close()
        entry.close()
        await copies.end()
