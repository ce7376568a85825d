"""The names of an archive's entries: as paths that lead nowhere else, and as they may be printed (pure)."""

from cachew.client.clienterrors import ArchiveRefused


def normal_path(name: bytes) -> bytes:
    """Return a name as a relative path without ``.`` parts and doubled slashes; the root is empty.

    :raise ArchiveRefused: when it is absolute or has a ``..`` part.
    """
    if name.startswith(b"/"):
        raise ArchiveRefused(f"{show(name)} is an absolute path")
    if b"\0" in name:
        raise ArchiveRefused(f"{show(name)} holds a NUL")
    parts = [part for part in name.split(b"/") if part and part != b"."]
    if b".." in parts:
        raise ArchiveRefused(f"{show(name)} leads out of the directory")
    return b"/".join(parts)


def show(name: bytes) -> str:
    """Return a name that is safe to print."""
    return repr(name[:200].decode("utf-8", "backslashreplace"))
