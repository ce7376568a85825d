"""A cache in a directory: files beside an index, bounded by size and by the file system's free space.

What was written before this process began is not trusted, nor what anybody has written to since: until every block of
such an object has been read and checked once, its readers get checked blocks; after that, and for objects written by
this process, they get the file, which leaves by ``sendfile``. All but large objects are checked as a whole before the
first byte, so that a damaged one is as good as absent.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar, Unpack

from twisted.logger import Logger

from cachew.cache.blocks import BLOCK
from cachew.cache.diskentry import BlockChecks, DiskEntry, close_found, is_sound
from cachew.cache.diskfile import Draft, Stamp
from cachew.cache.diskstore import DiskStore, FoundObject
from cachew.cache.interface import ObjectInfo, ObjectOptions, Stats, namespace_name, object_key
from cachew.cache.objectrecord import WriteTerms
from cachew.plumbing.clock import Clock
from cachew.plumbing.database import error_code, is_damaged
from cachew.plumbing.diskspace import FULL, free_bytes
from cachew.plumbing.errors import StorageFull, StorageUnavailable, TooLarge
from cachew.plumbing.threads import Threads, made_in_thread

P = ParamSpec("P")
T = TypeVar("T")

_ROOM_EVERY = 64 * 1024 * 1024
_READ_AHEAD = 32 * 1024 * 1024
"""Bytes that are read and checked in some hundredths of a second."""
_BLOCKS_AT_ONCE = 8


class DiskWriter:
    """An object on its way into a :class:`DiskCache`."""

    def __init__(self, *, cache: "DiskCache", draft: Draft, terms: WriteTerms, limit: int | None) -> None:
        self._cache = cache
        self._draft = draft
        self._terms = terms
        self._limit = limit
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        before, self._size = self._size, self._size + len(data)
        if self._limit is not None and self._size > self._limit:
            raise TooLarge(self._limit, "object")
        await self._cache.append(self._draft, data)
        if before // _ROOM_EVERY != self._size // _ROOM_EVERY:
            await self._cache.make_room()

    async def commit(self) -> ObjectInfo:
        """Make the object visible."""
        return await self._cache.publish(self._draft, self._terms)

    async def abort(self) -> None:
        """Remove what was written."""
        await self._cache.discard(self._draft)


class DiskCache:
    """A cache in a directory.

    :param directory: its own; made when it doesn't exist.
    :param limit: bytes that its files may take, None for no bound.
    :param max_ttl: the longest that an object lives, in seconds; None for ever.
    :param min_free: bytes that the file system shall have left.
    :param clock: what time it is.
    :param free: tells the bytes that the file system of a directory has left.
    :param remembered: how many files' checks are kept in mind.
    :param read_ahead: bytes of an object up to which it is read through before it is given out for the first time.
    :param on_damage: called in a thread when an object turned out to be damaged.
    """

    log = Logger()
    adopts_spools = True

    def __init__(
        self,
        *,
        directory: Path,
        limit: int | None,
        max_ttl: float | None = None,
        min_free: int = 0,
        clock: Clock,
        threads: Threads,
        free: Callable[[Path], int] = free_bytes,
        remembered: int = 65536,
        read_ahead: int = _READ_AHEAD,
        on_damage: Callable[[], object] = lambda: None,
    ) -> None:
        self._read_ahead = read_ahead
        self._on_damage = on_damage
        self._directory = directory
        self._limit = limit
        self._max_ttl = max_ttl
        self._clock = clock
        self._threads = threads
        self._store = DiskStore(directory=directory, limit=limit, min_free=min_free, free=free)
        self._checks = BlockChecks(remembered)

    async def in_thread(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run what blocks in a thread.

        :raise StorageFull: when the disk is full.
        :raise StorageUnavailable: when it fails in any other way.
        """
        try:
            return await self._threads(function, *args, **kwargs)
        except OSError as error:
            kind = StorageFull if error.errno in FULL else StorageUnavailable
            raise kind(f"the disk cache failed: {error.strerror}") from error
        except sqlite3.Error as error:
            if is_damaged(error):
                await self._rebuild_index()
            kind = StorageFull if error_code(error) == sqlite3.SQLITE_FULL else StorageUnavailable
            raise kind(f"the index of the disk cache failed: {error}") from error

    async def _rebuild_index(self) -> None:
        self.log.error("the index of the disk cache is damaged and is made anew")
        try:
            await self._threads(self._store.rebuild)
        except (OSError, sqlite3.Error) as error:
            self.log.error("the index of the disk cache can't be made anew: {error}", error=str(error))

    async def start(self) -> None:
        """Open the directory, remove what was left unfinished, bring the index in step with the files."""
        await self.in_thread(self._store.open)

    async def stop(self) -> None:
        """Close the index."""
        await self.in_thread(self._store.close)

    async def open(self, namespace: str, key: str) -> DiskEntry | None:
        """Open an object."""
        name = namespace_name(namespace), object_key(key)
        now = self._clock.now()
        found = await made_in_thread(self.in_thread, lambda: self._store.find(*name, now), give_up=close_found)
        if found is None or not await self._verified_ahead(name, found):
            return None
        stamp = found.stamp
        return DiskEntry(
            found=found, checks=self._checks, threads=self._threads, damaged=lambda: self._drop_damaged(name, stamp)
        )

    async def _verified_ahead(self, name: tuple[str, str], found: FoundObject) -> bool:
        """Read an object that nobody has checked before anything of it is given out; a damaged one is removed.

        Of a large one that would take too long: it is checked while it is read.
        """
        if found.record.info.size > self._read_ahead or self._checks.trusted(found.stamp):
            return True
        try:
            sound = await self.in_thread(is_sound, found)
        except BaseException:
            found.file.close()
            raise
        if sound:
            self._checks.trust(found.stamp)
            return True
        found.file.close()
        await self.in_thread(self._drop_damaged, name, found.stamp)
        return False

    def _drop_damaged(self, name: tuple[str, str], stamp: Stamp) -> None:
        self.log.error("cached object {name} is damaged and was removed", name="/".join(name))
        self._on_damage()
        self._store.remove(*name, stamp)

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        name = namespace_name(namespace), object_key(key)
        now = self._clock.now()
        found = await made_in_thread(self.in_thread, lambda: self._store.find(*name, now), give_up=close_found)
        if found is None:
            return None
        found.file.close()
        return found.record.info

    async def scrub(self, pace: Callable[[int], Awaitable[object]]) -> None:
        """Read every object through, one after the other; what is damaged is removed.

        :param pace: awaited after each piece with the bytes that were read.
        """
        for name in await self.in_thread(self._store.names):
            now = self._clock.now()
            look = partial(self._store.find, *name, now, use=False)
            found = await made_in_thread(self.in_thread, look, give_up=close_found)
            if found is not None:
                try:
                    await self._scrub(name, found, pace)
                finally:
                    found.file.close()

    async def _scrub(self, name: tuple[str, str], found: FoundObject, pace: Callable[[int], Awaitable[object]]) -> None:
        count = found.record.blocks.count
        for first in range(0, count, _BLOCKS_AT_ONCE):
            numbers = range(first, min(first + _BLOCKS_AT_ONCE, count))
            if not await self.in_thread(is_sound, found, numbers):
                await self.in_thread(self._drop_damaged, name, found.stamp)
                return
            await pace(len(numbers) * BLOCK)
        self._checks.trust(found.stamp)

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> DiskWriter:
        """Begin an object.

        :raise TooLarge: when it is known to be larger than the whole cache.
        :raise StorageFull: when it is known that there is no making room for it.
        """
        terms = WriteTerms.checked(namespace, key, max_ttl=self._max_ttl, **options)
        size = options.get("size")
        if size is not None:
            if self._limit is not None and size > self._limit:
                raise TooLarge(self._limit, "object")
            await self.in_thread(self._store.admit, size)
        return DiskWriter(
            cache=self, draft=self._store.draft(size, options.get("spool")), terms=terms, limit=self._limit
        )

    async def make_room(self) -> None:
        """Remove objects until what is stored and what is being written fit."""
        await self.in_thread(self._store.make_room, self._clock.now())

    async def append(self, draft: Draft, data: bytes) -> None:
        """Write the next bytes of a file."""
        await self.in_thread(self._store.append, draft, data)

    async def publish(self, draft: Draft, terms: WriteTerms) -> ObjectInfo:
        """Finish a file and make it visible."""
        info, stamp = await self.in_thread(self._store.publish, draft, terms, self._clock.now())
        self._checks.trust(stamp)
        return info

    async def discard(self, draft: Draft) -> None:
        """Remove a file that was begun."""
        await self.in_thread(self._store.discard, draft)

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object."""
        name = namespace_name(namespace), object_key(key)
        return await self.in_thread(self._remove_visible, *name)

    def _remove_visible(self, namespace: str, key: str) -> bool:
        found = self._store.find(namespace, key, self._clock.now())
        if found is None:
            return False
        found.file.close()
        return self._store.remove(namespace, key)

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove an object: a disk is not shared."""
        return await self.delete(namespace, key)

    async def stats(self) -> Stats:
        """Count the visible objects."""
        return await self.in_thread(self._store.stats, self._clock.now())

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have visible objects."""
        return await self.in_thread(self._store.namespaces, self._clock.now())

    async def sweep(self) -> None:
        """Remove what has expired and what is over the bounds, and write the uses down."""
        await self.in_thread(self._store.look)
        await self.in_thread(self._store.drop_expired, self._clock.now())
        await self.in_thread(self._store.flush)
        with suppress(StorageFull):
            await self.make_room()
