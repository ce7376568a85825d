"""Whether what is no object in a mirror has the form that it must have: configuration, HEAD, refs (blocking).

Git refuses a whole repository for one wrong line in any of these. What they should say the server knows, so they can be
written anew.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

OBJECTS = ("objects", "objects/pack")
"""The directories without which there are no objects."""


def misshapen(directory: Path, *, config: str, digits: int) -> list[str]:
    """Return what is missing or not as git would have it.

    :param config: what the configuration has to be.
    :param digits: hexadecimal digits of an object id.
    """
    # To git, a ref of zeros alone is broken.
    oid = rb"(?!0{%d})[0-9a-f]{%d}" % (digits, digits)
    found = [name for name in (*OBJECTS, "refs") if not (directory / name).is_dir()]
    if _content(directory / "config") != config.encode():
        found.append("config")
    if not re.fullmatch(rb"(ref:\s*refs/[^\0\n]+|%s)\s*" % oid, _content(directory / "HEAD") or b""):
        found.append("HEAD")
    if not _is_packed_refs(directory / "packed-refs", oid):
        found.append("packed-refs")
    return [*found, *_loose(directory, re.compile(rb"(ref:\s*refs/[^\0\n]+|%s)\s*" % oid))]


def _is_packed_refs(path: Path, oid: bytes) -> bool:
    content = _content(path)
    if content is None:
        return not path.exists()
    # What an annotated tag leads to is told below it alone, and what the file is, at its beginning.
    form = rb"(?:# pack-refs with:[^\n]*\n)?(?:%s refs/[^\n]+\n(?:\^%s\n)?)*" % (oid, oid)
    return re.fullmatch(form, content) is not None


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _loose(directory: Path, form: re.Pattern[bytes]) -> Iterator[str]:
    for place, _, names in os.walk(directory / "refs"):
        for name in names:
            path = Path(place, name)
            content = _content(path)
            if not name.endswith(".lock") and content is not None and not form.fullmatch(content):
                yield str(path.relative_to(directory))
