"""Reading on from a farther tier where a nearer one's copy turns out to be damaged, or its storage fails.

Both have the same object, by its SHA-256, so whoever reads it gets the rest from the other and notices nothing.
"""

from collections.abc import Awaitable, Callable

from cachew.cache.interface import Entry, ObjectInfo
from cachew.plumbing.errors import CorruptObject, StorageUnavailable
from cachew.plumbing.streams import FiledSource, Source

Farther = Callable[[], Awaitable[Entry | None]]
"""Opens the same object in a farther tier, if one has it."""


class ReadOnSource:
    """A stream over a region of an object that goes on elsewhere, once, when it fails.

    :param source: where it begins.
    :param offset: of the region.
    :param length: of the region.
    :param farther: where it goes on.
    """

    def __init__(self, *, source: Source, offset: int, length: int, farther: Farther) -> None:
        self._source = source
        self._position = offset
        self._end = offset + length
        self._farther = farther
        self._entry: Entry | None = None
        self._closed = False

    async def read(self, size: int) -> bytes:
        """Return the next bytes.

        :raise CorruptObject: when they are damaged everywhere.
        :raise StorageUnavailable: when no tier can give them.
        """
        try:
            data = await self._source.read(size)
        except (CorruptObject, StorageUnavailable):
            if self._closed or self._entry is not None or not await self._go_on():
                raise
            data = await self._source.read(size)
        self._position += len(data)
        return data

    async def _go_on(self) -> bool:
        entry = await self._farther()
        if entry is None or self._closed:
            if entry is not None:
                entry.close()
            return False
        self._source.close()
        self._entry = entry
        self._source = entry.source(self._position, self._end - self._position)
        return True

    def close(self) -> None:
        """Give the stream up."""
        self._closed = True
        self._source.close()
        if self._entry is not None:
            self._entry.close()


class NearEntry:
    """An object found in a nearer tier.

    :param farther: opens the same object in a farther one.
    """

    def __init__(self, *, entry: Entry, farther: Farther) -> None:
        self._entry, self._farther = entry, farther

    @property
    def info(self) -> ObjectInfo:
        """What is known of the object."""
        return self._entry.info

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of the content."""
        source = self._entry.source(offset, length)
        if isinstance(source, FiledSource):
            # A file that was found sound leaves without being looked at.
            return source
        rest = max(self.info.size - offset, 0)
        length = rest if length is None else min(length, rest)
        return ReadOnSource(source=source, offset=offset, length=length, farther=self._farther)

    def close(self) -> None:
        """Give the entry up."""
        self._entry.close()
