"""What every place does in which packs are kept, be it files of their own or a database of small ones."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import BytesSource, FileSource

Pace = Callable[[int], Awaitable[object]]
"""Awaited after a pack has been read through, with its bytes."""


class PackStore(Protocol):
    """A place for packs, each under a key."""

    @property
    def size(self) -> int:
        """Bytes that they take."""

    @property
    def count(self) -> int:
        """How many there are."""

    async def open(self) -> None:
        """Take stock of what an earlier run has kept."""

    async def close(self) -> None:
        """Write down what is to be known after a restart."""

    async def get(self, key: str) -> FileSource | BytesSource | None:
        """Return a pack, or None; one that is damaged is removed and never returned."""

    async def has(self, key: str) -> bool:
        """Say whether a pack is kept."""

    async def keep(self, key: str, spool: Spool, *, doubted: bool) -> bool:
        """Keep an answer that has been spooled, if it is a whole pack of a size for this place.

        :param doubted: whether its pack is compared with the pack's own checksum first.
        :return: whether it is kept.
        :raise OSError: when it can't be.
        """

    async def shrink(self, size: int) -> None:
        """Drop the least recently used until the rest takes no more than ``size`` bytes."""

    async def drop(self, keys: Sequence[str]) -> None:
        """Drop those that are kept of some packs."""

    async def size_of(self, owner: str) -> int:
        """Return the bytes of the packs whose keys begin so: an even number of hex digits."""

    async def scrub(self, pace: Pace) -> None:
        """Read every pack through; what is damaged is dropped."""
