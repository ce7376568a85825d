"""When any replica last saw something, by name."""

from collections.abc import Callable

from cachew.plumbing.errors import Conflict
from cachew.replicas.interface import Records, Versioned
from cachew.replicas.naming import escaped

_TRIES = 5
_NEVER = 0.0

_Change = Callable[[float | None], float | None]
"""What is to be written, given what is; None for nothing."""


class Sightings:
    """See the module.

    :param what: what is seen.
    :param records: where it is written.
    """

    def __init__(self, *, what: str, records: Records) -> None:
        self._what, self._records = what, records

    async def last(self, name: str) -> float | None:
        """Return when something was seen last, in seconds since the epoch; None when it never was, or that is void."""
        return _moment(await self._records.get(self._record(name)))

    async def seen(self, name: str, at: float) -> None:
        """Write down that something was seen, unless it was seen later."""
        await self._change(name, lambda last: None if last is not None and last >= at else at)

    async def void(self, name: str) -> None:
        """Have whatever was written down count no more."""
        await self._change(name, lambda last: None if last is None else _NEVER)

    async def _change(self, name: str, change: _Change) -> None:
        for _ in range(_TRIES):
            found = await self._records.get(self._record(name))
            new = change(_moment(found))
            if new is None:
                return
            try:
                version = None if found is None else found.version
                await self._records.put(self._record(name), {"at": new}, version=version)
            except Conflict:
                continue
            return
        raise Conflict(f"the last sighting of {name} is changed by others all the time")

    def _record(self, name: str) -> str:
        return f"{self._what}/{escaped(name)}"


def _moment(found: Versioned | None) -> float | None:
    at = None if found is None else found.value.get("at")
    return float(at) if isinstance(at, int | float) and at > _NEVER else None
