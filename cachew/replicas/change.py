"""Changing a record of one kind, whatever others do to it meanwhile and whatever has become of it.

A record whose fields are not of its kind is damaged: it says nothing, and is replaced like any other, in the place of
the very version that was found damaged. So of several replicas that find it exactly one replaces it.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from twisted.logger import Logger

from cachew.plumbing.errors import Conflict
from cachew.replicas.records import Records, Versioned

_LATEST = 1e11
"""Seconds since the epoch that no clock shows: the year 5138."""


def count_of(field: Any) -> int | None:
    """Return a whole number that counts something; None when it is anything else."""
    return field if isinstance(field, int) and not isinstance(field, bool) and field >= 0 else None


def moment_of(field: Any) -> float | None:
    """Return seconds since the epoch; None when it is anything else."""
    if isinstance(field, bool) or not isinstance(field, int | float) or not 0 <= field < _LATEST:
        return None
    return float(field)


T = TypeVar("T")

Read = Callable[[Mapping[str, Any]], T | None]
"""Gives what a record's fields say, None when they are not of its kind."""

Change = Callable[[T | None, bool], Mapping[str, Any] | None]
"""Gives the fields to be written, None for nothing; takes what a record says, and whether it is there but damaged."""

_log = Logger()


def said(found: Versioned | None, read: Read[T]) -> T | None:
    """Return what a record says, None when there is none or it is damaged."""
    return None if found is None else read(found.value)


async def change(records: Records, name: str, *, read: Read[T], to: Change[T], tries: int) -> Mapping[str, Any]:
    """Change a record; a change that lost a race is made again on what won it.

    :return: its fields then.
    :raise Conflict: when others change it all the time.
    :raise StorageUnavailable: when the storage fails.
    """
    for _ in range(tries):
        found = await records.get(name)
        present = said(found, read)
        damaged = found is not None and present is None
        value = to(present, damaged)
        if value is None:
            return {} if found is None else found.value
        try:
            stored = await records.put(name, value, version=None if found is None else found.version)
        except Conflict:
            continue
        if damaged:
            tell_damaged(name)
        return stored.value
    raise Conflict(f"the record {name} is changed by others all the time")


def tell_damaged(name: str) -> None:
    """Log that a record was damaged and has been replaced."""
    _log.warn("the shared record {name} was damaged and has been replaced", name=name)
