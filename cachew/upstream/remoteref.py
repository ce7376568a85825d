"""One ref of an upstream (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RemoteRef:
    """One ref of an upstream.

    :param name: its full name; bytes that are not UTF-8 are kept as surrogate escapes.
    :param oid: the object id it has, in hex; None for an unborn branch.
    :param symref_target: the ref it points to when it is symbolic.
    :param peeled: the id of what an annotated tag points to.
    """

    name: str
    oid: str | None
    symref_target: str | None = None
    peeled: str | None = None


def text_of(data: bytes) -> str:
    """Decode a name so that any bytes survive the way back."""
    return data.decode("utf-8", "surrogateescape")


def bytes_of(name: str) -> bytes:
    """Return a name's bytes, whatever they are."""
    return name.encode("utf-8", "surrogateescape")
