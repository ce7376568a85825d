"""The names of records (pure)."""

import re

from cachew.plumbing.errors import BadRequest

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+~:-]*(/[A-Za-z0-9~@+_-][A-Za-z0-9._@+~:-]*)*")


def record_name(name: str) -> str:
    """Return a record's name that is well formed.

    :raise BadRequest: when it is not.
    """
    if len(name) > 512 or not _NAME.fullmatch(name):
        raise BadRequest(f"malformed record name {name[:80]!r}")
    return name
