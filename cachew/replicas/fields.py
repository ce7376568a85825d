"""What the fields of records may hold (pure); whatever else is there, somebody's storage has put there."""

from typing import Any

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
