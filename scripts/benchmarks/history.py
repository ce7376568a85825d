"""Made-up histories as fast-import streams (pure).

The contents behave like source code where it matters to git: every version of a file differs from the one before by a
few lines, so packs consist of chains of deltas, and half of each line is noise, so they compress as text does. Each
file's versions come one after the other, because fast-import(1) looks for a delta only in the blob before.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

_COMMITTER = b"Bench <bench@git.example>"
_FIRST_TIME = 1_600_000_000
_PER_DIRECTORY = 100
_PIECE = 1024 * 1024
_LINE = 30
"""Bytes of noise in a line, written as hex digits."""


@dataclass(frozen=True)
class Shape:
    """What a repository looks like.

    :param commits: commits on ``main``.
    :param changed: files that each commit changes.
    :param files: files at the first commit, and ever after.
    :param lines: lines of a file.
    :param edited: lines that a change replaces.
    :param branches: further branches, all within the history of ``main``.
    :param tags: lightweight tags, likewise.
    :param blob: bytes of noise in a further file ``big.bin``.
    :param behind: a branch ``base`` is this many commits behind ``main``; 0 makes none.
    """

    commits: int
    changed: int = 1
    files: int = 50
    lines: int = 60
    edited: int = 10
    branches: int = 0
    tags: int = 0
    blob: int = 0
    behind: int = 0


def stream(shape: Shape, seed: int = 1) -> Iterator[bytes]:
    """Yield a repository as a fast-import stream; equal arguments give equal repositories.

    :raise ValueError: when there are fewer changes than the first commits need.
    """
    rng = random.Random(seed)
    versions = [1 + count for count in _changes(shape)]
    first_marks = []
    mark = 1
    for count in versions:
        first_marks.append(mark)
        yield from _versions(rng, shape, mark, count)
        mark += count
    yield from _commits(shape, first_marks, rng)
    yield b"done\n"


def _changes(shape: Shape) -> list[int]:
    """Return how often each file is changed after the first commit."""
    total = (shape.commits - 1) * shape.changed
    return [total // shape.files + (index < total % shape.files) for index in range(shape.files)]


def _versions(rng: random.Random, shape: Shape, mark: int, count: int) -> Iterator[bytes]:
    lines = [_line(rng) for _ in range(shape.lines)]
    for version in range(count):
        if version:
            start = rng.randrange(max(1, shape.lines - shape.edited))
            lines[start : start + shape.edited] = [_line(rng) for _ in range(shape.edited)]
        data = b"".join(lines)
        yield b"blob\nmark :%d\ndata %d\n%s\n" % (mark + version, len(data), data)


def _line(rng: random.Random) -> bytes:
    return b"    value = " + rng.randbytes(_LINE).hex().encode() + b"\n"


def _commits(shape: Shape, first_marks: list[int], rng: random.Random) -> Iterator[bytes]:
    used = [0] * shape.files
    refs = _refs(shape)
    for number in range(shape.commits):
        yield _header(number)
        if number == 0:
            yield from (_modify(index, mark) for index, mark in enumerate(first_marks))
            if shape.blob:
                yield b"M 100644 inline big.bin\ndata %d\n" % shape.blob
                yield from _noise(rng, shape.blob)
        else:
            for turn in range(shape.changed):
                index = ((number - 1) * shape.changed + turn) % shape.files
                used[index] += 1
                yield _modify(index, first_marks[index] + used[index])
        yield b"\n"
        for name in refs.get(number, ()):
            yield b"reset %s\nfrom refs/heads/main\n\n" % name.encode()


def _noise(rng: random.Random, size: int) -> Iterator[bytes]:
    for start in range(0, size, _PIECE):
        yield rng.randbytes(min(_PIECE, size - start))
    yield b"\n"


def _header(number: int) -> bytes:
    text = b"Change number %d" % number
    when = _FIRST_TIME + 600 * number
    return b"commit refs/heads/main\ncommitter %s %d +0000\ndata %d\n%s\n" % (_COMMITTER, when, len(text), text)


def _modify(index: int, mark: int) -> bytes:
    return b"M 100644 :%d src/part%d/file%d.py\n" % (mark, index // _PER_DIRECTORY, index)


def _refs(shape: Shape) -> dict[int, list[str]]:
    """Return which refs name which commit."""
    refs: dict[int, list[str]] = {}
    names = [f"refs/heads/topic/{index}" for index in range(shape.branches)]
    names += [f"refs/tags/v{index}" for index in range(shape.tags)]
    for index, name in enumerate(names):
        refs.setdefault(index % shape.commits, []).append(name)
    if shape.behind:
        refs.setdefault(shape.commits - 1 - shape.behind, []).append("refs/heads/base")
    return refs
