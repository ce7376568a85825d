"""Branches that move, each in its own file and under git's own lock, as git itself does it (blocking;
gitrepository-layout(5), git-update-ref(1)).

A push moves one branch, and a process for that costs more than all the rest of it. Only what git would surely do is
done: a branch that is there already goes to a commit that is there. Everything else is left to git.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

BRANCHES = "refs/heads/"
MOST = 8
"""So many at a time: of more, a process costs less than a file and its lock each."""


def move(directory: Path, branches: Mapping[str, str]) -> bool:
    """Move some branches, all or none of them unless the disk fails in between.

    :param directory: the bare repository.
    :param branches: full name to the object id of a commit that is there.
    :return: whether that is done; not when one of them is no branch yet, or another process has a lock.
    :raise OSError: when the disk fails.
    """
    places = {directory / name: oid for name, oid in branches.items()}
    if not all(_exists(directory, place, name) for place, name in zip(places, branches, strict=True)):
        return False
    locks: list[Path] = []
    try:
        for place, oid in places.items():
            lock = place.with_name(f"{place.name}.lock")
            try:
                descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            except (FileExistsError, FileNotFoundError, NotADirectoryError):
                return False
            locks.append(lock)
            with os.fdopen(descriptor, "wb") as file:
                file.write(oid.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        for place in places:
            locks[0].replace(place)
            del locks[0]
        return True
    finally:
        for lock in locks:
            with suppress(OSError):
                lock.unlink()


def _exists(directory: Path, place: Path, name: str) -> bool:
    """Whether there is such a branch, so that no other is in its way."""
    if not name.startswith(BRANCHES):
        return False
    if os.path.isfile(place) and not os.path.islink(place):
        return True
    if os.path.lexists(place):
        return False
    try:
        packed = (directory / "packed-refs").read_bytes()
    except OSError:
        return False
    if b" %b\n" % os.fsencode(name) not in packed:
        return False
    place.parent.mkdir(parents=True, exist_ok=True)
    return True
