"""A bounded memory of things that are true for a while."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Expiring(Generic[K, V]):
    """Remembers values until they expire; past its capacity the longest unused goes first.

    :param seconds: the clock.
    :param capacity: how many are remembered.
    """

    def __init__(self, *, seconds: Callable[[], float], capacity: int) -> None:
        self._seconds, self._capacity = seconds, capacity
        self._entries: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: K, value: V, ttl: float) -> None:
        """Remember a value for ``ttl`` seconds."""
        self._entries.pop(key, None)
        self._entries[key] = (self._seconds() + ttl, value)
        self._trim()

    def _trim(self) -> None:
        now = self._seconds()
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
        if self._seconds() >= until:
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return value

    def forget(self, key: K) -> None:
        """Drop a value."""
        self._entries.pop(key, None)
