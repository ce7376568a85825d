"""What replicas tell each other about work that is done: counters, and when what was completed last."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Conflict
from cachew.replicas.change import change, count_of, moment_of, said
from cachew.replicas.records import Records

_TRIES = 20


@dataclass(frozen=True)
class Completion:
    """The last time that some work was completed by any replica.

    :param number: how often it was completed; after a record was damaged it goes on from a higher one.
    :param at: when, in seconds since the epoch, by the clock of the replica that did it.
    :param detail: what that replica had to say.
    """

    number: int
    at: float
    detail: Mapping[str, Any]

    @classmethod
    def read(cls, fields: Mapping[str, Any]) -> "Completion | None":
        """Read a record; None when it is damaged."""
        number, at, detail = count_of(fields.get("number")), moment_of(fields.get("at")), fields.get("detail")
        if number is None or at is None or not isinstance(detail, dict):
            return None
        return cls(number, at, detail)


class TaskCompletions:
    """How often replicas have done each task, and when last.

    :param records: where it is written.
    :param clock: what time it is.
    """

    def __init__(self, *, records: Records, clock: Clock) -> None:
        self._records, self._clock = records, clock

    async def count(self, name: str, by: int = 1) -> int:
        """Add to a counter and return what it is then.

        :raise Conflict: when others change it all the time.
        """
        name = f"counters/{name}"
        value = await change(
            self._records, name, read=_count, to=lambda count, damaged: {"count": (count or 0) + by}, tries=_TRIES
        )
        return int(value["count"])

    async def counted(self, name: str) -> int:
        """Return a counter, 0 when nobody has counted."""
        return said(await self._records.get(f"counters/{name}"), _count) or 0

    async def completed(self, name: str, *, since: Completion | None, **detail: Any) -> Completion:
        """Write down that some work was completed just now.

        :param since: the last completion when the work was begun, as :meth:`last` gave it.
        :param detail: of JSON's types.
        :raise Conflict: when another replica has completed it meanwhile.
        """
        at = self._clock.now()

        def complete(last: Completion | None, damaged: bool) -> Mapping[str, Any]:
            if last is not None and (since is None or last.number != since.number):
                raise Conflict(f"{name} was completed by another replica meanwhile")
            # Whoever knows the number of the last completion must not take this one for it.
            number = int(at) if damaged else 0 if last is None else last.number
            return {"number": number + 1, "at": at, "detail": detail}

        value = await change(self._records, f"completions/{name}", read=Completion.read, to=complete, tries=_TRIES)
        return Completion(**value)

    async def last(self, name: str) -> Completion | None:
        """Return when some work was completed last, None when it never was or nobody knows any more."""
        return said(await self._records.get(f"completions/{name}"), Completion.read)


def _count(fields: Mapping[str, Any]) -> int | None:
    return count_of(fields.get("count"))
