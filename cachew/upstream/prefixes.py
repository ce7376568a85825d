"""Which names begin with one of many prefixes, told without trying all of them (pure)."""

from bisect import bisect_right
from collections.abc import Iterable


class Prefixes:
    """A set of prefixes.

    In order, and without those that others imply, only the last one that is not beyond a name can be its beginning:
    whatever stands between a prefix and a name that it begins, begins with that prefix too.

    :param prefixes: in any order.
    """

    def __init__(self, prefixes: Iterable[str]) -> None:
        self._sorted: list[str] = []
        for prefix in sorted(set(prefixes)):
            if not self._sorted or not prefix.startswith(self._sorted[-1]):
                self._sorted.append(prefix)

    def match(self, name: str) -> bool:
        """Say whether a name begins with one of them."""
        position = bisect_right(self._sorted, name)
        return position > 0 and name.startswith(self._sorted[position - 1])
