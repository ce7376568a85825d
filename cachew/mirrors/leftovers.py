"""What is removed of mirrors: what killed commands leave there, what is derived, and all of it (blocking)."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cachew.plumbing.diskspace import remove

_TEMPORARY = ("tmp_", ".tmp-")


def remove_leftovers(directory: Path) -> None:
    """Remove the locks and temporary files that a killed git leaves; nothing else may be writing there.

    :raise OSError: when one of them can't be removed.
    """
    for entry in _entries(str(directory)):
        if entry.name.endswith((".lock", ".new")):
            remove(Path(entry))
    _remove_below(f"{directory}/refs", _is_lock)
    _remove_below(f"{directory}/objects", _is_leftover)


def _is_lock(name: str) -> bool:
    return name.endswith(".lock")


def _is_leftover(name: str) -> bool:
    return name.startswith(_TEMPORARY) or name.endswith((".keep", ".lock"))


def _remove_below(place: str, doomed: Callable[[str], bool]) -> None:
    """Remove what has such a name; this is done in thousands of mirrors at each start."""
    for entry in _entries(place):
        if doomed(entry.name):
            remove(Path(entry))
        elif entry.is_dir(follow_symlinks=False):
            _remove_below(entry.path, doomed)


def _entries(place: str) -> list[os.DirEntry[str]]:
    """Return what is in a directory, nothing when that can't be read."""
    try:
        with os.scandir(place) as found:
            return list(found)
    except OSError:
        return []


def remove_graph(directory: Path) -> None:
    """Remove a repository's commit-graph."""
    info = directory / "objects" / "info"
    remove(info / "commit-graph")
    remove(info / "commit-graphs")


def remove_tree(directory: Path) -> None:
    """Remove a directory and all that is in it, if it is there."""
    shutil.rmtree(directory, ignore_errors=True)
