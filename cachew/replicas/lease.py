"""One lease that this replica holds: signs of life, and its release."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError, Conflict, StorageUnavailable
from cachew.replicas.change import said
from cachew.replicas.records import Records


@dataclass(frozen=True)
class Hold:
    """What a lease's record says.

    :param holder: who has it, for the log of others; None when it is free.
    :param term: never the same for two acquisitions.
    :param beat: signs of life so far.
    """

    holder: str | None
    term: str
    beat: int

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Hold | None":
        """Read a record; None when it is damaged."""
        holder, term, beat = (fields.get(name) for name in ("holder", "term", "beat"))
        # Who holds a lease that is free is written down, too: as nobody.
        sound = isinstance(holder, str) or (holder is None and "holder" in fields)
        return cls(holder, term, beat) if sound and isinstance(term, str) and isinstance(beat, int) else None


def record_of(name: str) -> str:
    """Return the name of a lease's record."""
    return f"leases/{name}"


class LeaseLost(CachewError):
    """A lease went to another replica, or nobody knows whether it did."""


class Lease:
    """A lease that this replica holds.

    :param hold: what its record says.
    :param version: of that record.
    :param since: when the last sign of life was given at the earliest, by ``clock``.
    :param lost_after: seconds after which it counts as lost when it could not be renewed.
    """

    def __init__(
        self,
        *,
        records: Records,
        name: str,
        hold: Hold,
        version: str,
        clock: Clock,
        since: float,
        lost_after: float,
    ) -> None:
        self.name = name
        self._records = records
        self._clock = clock
        self._lost_after = lost_after
        self._hold, self._version = hold, version
        self._renewed = since

    @property
    def left(self) -> float:
        """Seconds for which it is held for sure."""
        return max(self._renewed + self._lost_after - self._clock.seconds(), 0.0)

    async def renew(self) -> None:
        """Show that the holder lives.

        :raise LeaseLost: when another replica holds it by now, or it could not be renewed for so long that one may.
        """
        try:
            self._renewed = await self._sign()
        except StorageUnavailable as error:
            if not self.left:
                raise LeaseLost(f"the lease {self.name} could not be renewed") from error

    async def _sign(self) -> float:
        """Give a sign of life and return when that was at the earliest."""
        began = self._clock.seconds()
        try:
            await self._beat()
            return began
        except Conflict:
            await self._recognise()
        began = self._clock.seconds()
        try:
            await self._beat()
        except Conflict as error:
            raise LeaseLost(f"the lease {self.name} went to another replica") from error
        return began

    async def _beat(self) -> None:
        await self._put(replace(self._hold, beat=self._hold.beat + 1))

    async def _recognise(self) -> None:
        # A put whose answer was lost changed the record all the same, and the next one meets its own trace.
        found = await self._records.get(record_of(self.name))
        hold = said(found, Hold.read)
        if found is None or hold is None or hold.term != self._hold.term:
            raise LeaseLost(f"the lease {self.name} went to another replica")
        self._hold, self._version = hold, found.version

    async def release(self) -> None:
        """Let others have it at once; when that fails they have it after its duration."""
        with suppress(CachewError):
            await self._put(replace(self._hold, holder=None))

    async def _put(self, hold: Hold) -> None:
        put = await self._records.put(record_of(self.name), asdict(hold), version=self._version)
        self._hold, self._version = hold, put.version
