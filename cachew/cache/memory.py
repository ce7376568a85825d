"""A cache in this process's memory, bounded by bytes; the least recently used goes first.

The bound is for all that is there: objects, what is being written, and what has gone but is still being read. Content
lies in pieces, so that no object is ever there twice.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Unpack

from cachew.cache.blocks import ContentDigest
from cachew.cache.content import Content, ContentSource, Usage
from cachew.cache.eviction import excess, victims
from cachew.cache.interface import ObjectInfo, ObjectOptions, Stats, object_key, object_name
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


class MemoryObjects:
    """The objects that are there, within a bound.

    :param limit: bytes of content that there may be, what is being written and read included.
    :param clock: what time it is.
    """

    def __init__(self, *, limit: int, clock: Clock) -> None:
        self._clock = clock
        self._objects: OrderedDict[Name, _Object] = OrderedDict()
        self._size = 0
        self.limit = limit
        self.usage = Usage()

    @property
    def held(self) -> int:
        """Bytes that are there: visible ones, those being written, and those still being read."""
        return self.usage.present

    def clear(self) -> None:
        """Forget everything."""
        self._objects.clear()
        self._size = 0

    def use(self, name: Name) -> _Object | None:
        """Return an object that is used now, None when there is none that is visible."""
        found = self._objects.get(name)
        if found is None or not live(found.info, self._clock.now()):
            self.forget(name)
            return None
        self._objects.move_to_end(name)
        return found

    def forget(self, name: Name) -> bool:
        """Remove an object; say whether there was one."""
        gone = self._objects.pop(name, None)
        if gone is not None:
            self._size -= gone.size
        return gone is not None

    def put(self, info: ObjectInfo, content: Content) -> None:
        """Make an object visible, in the place of any other under its name."""
        name = info.namespace, info.key
        self.forget(name)
        self._objects[name] = _Object(info, content)
        self._size += content.size

    def make_room(self, size: int) -> None:
        """Drop the least recently used so that there is room, or nothing when there can't be any.

        :raise StorageFull: when what is being written and read leaves none.
        """
        if self.held + size <= self.limit:
            return
        if self.held - self._size + size <= self.limit:
            self.drop_expired()
            surplus = excess(used=self.held + size, limit=self.limit)
            # Names only: whoever refers to an object keeps its bytes.
            for name in [(one.info.namespace, one.info.key) for one in victims(self._objects.values(), surplus)]:
                self.forget(name)
        if self.held + size > self.limit:
            raise StorageFull("the cache in memory is full of what is being written and read at the moment")

    def drop_expired(self) -> None:
        """Remove what has expired."""
        now = self._clock.now()
        for name in [name for name, held in self._objects.items() if not live(held.info, now)]:
            self.forget(name)

    def visible(self) -> list[ObjectInfo]:
        """Return what is known of all that have not expired."""
        now = self._clock.now()
        return [held.info for held in self._objects.values() if live(held.info, now)]


class MemoryWriter:
    """An object on its way into a :class:`MemoryCache`.

    :param terms: what it is to be.
    :param clock: what time it is.
    :param objects: those that it will be among.
    """

    def __init__(self, *, terms: WriteTerms, clock: Clock, objects: MemoryObjects) -> None:
        self._terms = terms
        self._clock = clock
        self._objects = objects
        self._content = Content(objects.usage)
        self._written = ContentDigest()
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._ended:
            raise RuntimeError("the writer has ended")
        if self._written.size + len(data) > self._objects.limit:
            raise TooLarge(self._objects.limit, "object")
        self._objects.make_room(len(data))
        self._written.update(data)
        self._content.append(bytes(data))

    async def commit(self) -> ObjectInfo:
        """Make the object visible."""
        if self._ended:
            raise RuntimeError("the writer has ended")
        info = self._terms.record(self._written, self._clock.now()).info
        self._ended = True
        self._content.settle()
        self._objects.put(info, self._content)
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
        self._max_ttl = max_ttl
        self._clock = clock
        self._objects = MemoryObjects(limit=limit, clock=clock)

    @property
    def held(self) -> int:
        """Bytes that are there: visible ones, those being written, and those still being read."""
        return self._objects.held

    async def start(self) -> None:
        """Nothing is to be opened."""

    async def stop(self) -> None:
        """Forget everything."""
        self._objects.clear()

    def _use(self, namespace: str, key: str) -> _Object | None:
        return self._objects.use(object_name(namespace, key))

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
        return MemoryWriter(terms=terms, clock=self._clock, objects=self._objects)

    async def delete(self, namespace: str, key: str) -> bool:
        """Remove an object."""
        return self._use(namespace, key) is not None and self._objects.forget((namespace, object_key(key)))

    async def invalidate(self, namespace: str, key: str) -> bool:
        """Remove an object: memory is never shared."""
        return await self.delete(namespace, key)

    async def stats(self) -> Stats:
        """Count the visible objects."""
        visible = self._objects.visible()
        return Stats(objects=len(visible), size=sum(info.size for info in visible), capacity=self._objects.limit)

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have visible objects."""
        return sorted({info.namespace for info in self._objects.visible()})

    async def sweep(self) -> None:
        """Remove what has expired."""
        self._objects.drop_expired()
