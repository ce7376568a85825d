"""Reading the files of a disk cache: as they are where they are known to be sound, block by block where not."""

import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable

from twisted.logger import Logger

from cachew.cache.blocks import BLOCK
from cachew.cache.diskfile import CheckedRegion, Stamp, read_region
from cachew.cache.objectfiles import FoundObject, ObjectFiles
from cachew.plumbing.errors import CorruptObject
from cachew.plumbing.streams import FileSource, Source
from cachew.plumbing.threads import InThread, Threads

_NOTHING: set[int] = set()
READ_AHEAD = 32 * 1024 * 1024
"""Bytes that are read and checked in some hundredths of a second."""
_BLOCKS_AT_ONCE = 8


class BlockChecks:
    """Which files are known to be sound, and which blocks of others; the oldest are forgotten and checked again."""

    def __init__(self, remembered: int) -> None:
        self._remembered = remembered
        self._seen: OrderedDict[Stamp, set[int] | None] = OrderedDict()

    def trust(self, stamp: Stamp) -> None:
        """Note that all of a file is sound."""
        self._remember(stamp, None)

    def trusted(self, stamp: Stamp) -> bool:
        """Whether all of a file is known to be sound."""
        return self._seen.get(stamp, _NOTHING) is None

    def note(self, stamp: Stamp, number: int, count: int) -> None:
        """Note that a block is sound, of so many."""
        seen = self._seen.get(stamp, _NOTHING)
        if seen is not None:
            seen = seen | {number}
            self._remember(stamp, None if len(seen) == count else seen)

    def _remember(self, stamp: Stamp, seen: set[int] | None) -> None:
        self._seen[stamp] = seen
        if len(self._seen) > self._remembered:
            self._seen.popitem(last=False)


def is_sound(found: FoundObject, numbers: Iterable[int] | None = None) -> bool:
    """Read blocks of an object, all of them if none are named, and say whether they are what was stored (blocking)."""
    blocks = found.record.blocks
    # Of its own, because who is cancelled closes the other one meanwhile.
    descriptor = os.dup(found.file.fileno())
    try:
        for number in range(blocks.count) if numbers is None else numbers:
            begin, end = blocks.bounds(number)
            blocks.verify(number, read_region(descriptor, end - begin, begin))
    except CorruptObject:
        return False
    finally:
        os.close(descriptor)
    return True


class DiskChecks:
    """Sees to it that nothing damaged is given out, and removes what is.

    :param files: the objects.
    :param in_thread: for work on them.
    :param read_ahead: bytes of an object up to which it is read through before it is given out for the first time.
    :param remembered: how many files' checks are kept in mind.
    :param on_damage: called in a thread when an object turned out to be damaged.

    :ivar blocks: what is known to be sound.
    """

    log = Logger()

    def __init__(
        self,
        *,
        files: ObjectFiles,
        in_thread: InThread,
        read_ahead: int = READ_AHEAD,
        remembered: int = 65536,
        on_damage: Callable[[], object] = lambda: None,
    ) -> None:
        self._files = files
        self._in_thread = in_thread
        self._read_ahead = read_ahead
        self._on_damage = on_damage
        self.blocks = BlockChecks(remembered)

    async def verified_ahead(self, name: tuple[str, str], found: FoundObject) -> bool:
        """Read an object that nobody has checked before anything of it is given out; a damaged one is removed.

        Of a large one that would take too long: it is checked while it is read.
        """
        if found.record.info.size > self._read_ahead or self.blocks.trusted(found.stamp):
            return True
        try:
            sound = await self._in_thread(is_sound, found)
        except BaseException:
            found.file.close()
            raise
        if sound:
            self.blocks.trust(found.stamp)
            return True
        found.file.close()
        await self._in_thread(self.drop, name, found.stamp)
        return False

    def drop(self, name: tuple[str, str], stamp: Stamp) -> None:
        """Remove an object that was found damaged (blocking)."""
        self.log.error("cached object {name} is damaged and was removed", name="/".join(name))
        self._on_damage()
        self._files.remove(*name, stamp)

    async def scrub(self, name: tuple[str, str], found: FoundObject, pace: Callable[[int], Awaitable[object]]) -> None:
        """Read an object through; one that is damaged is removed.

        :param pace: awaited after each piece with the bytes that were read.
        """
        count = found.record.blocks.count
        for first in range(0, count, _BLOCKS_AT_ONCE):
            numbers = range(first, min(first + _BLOCKS_AT_ONCE, count))
            if not await self._in_thread(is_sound, found, numbers):
                await self._in_thread(self.drop, name, found.stamp)
                return
            await pace(len(numbers) * BLOCK)
        self.blocks.trust(found.stamp)


class CheckedSource:
    """A stream over a region of a file that gives out only blocks that were found sound.

    :param checked: told of each block found sound.
    :param damaged: called in a thread when one is not.
    """

    def __init__(
        self,
        *,
        found: FoundObject,
        region: CheckedRegion,
        offset: int,
        length: int,
        threads: Threads,
        checked: Callable[[int], None],
        damaged: Callable[[], None],
    ) -> None:
        self._region, self._threads = region, threads
        self._checked, self._damaged = checked, damaged
        self._numbers = iter(found.record.blocks.covering(offset, length))
        self._skip, self._left = offset % BLOCK, length
        self._ready = memoryview(b"")
        self._closed = False

    async def read(self, size: int) -> bytes:
        """Return the next bytes."""
        if not self._ready and self._left and not self._closed:
            await self._next_block()
        if self._closed:
            return b""
        piece, self._ready = self._ready[:size], self._ready[size:]
        self._left -= len(piece)
        return bytes(piece)

    async def _next_block(self) -> None:
        number = next(self._numbers)
        try:
            data = await self._threads(self._region.read, number)
        except CorruptObject:
            await self._threads(self._damaged)
            raise
        self._ready = memoryview(data)[self._skip : self._skip + self._left]
        self._skip = 0
        if data:
            self._checked(number)

    def close(self) -> None:
        """Give the stream up."""
        self._closed = True
        self._region.close()


def close_found(found: FoundObject | None) -> None:
    """Close what was found, if anything was."""
    if found is not None:
        found.file.close()


class DiskEntry:
    """An object of a :class:`DiskCache`, opened."""

    def __init__(
        self, *, found: FoundObject, checks: BlockChecks, threads: Threads, damaged: Callable[[], None]
    ) -> None:
        self._found = found
        self._checks = checks
        self._threads = threads
        self._damaged = damaged
        self.info = found.record.info

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of the content."""
        rest = max(self.info.size - offset, 0)
        length = rest if length is None else min(length, rest)
        file = os.fdopen(os.dup(self._found.file.fileno()), "rb", buffering=0)
        stamp, blocks = self._found.stamp, self._found.record.blocks
        if self._checks.trusted(stamp):
            return FileSource(file, offset, length)
        return CheckedSource(
            found=self._found,
            region=CheckedRegion(file, blocks),
            offset=offset,
            length=length,
            threads=self._threads,
            checked=lambda number: self._checks.note(stamp, number, blocks.count),
            damaged=self._damaged,
        )

    def close(self) -> None:
        """Close the file."""
        self._found.file.close()
