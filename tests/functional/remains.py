"""What a server has left over when it has nothing to do: files on disk, descriptors, children."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater

from cachew.plumbing.jsonfile import UNFINISHED
from tests.cleanliness import GRACE, child_processes, name_of


def descriptors() -> Counter[str]:
    """Count this process's open descriptors by what they refer to; sockets and pipes by kind only.

    Those below ``/proc`` are the tests' own, which look at processes meanwhile.
    """
    found: Counter[str] = Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:
            continue
        kind = target.partition(":[")[0]
        if not target.startswith("/proc/"):
            found[kind] += 1
    return found


def children() -> list[str]:
    """Name this process's living children."""
    return [name_of(pid) for pid in child_processes()]


def temporary_files(state: Path) -> list[str]:
    """Name what lies in a state directory only while something is under way."""
    patterns = ("spools/*", "scratch/*", "packs/*.part", "mirrors/.aside/*", "mirrors/**/tmp_*", "mirrors/**/*.lock")
    found = [path for pattern in (*patterns, UNFINISHED) for path in state.glob(pattern)]
    return sorted(str(path.relative_to(state)) for path in found)


def files(state: Path) -> set[str]:
    """Name everything in a state directory; what goes while it is looked through is not there."""
    found = (Path(place, name) for place, below, names in os.walk(state) for name in (*below, *names))
    return {str(path.relative_to(state)) for path in found}


async def settle(reactor: Any, remains: Callable[[], object]) -> Any:
    """Let connections close and children be reaped, then say what remains.

    :param remains: says what is left over, something false for nothing.
    """
    for pause in GRACE:
        if not remains():
            break
        await deferLater(reactor, pause, lambda: None)
    return remains()
