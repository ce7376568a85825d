"""What is removed of mirrors: what killed commands leave there, what is derived, and all of it (blocking)."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from cachew.plumbing.diskspace import remove

_TEMPORARY = ("tmp_", ".tmp-")


def remove_leftovers(directory: Path) -> None:
    """Remove the locks and temporary files that a killed git leaves; nothing else may be writing there.

    :raise OSError: when one of them can't be removed.
    """
    if not directory.is_dir():
        return
    for entry in os.scandir(directory):
        if entry.name.endswith((".lock", ".new")):
            remove(Path(entry))
    for place, below, names in os.walk(f"{directory}/refs"):
        _remove(place, (name for name in (*below, *names) if name.endswith(".lock")))
    for place, below, names in os.walk(f"{directory}/objects"):
        _remove(place, (name for name in (*below, *names) if _is_leftover(name)))


def _is_leftover(name: str) -> bool:
    return name.startswith(_TEMPORARY) or name.endswith((".keep", ".lock"))


def _remove(place: str, names: Iterable[str]) -> None:
    for name in names:
        remove(Path(place, name))


def remove_graph(directory: Path) -> None:
    """Remove a repository's commit-graph."""
    info = directory / "objects" / "info"
    remove(info / "commit-graph")
    remove(info / "commit-graphs")


def remove_tree(directory: Path) -> None:
    """Remove a directory and all that is in it, if it is there."""
    shutil.rmtree(directory, ignore_errors=True)
