"""A cache in this process's memory, bounded by bytes; the least recently used goes first."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

from cachew.cache.blocks import Ledger
from cachew.cache.eviction import excess, victims
from cachew.cache.interface import ObjectInfo, Options, Stats
from cachew.cache.naming import namespace_name, object_key
from cachew.cache.record import Terms, live
from cachew.plumbing.errors import TooLarge
from cachew.plumbing.streams import BytesSource, Source

Name = tuple[str, str]


@dataclass(frozen=True)
class _Object:
    info: ObjectInfo
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)


class MemoryEntry:
    """An object of a :class:`MemoryCache`, opened."""

    def __init__(self, info: ObjectInfo, data: bytes) -> None:
        self.info = info
        self._data = data

    def source(self, offset: int = 0, length: int | None = None) -> Source:
        """Return a stream over a part of the content."""
        end = None if length is None else offset + length
        return BytesSource(self._data[offset:end])

    def close(self) -> None:
        """Nothing is held that the garbage collector doesn't free."""


class MemoryWriter:
    """An object on its way into a :class:`MemoryCache`.

    :param publish: makes the finished object visible.
    """

    def __init__(
        self, *, terms: Terms, limit: int, clock: Callable[[], float], publish: Callable[[ObjectInfo, bytes], None]
    ) -> None:
        self._terms, self._limit, self._clock, self._publish = terms, limit, clock, publish
        self._ledger = Ledger()
        self._pieces: list[bytes] = []
        self._ended = False

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._ended:
            raise RuntimeError("the writer has ended")
        if self._ledger.size + len(data) > self._limit:
            raise TooLarge(self._limit, "object")
        self._ledger.update(data)
        self._pieces.append(bytes(data))

    async def commit(self) -> ObjectInfo:
        """Make the object visible."""
        if self._ended:
            raise RuntimeError("the writer has ended")
        info = self._terms.record(self._ledger, self._clock()).info
        self._publish(info, b"".join(self._pieces))
        await self.abort()
        return info

    async def abort(self) -> None:
        """Forget what was written."""
        self._ended = True
        self._pieces.clear()


class MemoryCache:
    """See the module.

    :param limit: bytes of content that it may hold.
    :param max_ttl: the longest that an object lives, in seconds; None for ever.
    :param clock: gives the time, in seconds since the epoch.
    """

    def __init__(self, *, limit: int, max_ttl: float | None = None, clock: Callable[[], float]) -> None:
        self._limit, self._max_ttl, self._clock = limit, max_ttl, clock
        self._objects: OrderedDict[Name, _Object] = OrderedDict()
        self._size = 0

    async def start(self) -> None:
        """Nothing is to be opened."""

    async def stop(self) -> None:
        """Forget everything."""
        self._objects.clear()
        self._size = 0

    def _use(self, namespace: str, key: str) -> _Object | None:
        name = namespace_name(namespace), object_key(key)
        found = self._objects.get(name)
        if found is None or not live(found.info, self._clock()):
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
        return None if found is None else MemoryEntry(found.info, found.data)

    async def stat(self, namespace: str, key: str) -> ObjectInfo | None:
        """Return what is known of an object."""
        found = self._use(namespace, key)
        return None if found is None else found.info

    async def create(self, namespace: str, key: str, **options: Unpack[Options]) -> MemoryWriter:
        """Begin an object."""
        terms = Terms.checked(namespace, key, max_ttl=self._max_ttl, **options)
        return MemoryWriter(terms=terms, limit=self._limit, clock=self._clock, publish=self._publish)

    def _publish(self, info: ObjectInfo, data: bytes) -> None:
        name = info.namespace, info.key
        self._forget(name)
        if self._size + len(data) > self._limit:
            self._drop_expired()
        surplus = excess(used=self._size + len(data), limit=self._limit)
        for victim in list(victims(self._objects.values(), surplus)):
            self._forget((victim.info.namespace, victim.info.key))
        self._objects[name] = _Object(info, data)
        self._size += len(data)

    def _drop_expired(self) -> None:
        now = self._clock()
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
        now = self._clock()
        sizes = [held.size for held in self._objects.values() if live(held.info, now)]
        return Stats(objects=len(sizes), size=sum(sizes), capacity=self._limit)

    async def namespaces(self) -> list[str]:
        """Return the namespaces that have visible objects."""
        now = self._clock()
        return sorted({held.info.namespace for held in self._objects.values() if live(held.info, now)})

    async def sweep(self) -> None:
        """Remove what has expired."""
        self._drop_expired()
