"""A key out of the content of files that patterns match, equal to what the original command line computes.

Patterns are "doublestar" ones: ``*`` and ``?`` within a path segment, ``**`` for any number of segments, ``[a-z]``,
``[^a-z]`` and ``{a,b}``. A ``**`` does not go through links to directories.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from cachew.client.clienterrors import BadUsage

_MAGIC = re.compile(r"[*?\[{\\]")
_PIECE = 1024 * 1024


def hash_files(patterns: Sequence[str], *, root: Path) -> str:
    """Return the SHA-256 over paths and contents of the regular files that patterns match.

    :param root: where relative patterns start.
    :raise BadUsage: when no file matches: a constant key would hide a slip of the pen.
    """
    matched = {path for pattern in patterns for path in matches(pattern, root=root)}
    if not matched:
        raise BadUsage(f"no file matches {', '.join(patterns)}", "Check the patterns; quote them against the shell.")
    digest = hashlib.sha256()
    for path in sorted(matched, key=os.fsencode):
        digest.update(os.fsencode(path) + b"\0")
        with open(root / path, "rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
        digest.update(b"\0")
    return digest.hexdigest()


def matches(pattern: str, *, root: Path) -> Iterator[str]:
    """Yield the regular files that a pattern matches, as cleaned paths relative to ``root`` (or absolute)."""
    fixed, expression = _fixed_part(pattern), compile_pattern(pattern)
    start = os.path.join(root, fixed)
    if not os.path.isdir(start):
        paths: Iterator[str] = iter([fixed])
    else:
        paths = (
            os.path.normpath(os.path.join(fixed, os.path.relpath(os.path.join(directory, name), start)))
            for directory, _, names in os.walk(start)
            for name in names
        )
    for path in paths:
        full = os.path.join(root, path)
        if expression.fullmatch(path) and os.path.isfile(full) and not os.path.islink(full):
            yield path


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """Translate a pattern for cleaned paths.

    :raise BadUsage: when it is malformed.
    """
    segments = os.path.normpath(pattern).split("/")
    text = ""
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "**":
            text += r".*" if last else r"(?:[^/]+/)*"
        else:
            text += _segment(segment) + ("" if last else "/")
    try:
        return re.compile(text, re.DOTALL)
    except re.error as error:
        raise BadUsage(f"{pattern!r} is not a pattern: {error}") from error


def _fixed_part(pattern: str) -> str:
    """Return the leading segments that hold no wildcard; the walk begins there."""
    cleaned = os.path.normpath(pattern)
    segments = cleaned.split("/")
    fixed = next((number for number, segment in enumerate(segments) if _MAGIC.search(segment)), len(segments))
    return "/".join(segments[:fixed]) or ("/" if cleaned.startswith("/") else ".")


def _segment(segment: str) -> str:
    text, position, depth = "", 0, 0
    while position < len(segment):
        character = segment[position]
        position += 1
        if character == "[":
            end = segment.find("]", position + 1)
            if end == -1:
                raise BadUsage(f"{segment!r} has an open bracket")
            inner = segment[position:end]
            negated = inner[:1] in ("^", "!")
            text += "[" + ("^/" if negated else "") + inner[negated:].replace("[", r"\[").replace("^", r"\^") + "]"
            position = end + 1
        elif character == "\\" and position < len(segment):
            text += re.escape(segment[position])
            position += 1
        elif character == "{":
            text, depth = text + "(?:", depth + 1
        elif depth and character in ",}":
            text, depth = text + ("|" if character == "," else ")"), depth - (character == "}")
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character))
    if depth:
        raise BadUsage(f"{segment!r} has an open brace")
    return text
