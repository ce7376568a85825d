"""A cache each of whose operations is a step (:mod:`tests.fakes.disturbance`), which knows what was not let go of."""

from typing import Unpack

from cachew.cache.interface import Cache, Entry, ObjectInfo, ObjectOptions, Writer
from cachew.plumbing.streams import Source
from tests.fakes.disturbance import Steps


class SteppedCache:
    """Passes everything on to another cache, after a step.

    :param cache: the other.
    """

    def __init__(self, steps: Steps, cache: Cache) -> None:
        self.steps, self._cache = steps, cache
        self._held: list[SteppedEntry | SteppedWriter | SteppedReading] = []

    async def open(self, namespace: str, key: str) -> "SteppedEntry | None":
        """Open an object."""
        await self.steps.reach("cache.open")
        entry = await self._cache.open(namespace, key)
        return None if entry is None else self.hold(SteppedEntry(self, entry))

    async def create(self, namespace: str, key: str, **options: Unpack[ObjectOptions]) -> "SteppedWriter":
        """Begin an object."""
        await self.steps.reach("cache.create")
        writer = SteppedWriter(self.steps, await self._cache.create(namespace, key, **options))
        self._held.append(writer)
        return writer

    def hold(self, entry: "SteppedEntry") -> "SteppedEntry":
        """Note what has to be closed."""
        self._held.append(entry)
        return entry

    def hold_reading(self, reading: "SteppedReading") -> "SteppedReading":
        """Note what has to be closed."""
        self._held.append(reading)
        return reading

    def left(self) -> list[str]:
        """Name what was not let go of."""
        return [f"open {type(held).__name__}" for held in self._held if not held.ended]


class SteppedEntry:
    """An opened object."""

    def __init__(self, cache: SteppedCache, entry: Entry) -> None:
        self._cache, self._entry, self.ended = cache, entry, False

    @property
    def info(self) -> ObjectInfo:
        """What is known of it."""
        return self._entry.info

    def source(self, offset: int = 0, length: int | None = None) -> "SteppedReading":
        """Return a stream over it."""
        return self._cache.hold_reading(SteppedReading(self._cache.steps, self._entry.source(offset, length)))

    def close(self) -> None:
        """Close it."""
        self.ended = True
        self._entry.close()


class SteppedReading:
    """A stream over an object."""

    def __init__(self, steps: Steps, source: Source) -> None:
        self._steps, self._source, self.ended = steps, source, False

    async def read(self, size: int) -> bytes:
        """Read."""
        await self._steps.reach("cache.read")
        return await self._source.read(size)

    def close(self) -> None:
        """Close it."""
        self.ended = True
        self._source.close()


class SteppedWriter:
    """An object on its way in."""

    def __init__(self, steps: Steps, writer: Writer) -> None:
        self._steps, self._writer, self.ended = steps, writer, False

    async def write(self, data: bytes) -> None:
        """Take the next bytes."""
        await self._steps.reach("cache.write")
        await self._writer.write(data)

    async def commit(self) -> ObjectInfo:
        """Make it visible."""
        await self._steps.reach("cache.commit")
        return await self._writer.commit()

    async def abort(self) -> None:
        """Forget it."""
        self.ended = True
        await self._writer.abort()
        await self._steps.reach("cache.abort")
