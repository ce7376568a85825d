"""A cache in this process's memory, bounded by bytes; the least recently used goes first.

The bound is for all that is there: objects, what is being written, and what has gone but is still being read. Content
lies in pieces, so that no object is ever there twice.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

from cachew.cache.blocks import ContentDigest
from cachew.cache.content import Content, ContentSource, Usage
from cachew.cache.eviction import excess, victims
from cachew.cache.interface import ObjectInfo, ObjectOptions, Stats, namespace_name, object_key
from cachew.cache.objectrecord import WriteTerms, live
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import StorageFull, TooLarge
from cachew.plumbing.streams import Source

Name = tuple[str, str]


@dataclass(frozen=True)
class _Object:
    info: ObjectInfo
    content: Content

    @property
    def size(self) -> int:
        return self.content.size


class MemoryEntry:
    """An object of a :class:`MemoryCache`, opened."""

    def __init__(self, info: ObjectInfo, content: Content) -> None:
        self.info = info
        self._content = content

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of the content."""
        rest = max(0, self._content.size - offset)
        return ContentSource(self._content, offset, rest if length is None else min(length, rest))

    def close(self) -> None:
        """Nothing is held that the garbage collector doesn't free."""


class MemoryWriter:
    """An object on its way into a :class:`MemoryCache`.

    :param content: what takes the bytes.
    :param make_room: makes room for so many bytes more.
    :param publish: makes the finished object visible.
    """

    def __init__(
        self,
        *,
        terms: WriteTerms,
        limit: int,
        clock: Clock,
        content: Content,
        make_room: Callable[[int], None],
        publish: Callable[[ObjectInfo, Content], None],
    ) -> None:
        self._terms = terms
        self._limit = limit
        self._clock = clock
        self._publish = publish
        self._content, self._make_room = content, make_room
        self._ledger = ContentDigest()
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._ended:
            raise RuntimeError("the writer has ended")
        if self._ledger.size + len(data) > self._limit:
            raise TooLarge(self._limit, "object")
        self._make_room(len(data))
        self._ledger.update(data)
        self._content.append(bytes(data))

    async def commit(self) -> ObjectInfo:
        """Make the object visible."""
        if self._ended:
            raise RuntimeError("the writer has ended")
        info = self._terms.record(self._ledger, self._clock.now()).info
        self._ended = True
        self._content.settle()
        self._publish(info, self._content)
        return info

    async def abort(self) -> None:
        """Forget what was written."""
        if not self._ended:
            self._ended = True
            self._content.drop()


class MemoryCache:
    """A cache in memory.

    :param limit: bytes of content that it may hold, what is being written and read included.
    :param max_ttl: the longest that an object lives, in seconds; None for ever.
    :param clock: what time it is.
    """

    def __init__(self, *, limit: int, max_ttl: float | None = None, clock: Clock) -> None:
        self._limit = limit
        self._max_ttl = max_ttl
        self._clock = clock
        self._objects: OrderedDict[Name, _Object] = OrderedDict()
        self._usage = Usage()
        self._size = 0

    @property
    def held(self) -> int:
        """Bytes that are there: visible ones, those being written, and those still being read."""
        return self._usage.present

    async def start(self) -> None:
        """Nothing is to be opened."""

    async def stop(self) -> None:
        """Forget everything."""
        self._objects.clear()
        self._size = 0

    def _use(self, namespace: str, key: str) -> _Object | None:
        name = namespace_name(namespace), object_key(key)
        found = self._objects.get(name)
        if found is None or not live(found.info, self._clock.now()):
            self._forget(name)
            return None
        self._objects.move_to_end(name)
        return found

    def _forget(self, name: Name) -> bool:
        gone = self._objects.pop(name, None)
        if gone is not None:
            self._size -= gone.size
        return gone is not None

    async def open(self, namespace: str, key: str) -> MemoryEntry | None:
        """Open an object."""
        found = self._use(namespace, key)
        return None if found is None else MemoryEntry(found.info, found.content)

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        found = self._use(namespace, key)
        return None if found is None else found.info

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> MemoryWriter:
        """Begin an object."""
        terms = WriteTerms.checked(namespace, key, max_ttl=self._max_ttl, **options)
        return MemoryWriter(
            terms=terms,
            limit=self._limit,
            clock=self._clock,
            content=Content(self._usage),
            make_room=self._make_room,
            publish=self._publish,
        )

    def _publish(self, info: ObjectInfo, content: Content) -> None:
        name = info.namespace, info.key
        self._forget(name)
        self._objects[name] = _Object(info, content)
        self._size += content.size

    def _make_room(self, size: int) -> None:
        """Drop the least recently used so that there is room, or nothing when there can't be any.

        :raise StorageFull: when what is being written and read leaves none.
        """
        if self.held + size <= self._limit:
            return
        if self.held - self._size + size <= self._limit:
            self._drop_expired()
            surplus = excess(used=self.held + size, limit=self._limit)
            # Names only: whoever refers to an object keeps its bytes.
            for name in [(one.info.namespace, one.info.key) for one in victims(self._objects.values(), surplus)]:
                self._forget(name)
        if self.held + size > self._limit:
            raise StorageFull("the cache in memory is full of what is being written and read at the moment")

    def _drop_expired(self) -> None:
        now = self._clock.now()
        for name in [name for name, held in self._objects.items() if not live(held.info, now)]:
            self._forget(name)

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object."""
        return self._use(namespace, key) is not None and self._forget((namespace, object_key(key)))

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove an object: memory is never shared."""
        return await self.delete(namespace, key)

    async def stats(self) -> Stats:
        """Count the visible objects."""
        now = self._clock.now()
        sizes = [held.size for held in self._objects.values() if live(held.info, now)]
        return Stats(objects=len(sizes), size=sum(sizes), capacity=self._limit)

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have visible objects."""
        now = self._clock.now()
        return sorted({held.info.namespace for held in self._objects.values() if live(held.info, now)})

    async def sweep(self) -> None:
        """Remove what has expired."""
        self._drop_expired()
