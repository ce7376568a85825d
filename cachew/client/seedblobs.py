"""Decides whether a seed takes the files of the snapshot's working tree too, and which.

It does where git would spend long on putting them together: where the packs have them at the end of long chains of
deltas. See :mod:`cachew.client.wholeblobs`.
"""

import os
from collections.abc import Sequence

from cachew.client.clienterrors import ClientError
from cachew.client.gitindex import IndexedFile, regular_files
from cachew.client.seededobjects import SeededPack
from cachew.client.seedfiles import SeedFiles
from cachew.client.tarheader import TarEntry

_DEEP = 6
_DEEPEST = 60
_SAMPLES = 32
_FILE_LIMIT = 1024 * 1024
_TOTAL_LIMIT = 256 * 1024 * 1024
_MOST = 100_000


class SeedBlobs:
    """The files that are taken.

    :param files: what the seed has brought; the blobs go there.
    :param checks_out: whether git is going to check anything out.
    """

    def __init__(self, files: SeedFiles, *, checks_out: bool) -> None:
        self._files = files
        self._checks_out = checks_out
        self._sizes: dict[bytes, int] = {}

    def begin(self) -> bool:
        """Decide, when everything of the repository itself is there."""
        if not self._checks_out:
            return False
        try:
            return self._begin()
        except (ClientError, ValueError, OSError, StopIteration, IndexError):
            # Nobody needs them, and what is wrong with the packs is told by who checks them.
            return False

    def wants(self, entry: TarEntry) -> bool:
        """Tell whether a file is one of those; one that is not what the index says is no blob."""
        return self._sizes.get(entry.path) == entry.size

    @property
    def complete(self) -> bool:
        """Whether all of them have come."""
        return self._files.has_all_blobs

    def _begin(self) -> bool:
        packs = self._files.objects.packs()
        if not packs:
            return False
        oid_size = packs[0].oid_size
        found = list(regular_files(self._files.content(b"index")[:-oid_size], oid_size=oid_size))
        small = [one for one in found if one.size <= _FILE_LIMIT]
        if not small or len(small) > _MOST or sum(one.size for one in small) > _TOTAL_LIMIT:
            return False
        if _mean_depth(small, packs) < _DEEP:
            return False
        self._files.begin_blobs((one.oid for one in small), oid_size=oid_size)
        self._sizes = {one.path: one.size for one in small}
        return True


def _mean_depth(files: Sequence[IndexedFile], packs: Sequence[SeededPack]) -> float:
    """Return how many deltas a file takes on average, by a few of them."""
    samples = files[:: -(-len(files) // _SAMPLES)]
    depths = []
    for pack in packs:
        here = [one.oid for one in samples if one.oid in pack.contents]
        if here:
            opened = os.open(pack.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                read = lambda offset, count, opened=opened: os.pread(opened, count, offset)  # noqa: E731
                depths += [pack.contents.depth(oid, read, most=_DEEPEST) for oid in here]
            finally:
                os.close(opened)
    return sum(depths) / len(depths) if depths else 0.0
