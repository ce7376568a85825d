"""What the last cache tier could not take, or remove, when it should have, and takes or removes as soon as it can.

Until then the copies in nearer tiers are right, and whoever stored the object was told that it is kept: so a debt is
written down before that, and outlives the server. What should have been removed is not to be had any more meanwhile.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cachew.cache.interface import Entry, ObjectInfo
from cachew.cache.tiers import Tier
from cachew.cache.validation import Name
from cachew.plumbing.background import Background
from cachew.plumbing.errors import CorruptObject, StorageUnavailable
from cachew.plumbing.journal import Journal

LONGEST_DEBT_PAUSE = 20.0
"""Seconds between two attempts to store what the last tier could not take: so long it may be well unnoticed."""
MOST_DEBTS = 1000
"""How many objects may be owed; what is stored beyond them is refused until the last tier takes some."""


@dataclass(frozen=True)
class Debt:
    """An object that is owed, or the removal of one.

    :param etag: its entity tag, empty when only a removal is owed.
    :param digest: the SHA-256 of its content, in hex.
    :param modified: when it was stored, in seconds since the epoch.
    :param removed: what was stored up to then is to be removed and not to be had; 0 when nothing is.
    """

    etag: str
    digest: str
    modified: float
    removed: float = 0.0

    @classmethod
    def of(cls, info: ObjectInfo, *, removed: float = 0.0) -> "Debt":
        """Return what is owed when an object is, in the place of one that was to be removed."""
        return cls(info.etag, info.digest, info.modified, min(removed, math.nextafter(info.modified, 0.0)))

    def hides(self, info: ObjectInfo) -> bool:
        """Whether an object is to be removed."""
        return info.modified <= self.removed

    def fields(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return asdict(self)

    @classmethod
    def read(cls, fields: Any) -> "Debt":
        """Read what was written down.

        :raise ValueError: when it is something else.
        """
        try:
            removed = float(fields.get("removed", 0.0))
            return cls(str(fields["etag"]), str(fields["digest"]), float(fields["modified"]), removed)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a debt: {error!r}") from error


class Debts:
    """What is owed to the last tier.

    :ivar owed: that, by the objects' names; empty nearly always.

    :param authority: the last tier.
    :param nearer: those that have the objects.
    :param reactor: for the pauses between attempts.
    :param pause: seconds until the first attempt.
    :param background: where they are made.
    :param copy: copies an object into tiers, and closes it.
    :param journal: where they outlive the server; None when the nearer tiers don't either.
    """

    log = Logger()

    def __init__(
        self,
        *,
        authority: Tier,
        nearer: Sequence[Tier],
        reactor: IReactorTime,
        pause: float,
        background: Background,
        copy: Callable[[Entry, Sequence[Tier]], Awaitable[None]],
        journal: Journal[Debt] | None,
    ) -> None:
        self._authority = authority
        self._nearer = nearer
        self._reactor = reactor
        self._pause = pause
        self._background = background
        self._copy = copy
        self._journal = journal
        self.owed: dict[Name, Debt] = {}

    def __contains__(self, name: Name) -> bool:
        """Whether the last tier has yet to take an object."""
        debt = self.owed.get(name)
        return debt is not None and debt.etag != ""

    def hides(self, info: ObjectInfo) -> bool:
        """Whether an object is not to be had, because it should have been removed."""
        debt = self.owed.get((info.namespace, info.key))
        return debt is not None and debt.hides(info)

    async def start(self) -> None:
        """Recall what an earlier run has left."""
        if self._journal is None:
            return
        try:
            left = await self._journal.load()
        except OSError as error:
            self.log.warn("what is owed to the last cache tier can't be read: {error}", error=str(error))
            return
        for text, debt in left.items():
            namespace, _, key = text.partition("/")
            self._owe((namespace, key), debt)

    async def add(self, info: ObjectInfo) -> None:
        """Owe an object.

        :raise StorageUnavailable: when that can't be written down, or too many are owed.
        """
        name = info.namespace, info.key
        if name not in self.owed and len(self.owed) >= MOST_DEBTS:
            raise StorageUnavailable("the last cache tier fails, and too much is owed to it already")
        earlier = self.owed.get(name)
        debt = Debt.of(info, removed=0.0 if earlier is None else earlier.removed)
        self._owe(name, debt)
        try:
            await self._note(name, debt)
        except OSError as error:
            raise StorageUnavailable(
                "the last cache tier fails, and what is owed to it can't be written down"
            ) from error

    async def add_removal(self, name: Name, now: float) -> None:
        """Owe the removal of what is there up to now (seconds since the epoch), unless too much is owed."""
        if name not in self.owed and len(self.owed) >= MOST_DEBTS:
            return
        debt = Debt("", "", now, removed=now)
        self._owe(name, debt)
        try:
            await self._note(name, debt)
        except OSError as error:
            self.log.warn("the removal of {name} can't be written down: {error}", name="/".join(name), error=str(error))

    async def renounce(self, name: Name) -> None:
        """Owe an object no more, because nobody is to have it; a removal is owed until it is made."""
        if name in self:
            await self.settle(name)

    async def settle(self, name: Name) -> None:
        """Owe an object no more: the last tier has it, or nobody is to have it."""
        if self.owed.pop(name, None) is None:
            return
        try:
            await self._note(name, None)
        except OSError as error:
            # The next server finds out that nothing is owed.
            self.log.warn("{name} is owed no more, which can't be written down: {error}", name=name, error=str(error))

    async def _note(self, name: Name, debt: Debt | None) -> None:
        if self._journal is not None:
            await self._journal.note("/".join(name), debt)

    def _owe(self, name: Name, debt: Debt) -> None:
        waiting = name in self.owed
        self.owed[name] = debt
        if not waiting:
            what = "storing" if debt.etag else "removing"
            self._background.start(self._pay(name), f"{what} {'/'.join(name)} in the last cache tier")

    async def _pay(self, name: Name) -> None:
        pause = self._pause
        while name in self.owed:
            await deferLater(self._reactor, pause)
            pause = min(pause * 2, LONGEST_DEBT_PAUSE)
            if (debt := self.owed.get(name)) is None:
                return  # It was stored again meanwhile, or removed.
            try:
                await self._pay_once(name, debt)
            except (StorageUnavailable, CorruptObject):
                # A damaged copy goes when it is found out; the next attempt sees what is left.
                continue

    async def _pay_once(self, name: Name, debt: Debt) -> None:
        present = await self._authority.ask(self._authority.cache.stat(*name))
        entry = await self._open_nearer(name) if debt.etag else None
        newer = present is not None and present.modified > debt.modified
        if entry is None or newer or not _is(entry.info, debt):
            if entry is not None:
                entry.close()
            elif present is not None and debt.hides(present):
                await self._authority.ask(self._authority.cache.delete(*name))
        else:
            await self._copy(entry, [self._authority])
        if self.owed.get(name) is debt and (entry is None or newer or await self._paid(name, debt)):
            await self.settle(name)

    async def _open_nearer(self, name: Name) -> Entry | None:
        for tier in self._nearer:
            if (entry := await tier.open(*name)) is not None:
                return entry
        return None

    async def _paid(self, name: Name, debt: Debt) -> bool:
        present = await self._authority.ask(self._authority.cache.stat(*name))
        return present is not None and _is(present, debt)


def _is(info: ObjectInfo, debt: Debt) -> bool:
    return (info.etag, info.digest) == (debt.etag, debt.digest)
