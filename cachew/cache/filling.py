"""Filling nearer tiers with what is found in farther ones, while it is read or behind."""

from collections.abc import Sequence

from cachew.cache.backfill import Copies, FarEntry, copy
from cachew.cache.interface import Entry, ObjectInfo
from cachew.cache.tiers import Tier
from cachew.cache.validation import Name
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.jobs import Slots
from cachew.plumbing.streams import owned


class Filling:
    """Makes copies in nearer tiers, of each object once at a time.

    :param tiers: the nearest first.
    :param clock: what time it is.
    :param background: where copies are made that nobody waits for.
    """

    def __init__(self, *, tiers: Sequence[Tier], clock: Clock, background: Background) -> None:
        self._tiers = tiers
        self._clock = clock
        self._background = background
        self._filling: set[Name] = set()
        self._planned: set[Name] = set()
        self._slots = Slots(limit=2)

    def entry(self, entry: Entry, nearer: Sequence[Tier]) -> Entry:
        """Return an object of a farther tier, with which nearer ones are filled when it is read."""
        info = entry.info
        name = info.namespace, info.key

        async def begin(info: ObjectInfo) -> Copies:
            return await self._begin(info, nearer)

        return FarEntry(
            entry=entry,
            wanted=lambda: name not in self._filling and name not in self._planned,
            begin=begin,
            fill=lambda: self._plan(name, nearer),
            background=self._background,
        )

    async def copy(self, entry: Entry, nearer: Sequence[Tier]) -> None:
        """Copy an object, which is closed."""
        with owned(entry):
            copies = await self._begin(entry.info, nearer)
        await copy(entry, copies)

    async def _begin(self, info: ObjectInfo, nearer: Sequence[Tier]) -> Copies:
        name = info.namespace, info.key
        left = None if info.expires is None else info.expires - self._clock.now()
        copies = Copies(info=info, ended=lambda: self._filling.discard(name))
        if name not in self._filling and (left is None or left > 0):
            self._filling.add(name)
            try:
                await copies.begin(nearer, left)
            except BaseException:
                await copies.end()
                raise
            return copies
        return Copies(info=info, ended=lambda: None)

    def _plan(self, name: Name, nearer: Sequence[Tier]) -> None:
        self._planned.add(name)
        self._background.start(self._fill(name, nearer), f"copying {'/'.join(name)} into nearer cache tiers")

    async def _fill(self, name: Name, nearer: Sequence[Tier]) -> None:
        try:
            async with self._slots.take("/".join(name)):
                for tier in self._tiers[len(nearer) :]:
                    entry = None if name in self._filling else await tier.open(*name)
                    if entry is not None:
                        await self.copy(entry, nearer)
                        return
        finally:
            self._planned.discard(name)
