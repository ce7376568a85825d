"""Names for the tiers of a cache."""

from collections.abc import Iterable

from cachew.cache.interface import Cache


def numbered(caches: Iterable[Cache]) -> dict[str, Cache]:
    """Return tiers under names made of their numbers and kinds."""
    return {f"{number}-{type(cache).__name__}": cache for number, cache in enumerate(caches, 1)}
