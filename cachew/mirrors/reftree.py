"""The refs of a repository read from its files, without a process (blocking; gitrepository-layout(5)).

A loose ref is a file of its name and counts more than what ``packed-refs`` says of it. What only git can tell is left
to it: symbolic refs, and what annotated tags lead to that no ``packed-refs`` has noted. A file that holds neither an
object id nor a symbolic ref is damage, over which git goes with a warning when it lists refs.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from cachew.plumbing.diskspace import content_of
from cachew.plumbing.errors import CorruptObject
from cachew.upstream.listing import RemoteRef

_OID = re.compile(rb"((?!0{40})(?:[0-9a-f]{40}|[0-9a-f]{64}))\n?")
_FORM = re.compile(rb"(?:ref:\s*refs/[^\x00\n]+|%s)\s*" % _OID.pattern)
"""What git takes a loose ref for, when it writes it otherwise or leads elsewhere."""
_ZEROS = b"0" * 40
_PACKED = re.compile(rb"((?!0{40})(?:[0-9a-f]{40}|[0-9a-f]{64})) ([^\x00-\x20\x7f]+)")
_TAGS = b"refs/tags/"
_Found = dict[bytes, tuple[bytes, bytes]]
"""Name to object id and what that leads to, empty where it leads nowhere."""


def read_refs(directory: Path, prefixes: Sequence[str], *, peeled: bool) -> tuple[RemoteRef, ...] | None:
    """Return the refs below some directories, in the order of their names.

    :param directory: the bare repository.
    :param prefixes: full names of refs, or of directories with a slash at the end.
    :param peeled: whether it matters what annotated tags lead to.
    :return: None when only git can tell.
    :raise CorruptObject: when a file is no ref, or a ref is of zeros alone.
    """
    wanted = tuple(os.fsencode(prefix) for prefix in prefixes)
    # As git does, and for the same reason: what is packed meanwhile is found in one of them.
    loose = loose_refs(directory, prefixes)
    if loose is None:
        return None
    packed, tells_peeled = _packed(directory, wanted)
    if packed is None:
        return None
    if peeled and any(name.startswith(_TAGS) for name in (loose if tells_peeled else {**packed, **loose})):
        return None
    for name, oid in loose.items():
        packed[name] = oid, b""
    return tuple(
        RemoteRef(_text(name), _text(packed[name][0]), None, _text(packed[name][1]) or None) for name in sorted(packed)
    )


def _packed(directory: Path, wanted: tuple[bytes, ...]) -> tuple[_Found | None, bool]:
    """Return what the file holds, None when not all is as git writes it, and whether it tells what tags lead to."""
    try:
        content = content_of(f"{directory}/packed-refs")
    except FileNotFoundError:
        return {}, True
    except IsADirectoryError:
        return None, False
    head, _, _ = content.partition(b"\n")
    tells_peeled = head.startswith(b"# pack-refs with:") and b" fully-peeled" in head
    *lines, rest = content.split(b"\n")
    return None if rest else _parsed(lines, wanted), tells_peeled


def _parsed(lines: Sequence[bytes], wanted: tuple[bytes, ...]) -> _Found | None:
    found: _Found = {}
    name = b""
    for line in lines:
        if match := _PACKED.fullmatch(line):
            oid, name = match.groups()
            if name.startswith(wanted):
                found[name] = oid, b""
        elif line.startswith(b"^") and name and _OID.fullmatch(line, 1):
            if name in found:
                found[name] = found[name][0], line[1:]
        elif line.startswith(_ZEROS):
            raise CorruptObject("packed-refs has a ref to nothing")
        elif name or not line.startswith(b"#"):
            return None
    return found


def loose_refs(directory: Path, prefixes: Sequence[str], *, most: int | None = None) -> dict[bytes, bytes] | None:
    """Return name and object id of the refs that are files of their own; None when only git can tell.

    :param directory: the bare repository.
    :param prefixes: full names of refs, or of directories with a slash at the end.
    :param most: how many files are looked at; None for all of them.
    :raise CorruptObject: when one of the files is no ref.
    """
    root, found, is_told = os.fsencode(directory), {}, True
    files = (file for prefix in prefixes for file in _files(root, os.fsencode(prefix)))
    for name in list(islice(files, most)):
        try:
            with open(os.path.join(root, name), "rb") as file:
                match = _OID.fullmatch(content := file.read(128))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            continue
        if match is not None:
            found[name] = match[1]
        elif _FORM.fullmatch(content):
            is_told = False
        else:
            raise CorruptObject(f"{os.fsdecode(name)} is no ref")
    return found if is_told else None


def _files(root: bytes, prefix: bytes) -> Iterator[bytes]:
    return _files_below(root, prefix) if prefix.endswith(b"/") else iter([prefix])


def _files_below(root: bytes, prefix: bytes) -> Iterator[bytes]:
    below = []
    with suppress(OSError), os.scandir(root + b"/" + prefix) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                below.append(prefix + entry.name + b"/")
            elif not entry.name.endswith(b".lock"):
                yield prefix + entry.name
    for place in below:
        yield from _files_below(root, place)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
