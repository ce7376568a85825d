"""A cache in a directory: files beside an index, bounded by size and by the file system's free space.

What was written before this process began is not trusted, nor what anybody has written to since: until every block of
such an object has been read and checked once, its readers get checked blocks; after that, and for objects written by
this process, they get the file, which leaves by ``sendfile``. All but large objects are checked as a whole before the
first byte, so that a damaged one is as good as absent.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import ParamSpec, TypeVar, Unpack

from twisted.logger import Logger

from cachew.cache.diskentry import READ_AHEAD, BlockChecks, DiskChecks, DiskEntry, close_found
from cachew.cache.diskfile import Draft
from cachew.cache.diskstore import DiskStore
from cachew.cache.interface import ObjectInfo, ObjectOptions, Stats, object_name
from cachew.cache.objectfiles import ObjectFiles, info_of, infos_of
from cachew.cache.objectrecord import WriteTerms
from cachew.plumbing.clock import Clock
from cachew.plumbing.database import error_code, is_damaged
from cachew.plumbing.diskspace import FULL
from cachew.plumbing.errors import StorageFull, StorageUnavailable, TooLarge
from cachew.plumbing.gathering import Gathering
from cachew.plumbing.threads import Threads, made_in_thread

P = ParamSpec("P")
T = TypeVar("T")

_ROOM_EVERY = 64 * 1024 * 1024


class DiskThreads:
    """Runs what blocks on a cache's disk in threads, and says in words of the cache what failed.

    :param threads: the threads.
    :param files: whose index is made anew when it is damaged.
    """

    log = Logger()

    def __init__(self, *, threads: Threads, files: ObjectFiles) -> None:
        self._threads = threads
        self._files = files

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
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
            # Descriptors on a file server that was away fail for ever, though the file is sound.
            if is_damaged(error) or error_code(error) == sqlite3.SQLITE_IOERR:
                await self._rebuild_index()
            kind = StorageFull if error_code(error) == sqlite3.SQLITE_FULL else StorageUnavailable
            raise kind(f"the index of the disk cache failed: {error}") from error

    async def _rebuild_index(self) -> None:
        self.log.error("the index of the disk cache is damaged or can't be read, and is opened or made anew")
        try:
            await self._threads(self._files.rebuild)
        except (OSError, sqlite3.Error) as error:
            self.log.error("the index of the disk cache can't be made anew: {error}", error=str(error))


class DiskWriter:
    """An object on its way into a :class:`DiskCache`."""

    def __init__(
        self,
        *,
        store: DiskStore,
        in_thread: DiskThreads,
        checks: BlockChecks,
        clock: Clock,
        draft: Draft,
        terms: WriteTerms,
    ) -> None:
        self._store = store
        self._in_thread = in_thread
        self._checks = checks
        self._clock = clock
        self._draft = draft
        self._terms = terms
        self._size = 0

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        before, self._size = self._size, self._size + len(data)
        limit = self._store.room.limit
        if limit is not None and self._size > limit:
            raise TooLarge(limit, "object")
        await self._in_thread(self._store.append, self._draft, data)
        if before // _ROOM_EVERY != self._size // _ROOM_EVERY:
            await self._in_thread(self._store.room.make, self._clock.now())

    async def commit(self) -> ObjectInfo:
        """Make the object visible."""
        info, stamp = await self._in_thread(self._store.publish, self._draft, self._terms, self._clock.now())
        self._checks.trust(stamp)
        return info

    async def abort(self) -> None:
        """Remove what was written."""
        await self._in_thread(self._store.drafts.discard, self._draft)


class DiskCache:
    """A cache in a directory.

    :param store: its files, of which no other may speak.
    :param max_ttl: the longest that an object lives, in seconds; None for ever.
    :param clock: what time it is.
    :param threads: where it blocks.
    :param remembered: how many files' checks are kept in mind.
    :param read_ahead: bytes of an object up to which it is read through before it is given out for the first time.
    :param on_damage: called in a thread when an object turned out to be damaged.
    """

    adopts_spools = True

    def __init__(
        self,
        *,
        store: DiskStore,
        max_ttl: float | None = None,
        clock: Clock,
        threads: Threads,
        remembered: int = 65536,
        read_ahead: int = READ_AHEAD,
        on_damage: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = store
        self._max_ttl = max_ttl
        self._clock = clock
        self._threads = threads
        self._in_thread = DiskThreads(threads=threads, files=store.files)
        self._checks = DiskChecks(
            files=store.files,
            in_thread=self._in_thread,
            read_ahead=read_ahead,
            remembered=remembered,
            on_damage=on_damage,
        )
        self._looks: Gathering[tuple[str, str], ObjectInfo | Exception | None] = Gathering(self._look)

    async def start(self) -> None:
        """Open the directory, remove what was left unfinished, bring the index in step with the files."""
        await self._in_thread(self._store.files.open)

    async def stop(self) -> None:
        """Close the index."""
        await self._in_thread(self._store.close)

    async def open(self, namespace: str, key: str) -> DiskEntry | None:
        """Open an object."""
        name = object_name(namespace, key)
        now = self._clock.now()
        find = partial(self._store.files.find, *name, now)
        found = await made_in_thread(self._in_thread, find, give_up=close_found)
        if found is None or not await self._checks.verified_ahead(name, found):
            return None
        stamp = found.stamp
        return DiskEntry(
            found=found,
            checks=self._checks.blocks,
            threads=self._threads,
            damaged=lambda: self._checks.drop(name, stamp),
        )

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        name = object_name(namespace, key)
        found = await self._looks.ask(name)
        if isinstance(found, Exception):
            found = await self._in_thread(info_of, self._store.files, name, self._clock.now())
        return found

    async def _look(self, names: Sequence[tuple[str, str]]) -> list[ObjectInfo | Exception | None]:
        return await self._in_thread(infos_of, self._store.files, names, self._clock.now())

    async def scrub(self, pace: Callable[[int], Awaitable[object]]) -> None:
        """Read every object through, one after the other; what is damaged is removed.

        :param pace: awaited after each piece with the bytes that were read.
        """
        for name in await self._in_thread(self._store.files.names):
            now = self._clock.now()
            look = partial(self._store.files.find, *name, now, use=False)
            found = await made_in_thread(self._in_thread, look, give_up=close_found)
            if found is not None:
                try:
                    await self._checks.scrub(name, found, pace)
                finally:
                    found.file.close()

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> DiskWriter:
        """Begin an object.

        :raise TooLarge: when it is known to be larger than the whole cache.
        :raise StorageFull: when it is known that there is no making room for it.
        """
        terms = WriteTerms.checked(namespace, key, max_ttl=self._max_ttl, **options)
        size = options.get("size")
        if size is not None:
            room = self._store.room
            if room.limit is not None and size > room.limit:
                raise TooLarge(room.limit, "object")
            await self._in_thread(room.admit, size)
        return DiskWriter(
            store=self._store,
            in_thread=self._in_thread,
            checks=self._checks.blocks,
            clock=self._clock,
            draft=self._store.drafts.begin(size, options.get("spool")),
            terms=terms,
        )

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object."""
        name = object_name(namespace, key)
        return await self._in_thread(self._remove_visible, *name)

    def _remove_visible(self, namespace: str, key: str) -> bool:
        found = self._store.files.find(namespace, key, self._clock.now())
        if found is None:
            return False
        found.file.close()
        return self._store.files.remove(namespace, key)

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove an object: a disk is not shared."""
        return await self.delete(namespace, key)

    async def stats(self) -> Stats:
        """Count the visible objects."""
        return await self._in_thread(self._store.stats, self._clock.now())

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have visible objects."""
        return await self._in_thread(self._store.namespaces, self._clock.now())

    async def sweep(self) -> None:
        """Remove what has expired and what is over the bounds, and write the uses down."""
        await self._in_thread(self._store.files.look)
        await self._in_thread(self._store.room.drop_expired, self._clock.now())
        await self._in_thread(self._store.flush)
        with suppress(StorageFull):
            await self._in_thread(self._store.room.make, self._clock.now())
