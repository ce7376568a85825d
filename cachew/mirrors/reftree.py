"""The refs of a repository read from its files, without a process (blocking; gitrepository-layout(5)).

A loose ref is a file of its name and counts more than what ``packed-refs`` says of it. What only git can tell is left
to it: symbolic refs, files that hold no object id, and what annotated tags lead to that no ``packed-refs`` has noted.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from cachew.upstream.listing import RemoteRef

_OID = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64})\n?")
_TAGS = b"refs/tags/"
_Found = dict[bytes, tuple[bytes, bytes]]
"""Name to object id and what that leads to, empty where it leads nowhere."""


def read_refs(directory: Path, prefixes: Sequence[str], *, peeled: bool) -> tuple[RemoteRef, ...] | None:
    """Return the refs below some directories, in the order of their names.

    :param directory: the bare repository.
    :param prefixes: full names of refs, or of directories with a slash at the end.
    :param peeled: whether it matters what annotated tags lead to.
    :return: None when only git can tell.
    """
    wanted = tuple(os.fsencode(prefix) for prefix in prefixes)
    # As git does, and for the same reason: what is packed meanwhile is found in one of them.
    loose = _loose(directory, wanted)
    if loose is None:
        return None
    packed, tells_peeled = _packed(directory, wanted)
    if peeled and any(name.startswith(_TAGS) for name in (loose if tells_peeled else {**packed, **loose})):
        return None
    for name, oid in loose.items():
        packed[name] = oid, b""
    return tuple(
        RemoteRef(_text(name), _text(packed[name][0]), None, _text(packed[name][1]) or None) for name in sorted(packed)
    )


def _packed(directory: Path, wanted: tuple[bytes, ...]) -> tuple[_Found, bool]:
    """Return what the file holds, and whether it says of all tags what they lead to."""
    try:
        content = (directory / "packed-refs").read_bytes()
    except FileNotFoundError:
        return {}, True
    found: _Found = {}
    name = b""
    for line in content.split(b"\n"):
        if line.startswith(b"^"):
            if name in found:
                found[name] = found[name][0], line[1:]
        elif line and not line.startswith(b"#"):
            oid, _, name = line.partition(b" ")
            if name.startswith(wanted):
                found[name] = oid, b""
    return found, content.startswith(b"# pack-refs with:") and b" fully-peeled" in content.partition(b"\n")[0]


def _loose(directory: Path, wanted: tuple[bytes, ...]) -> dict[bytes, bytes] | None:
    root, found = os.fsencode(directory), {}
    for name in [file for prefix in wanted for file in _files(root, prefix)]:
        try:
            with open(os.path.join(root, name), "rb") as file:
                match = _OID.fullmatch(file.read(128))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            continue
        if match is None:
            return None
        found[name] = match[1]
    return found


def _files(root: bytes, prefix: bytes) -> list[bytes]:
    if not prefix.endswith(b"/"):
        return [prefix]
    found = []
    for place, _, names in os.walk(os.path.join(root, prefix[:-1])):
        below = place[len(root) + 1 :]
        found += [below + b"/" + name for name in names if not name.endswith(b".lock")]
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
