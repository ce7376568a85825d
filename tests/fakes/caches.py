"""Caches that fail, hang or lie, at a test's command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Unpack

from twisted.internet.defer import Deferred

from cachew.cache.disk import DiskCache
from cachew.cache.diskstore import DiskStore
from cachew.cache.interface import Cache, Entry, ObjectInfo, ObjectOptions, Stats, Writer
from cachew.plumbing.diskspace import free_bytes
from cachew.plumbing.errors import CorruptObject, StorageUnavailable
from cachew.plumbing.streams import Source


def disk_cache(
    directory: Path,
    *,
    limit: int | None,
    min_free: int = 0,
    free: Callable[[Path], int] = free_bytes,
    **settings: Any,
) -> DiskCache:
    """Return a cache in a directory.

    :param settings: what else is to be told of it.
    """
    store = DiskStore(directory=directory, limit=limit, min_free=min_free, free=free)
    return DiskCache(store=store, **settings)


class UnreliableCache:
    """Passes everything on to another cache, unless it is told to fail.

    ``down``: every operation fails. ``keeps``: deleting fails. ``gate``: every operation waits for it first. ``cut``:
    reading fails after so many bytes of a source. ``full_after``: writing fails after so many bytes. ``writing``:
    writers wait for it. ``first_write`` and ``aborted`` fire when a writer has taken something, and when one was
    aborted. ``written`` has the sizes of what was written.
    """

    def __init__(self, cache: Cache) -> None:
        self.cache = cache
        self.down = self.keeps = False
        self.gate: Deferred[None] | None = None
        self.cut: int | None = None
        self.full_after: int | None = None
        self.writing: Deferred[None] | None = None
        self.asked: list[str] = []
        self.written: list[int] = []
        self.first_write: Deferred[None] = Deferred()
        self.aborted: Deferred[None] = Deferred()

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        await _passing(self.gate)
        self.check()

    def check(self) -> None:
        """Fail when told so."""
        if self.down:
            raise StorageUnavailable("down")

    async def start(self) -> None:
        """Start."""
        self.check()
        await self.cache.start()

    async def stop(self) -> None:
        """Stop."""
        await self.cache.stop()

    async def open(self, namespace: str, key: str) -> Entry | None:
        """Open."""
        await self._ask("open")
        entry = await self.cache.open(namespace, key)
        return None if entry is None else _Entry(self, entry)

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Stat."""
        await self._ask("stat")
        return await self.cache.stat(namespace, key)

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> Writer:
        """Create."""
        await self._ask("create")
        return _Writer(self, await self.cache.create(namespace, key, **options))

    async def delete(self, namespace: str, key: str) -> bool:
        """Delete."""
        await self._ask("delete")
        if self.keeps:
            raise StorageUnavailable("forbidden")
        return await self.cache.delete(namespace, key)

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Invalidate."""
        await self._ask("invalidate")
        return await self.cache.invalidate(namespace, key)

    async def stats(self) -> Stats:
        """Count."""
        await self._ask("stats")
        return await self.cache.stats()

    async def namespaces(self) -> list[str]:
        """List."""
        await self._ask("namespaces")
        return await self.cache.namespaces()

    async def sweep(self) -> None:
        """Sweep."""
        await self._ask("sweep")
        await self.cache.sweep()


class _Entry:
    def __init__(self, unreliable: UnreliableCache, entry: Entry) -> None:
        self._unreliable, self._entry = unreliable, entry
        self.info = entry.info

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a source that breaks when told so."""
        return _Source(self._unreliable, self._entry.source(offset, length))

    def close(self) -> None:
        """Close."""
        self._entry.close()


class _Source:
    def __init__(self, unreliable: UnreliableCache, source: Source) -> None:
        self._unreliable, self._source, self._given = unreliable, source, 0

    async def read(self, size: int) -> bytes:
        """Read, up to where it breaks."""
        cut = self._unreliable.cut
        if cut is not None and self._given >= cut:
            raise CorruptObject("the connection was lost")
        data = await self._source.read(size if cut is None else min(size, cut - self._given))
        self._given += len(data)
        return data

    def close(self) -> None:
        """Close."""
        self._source.close()


class _Writer:
    def __init__(self, unreliable: UnreliableCache, writer: Writer) -> None:
        self._unreliable, self._writer, self._taken = unreliable, writer, 0

    async def write(self, data: bytes) -> None:
        """Write, up to where it breaks."""
        self._unreliable.check()
        self._taken += len(data)
        self._unreliable.written.append(len(data))
        if self._unreliable.full_after is not None and self._taken > self._unreliable.full_after:
            raise StorageUnavailable("full")
        await _passing(self._unreliable.writing)
        await self._writer.write(data)
        _fire(self._unreliable.first_write)

    async def commit(self) -> ObjectInfo:
        """Commit."""
        self._unreliable.check()
        return await self._writer.commit()

    async def abort(self) -> None:
        """Abort."""
        await self._writer.abort()
        _fire(self._unreliable.aborted)


async def _passing(gate: Deferred[None] | None) -> None:
    if gate is not None:
        waiter: Deferred[None] = Deferred()
        gate.chainDeferred(waiter)
        await waiter


def _fire(deferred: Deferred[None]) -> None:
    if not deferred.called:
        deferred.callback(None)
