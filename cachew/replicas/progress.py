"""What replicas tell each other about work that is done: counters, and when what was completed last."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cachew.plumbing.errors import Conflict
from cachew.replicas.interface import Records

_TRIES = 20


@dataclass(frozen=True)
class Completion:
    """The last time that some work was completed by any replica.

    :param number: how often it was completed.
    :param at: when, in seconds since the epoch, by the clock of the replica that did it.
    :param detail: what that replica had to say.
    """

    number: int
    at: float
    detail: Mapping[str, Any]


class Progress:
    """See the module.

    :param records: where it is written.
    :param clock: gives the time, in seconds since the epoch.
    """

    def __init__(self, *, records: Records, clock: Callable[[], float]) -> None:
        self._records, self._clock = records, clock

    async def count(self, name: str, by: int = 1) -> int:
        """Add to a counter and return what it is then.

        :raise Conflict: when others change it all the time.
        """
        value = await self._change(f"counters/{name}", lambda present: {"count": present.get("count", 0) + by})
        return int(value["count"])

    async def counted(self, name: str) -> int:
        """Return a counter, 0 when nobody has counted."""
        found = await self._records.get(f"counters/{name}")
        return 0 if found is None else int(found.value["count"])

    async def completed(self, name: str, **detail: Any) -> Completion:
        """Write down that some work was completed just now.

        :param detail: of JSON's types.
        :raise Conflict: when others change it all the time.
        """
        at = self._clock()

        def complete(present: Mapping[str, Any]) -> Mapping[str, Any]:
            return {"number": present.get("number", 0) + 1, "at": at, "detail": detail}

        return Completion(**await self._change(f"completions/{name}", complete))

    async def last(self, name: str) -> Completion | None:
        """Return when some work was completed last, None when it never was."""
        found = await self._records.get(f"completions/{name}")
        return None if found is None else Completion(**found.value)

    async def _change(
        self, name: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    ) -> Mapping[str, Any]:
        for _ in range(_TRIES):
            found = await self._records.get(name)
            value = change({} if found is None else found.value)
            try:
                stored = await self._records.put(name, value, version=None if found is None else found.version)
            except Conflict:
                continue
            return stored.value
        raise Conflict(f"the record {name} is changed by others all the time")
