"""When any replica last saw something, by name.

A moment that lies ahead was written by a replica whose clock is ahead: it counts as the present, and as nothing when no
clock can be so far ahead.
"""

from collections.abc import Mapping
from typing import Any

from cachew.plumbing.clock import Clock
from cachew.replicas.change import Change, change, moment_of, said
from cachew.replicas.records import CLOCKS_APART, Records, escaped

_TRIES = 5
_NEVER = 0.0


class Sightings:
    """Remembers for all replicas when any of them last saw something.

    :param what: what is seen.
    :param records: where it is written.
    :param clock: what time it is.
    """

    def __init__(self, *, what: str, records: Records, clock: Clock) -> None:
        self._what = what
        self._records = records
        self._clock = clock

    async def last(self, name: str) -> float | None:
        """Return when something was seen last, in seconds since the epoch; None when it never was, or that is void."""
        at = said(await self._records.get(self._record(name)), self._read)
        return None if at is None or at <= _NEVER else min(at, self._clock.now())

    async def seen(self, name: str, at: float) -> None:
        """Write down that something was seen, unless it was seen later."""
        await self._change(name, lambda last, damaged: None if last is not None and last >= at else {"at": at})

    async def void(self, name: str) -> None:
        """Have whatever was written down count no more."""
        # What is damaged now may have been read wrongly, and count again when it is read right.
        await self._change(name, lambda last, damaged: {"at": _NEVER} if damaged or last else None)

    async def _change(self, name: str, to: Change[float]) -> None:
        await change(self._records, self._record(name), read=self._read, to=to, tries=_TRIES)

    def _read(self, fields: Mapping[str, Any]) -> float | None:
        at = moment_of(fields.get("at"))
        return None if at is None or at > self._clock.now() + CLOCKS_APART else at

    def _record(self, name: str) -> str:
        return f"{self._what}/{escaped(name)}"
