"""What replicas share besides objects: small records, changed by compare-and-swap.

Everything else (leases, counters, completions) is made of these two operations, so that any storage that offers them
will do. One contract suite (``tests/contracts``) holds every backend to the MUSTs written here.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cachew.plumbing.errors import BadRequest

CLOCKS_APART = 600.0
"""Seconds by which the clocks of two replicas may differ."""


@dataclass(frozen=True)
class Versioned:
    """A record as it was read.

    :param value: its fields, of JSON's types; none when its content can't be made out.
    :param version: differs between any two states of the record.
    """

    value: Mapping[str, Any]
    version: str


class Records(Protocol):
    """Small records by name. A name is ``[A-Za-z0-9._/@+~:-]`` up to 512 characters, a value is JSON."""

    async def get(self, name: str) -> Versioned | None:
        """Return a record, None when there is none; it MUST be the latest that was put by anybody.

        What the storage has damaged MUST come back without fields, with a version by which it can be replaced.

        :raise BadRequest: when the name is malformed.
        :raise StorageUnavailable: when the storage fails.
        """

    async def put(self, name: str, value: Mapping[str, Any], *, version: str | None) -> Versioned:
        """Replace a record that nobody changed meanwhile.

        Of several that replace the same version exactly one MUST succeed.

        :param version: what was read; None when there was none.
        :raise Conflict: when the record has another version.
        :raise BadRequest: when the name is malformed.
        :raise StorageUnavailable: when the storage fails; the record may have been replaced or not.
        """


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+~:-]*(/[A-Za-z0-9~@+_-][A-Za-z0-9._@+~:-]*)*")

_LEGIBLE = 400
_ESCAPED = re.compile(r"[^A-Za-z0-9._@+:/-]|(?<![^/])[.:]")


def escaped(text: str) -> str:
    """Return a text as a part of a record's name: legible where it can be, and another one for any other text."""
    legible = _ESCAPED.sub(lambda found: "".join(f"~{byte:02x}" for byte in _bytes(found[0])), text)
    if len(legible) <= _LEGIBLE and legible and "//" not in legible and legible.strip("/") == legible:
        return legible
    return f"~sha256~{hashlib.sha256(_bytes(text)).hexdigest()}"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def record_name(name: str) -> str:
    """Return a record's name that is well formed.

    :raise BadRequest: when it is not.
    """
    if len(name) > 512 or not _NAME.fullmatch(name):
        raise BadRequest(f"malformed record name {name[:80]!r}")
    return name
