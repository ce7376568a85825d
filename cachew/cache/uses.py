"""What was used since that was written down last: a use costs no write of its own, since many are written together."""

import sqlite3
from collections.abc import Callable
from typing import Generic, TypeVar

from cachew.plumbing.database import is_damaged

K = TypeVar("K")

_WRITTEN_TOGETHER = 256
_REMEMBERED = 65536


class UnwrittenUses(Generic[K]):
    """Which of the things in a database were used since that was written down last; its callers hold the store's lock.

    :param write: writes down when each was used.
    """

    def __init__(self, write: Callable[[dict[K, float]], object]) -> None:
        self._write = write
        self._uses: dict[K, float] = {}

    def __contains__(self, name: K) -> bool:
        return name in self._uses

    def note(self, name: K, now: float) -> None:
        """Note a use; many are written down."""
        self._uses[name] = now
        if len(self._uses) % _WRITTEN_TOGETHER == 0:
            self.flush()

    def forget(self, name: K) -> None:
        """Forget the uses of what goes."""
        self._uses.pop(name, None)

    def clear(self) -> None:
        """Forget all uses."""
        self._uses.clear()

    def flush(self) -> None:
        """Write them down."""
        uses, self._uses = self._uses, {}
        try:
            if uses:
                self._write(uses)
        except sqlite3.Error as error:
            if is_damaged(error):
                raise
            # Nobody is refused what he reads because the order of use can't be written down.
            self._uses = dict(list((uses | self._uses).items())[-_REMEMBERED:])
