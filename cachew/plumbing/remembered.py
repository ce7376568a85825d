"""Bounded memories: of what is true for a while, and of what has been made of large values while they are in use."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar
from weakref import ref

from cachew.plumbing.clock import Clock

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[V]):
    """The last few results by the very object that they were made of, which is never compared or hashed.

    The object itself is not kept: when nobody else has it any more, what was made of it goes too.

    :param kept: how many.
    :param weigh: tells what a result weighs.
    :param limit: what all of them may weigh, unless it is one alone.
    """

    def __init__(self, kept: int = 64, *, weigh: Callable[[V], int] = lambda result: 0, limit: int = 0) -> None:
        self._kept = kept
        self._weigh = weigh
        self._limit = limit
        self._weight = 0
        self._made: OrderedDict[tuple[int, Hashable], tuple[ref[Any], V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._made)

    def get(self, value: Any, form: Hashable) -> V | None:
        """Return what was made of a value in a form, None when it isn't remembered."""
        found = self._made.get((id(value), form))
        return None if found is None else found[1]

    def of(self, value: Any, form: Hashable, make: Callable[[], V]) -> V:
        """Return what ``make`` gives for a value that never changes, made at the first time.

        :param form: what is made of it.
        """
        key = (id(value), form)
        found = self._made.get(key)
        if found is None:
            # The id is another's as soon as the value is gone, so the result goes with it.
            found = self._made[key] = (ref(value, lambda _: self._drop(key)), make())
            self._weight += self._weigh(found[1])
            while len(self._made) > self._kept or (self._weight > self._limit and len(self._made) > 1):
                self._drop(next(iter(self._made)))
        self._made.move_to_end(key)
        return found[1]

    def _drop(self, key: tuple[int, Hashable]) -> None:
        dropped = self._made.pop(key, None)
        if dropped is not None:
            self._weight -= self._weigh(dropped[1])


class Expiring(Generic[K, V]):
    """Remembers values until they expire; past its capacity the longest unused goes first.

    :param clock: tells their age.
    :param by_date: whether by the time of day, which also passes while the machine sleeps.
    :param capacity: how many are remembered.
    """

    def __init__(self, *, clock: Clock, capacity: int, by_date: bool = False) -> None:
        self._time = clock.now if by_date else clock.seconds
        self._capacity = capacity
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: K, value: V, ttl: float) -> None:
        """Remember a value for ``ttl`` seconds."""
        self._entries.pop(key, None)
        self._entries[key] = (self._time() + ttl, value)
        self._trim()

    def _trim(self) -> None:
        now = self._time()
        while self._entries:
            until, _ = next(iter(self._entries.values()))
            if until > now and len(self._entries) <= self._capacity:
                return
            self._entries.popitem(last=False)

    def get(self, key: K) -> V | None:
        """Return a value that has not expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        until, value = entry
        if self._time() >= until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def forget(self, key: K) -> None:
        """Drop a value."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        """Drop all values."""
        self._entries.clear()


class Newest(Generic[K]):
    """A set of what was added last; past its capacity the oldest goes.

    :param capacity: how many are remembered.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._added: dict[K, None] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._added

    def add(self, key: K) -> None:
        """Remember something."""
        self._added.pop(key, None)
        self._added[key] = None
        if len(self._added) > self._capacity:
            del self._added[next(iter(self._added))]
