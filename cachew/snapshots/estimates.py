"""Which work on a repository is long, before it is begun.

What the same took last time says most. Where nothing is known of it, as after a start, the size of the mirror must do,
because nearly everything that is made of a mirror reads and writes all of it.
"""

from collections import OrderedDict
from collections.abc import Callable

from cachew.plumbing.jobs import LONG
from cachew.snapshots.variants import LFS

LARGE = 128 * 1024 * 1024
"""Bytes from which a mirror is taken for one that work on takes long."""

_MOST_REMEMBERED = 20_000


class Estimates:
    """Remembers how long work took.

    :param size: gives the bytes of a repository's mirror by the repository's name; 0 where there is none.
    """

    def __init__(self, *, size: Callable[[str], int] = lambda repository: 0) -> None:
        self._size = size
        self._seconds: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_long(self, repository: str, kind: str) -> bool:
        """Say whether a kind of work on a repository will probably take :data:`cachew.plumbing.jobs.LONG` seconds."""
        seconds = self._seconds.get((repository, kind))
        if seconds is not None:
            return seconds >= LONG
        # LFS objects are in no mirror: what there is of them may be more than everything else.
        return kind == LFS or self._size(repository) >= LARGE

    def took(self, repository: str, kind: str, seconds: float) -> None:
        """Note how long work took, without what it waited for a place."""
        self._seconds[repository, kind] = seconds
        self._seconds.move_to_end((repository, kind))
        if len(self._seconds) > _MOST_REMEMBERED:
            self._seconds.popitem(last=False)
