"""A source that goes on after bytes that are at hand: what was read to see what comes, or what is put before a file."""

from cachew.plumbing.regions import AnyRegion, MemoryRegion
from cachew.plumbing.streams import PIECE, BytesSource, FiledSource, Source


class JoinedSource:
    """Bytes in memory, then another source.

    :param start: the bytes.
    :param rest: what follows; closed with this.
    """

    def __init__(self, start: bytes, rest: Source) -> None:
        self._start = BytesSource(start)
        self._rest = rest

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        return await self._start.read(size) or await self._rest.read(size)

    async def region(self, limit: int) -> AnyRegion | None:
        """Return where the next bytes lie; those of a source that can't tell are read."""
        if self._start.length:
            return await self._start.region(limit)
        if isinstance(self._rest, FiledSource):
            return await self._rest.region(limit)
        piece = await self._rest.read(min(limit, PIECE))
        return MemoryRegion(memoryview(piece)) if piece else None

    def close(self) -> None:
        """Close what follows, and forget what comes before."""
        self._start.close()
        self._rest.close()
