"""What replicas find out and tell each other: a few words by name, of which the newest count."""

from collections.abc import Mapping
from typing import Any

from cachew.replicas.change import change
from cachew.replicas.records import Records, escaped

_TRIES = 5


class Notes:
    """Notes about one kind of thing, each under its name, in the records that replicas share.

    :param what: what they are about.
    :param records: where they are written.
    """

    def __init__(self, *, what: str, records: Records) -> None:
        self._what, self._records = what, records

    async def read(self, name: str) -> dict[str, Any]:
        """Return what was written down of something, nothing when nothing was.

        :raise StorageUnavailable: when the storage fails.
        """
        found = await self._records.get(self._record(name))
        return {} if found is None else dict(found.value)

    async def write(self, name: str, found: Mapping[str, str]) -> None:
        """Write down what was found out, and leave the rest as it is.

        :raise Conflict: when others write all the time.
        :raise StorageUnavailable: when the storage fails.
        """
        await change(
            self._records,
            self._record(name),
            read=dict,
            to=lambda before, damaged: {**(before or {}), **found},
            tries=_TRIES,
        )

    def _record(self, name: str) -> str:
        return f"{self._what}/{escaped(name)}"
