"""The names of records (pure)."""

import hashlib
import re

from cachew.plumbing.errors import BadRequest

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
