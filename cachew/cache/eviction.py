"""What has to go when space is short (pure)."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class Sized(Protocol):
    """Something that takes space."""

    @property
    def size(self) -> int:
        """Bytes."""


T = TypeVar("T", bound=Sized)


def excess(*, used: int, limit: int | None, free: int | None = None, min_free: int = 0) -> int:
    """Return how many bytes have to go.

    :param used: bytes that are taken, together with those that are about to be.
    :param limit: bytes that may be taken, None for no bound.
    :param free: bytes that the file system has left, None when that doesn't matter.
    :param min_free: bytes that it shall have left.
    """
    over = 0 if limit is None else used - limit
    if free is not None:
        over = max(over, min_free - free)
    return max(over, 0)


def victims(candidates: Iterable[T], bytes_to_free: int) -> Iterator[T]:
    """Yield candidates until they are worth ``bytes_to_free``.

    :param candidates: the least recently used first.
    """
    freed = 0
    for candidate in candidates:
        if freed >= bytes_to_free:
            return
        freed += candidate.size
        yield candidate


def lifetime(ttl: float | None, max_ttl: float | None) -> float | None:
    """Return the seconds that an object lives, None for ever.

    :param ttl: what its writer asked for.
    :param max_ttl: what the cache allows.
    :raise ValueError: when ``ttl`` is not above zero.
    """
    if ttl is None:
        return max_ttl
    if ttl <= 0:
        raise ValueError("a time to live is above zero")
    return ttl if max_ttl is None else min(ttl, max_ttl)
