"""A git directory with the objects of a mirror and a few of its refs (blocking; gitrepository-layout(5)).

``git fetch`` goes through all refs of a repository three times, whatever it fetches: to mark what is complete, to tell
the other side what is there, and to see whether all has come. Of a hundred thousand refs this takes longer than the
fetch. Who knows which tips have nearly all of what is behind the new ones has git see only these.
"""

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cachew.mirrors.leftovers import remove_tree

_PREFIX = "fetching-"
_SHARED = ("config", "objects", "shallow")
_PACKED = "# pack-refs with: sorted \n"


@contextmanager
def few_refs(directory: Path, tips: Iterable[str]) -> Iterator[Path]:
    """Make such a directory within a mirror's for as long as the block runs.

    What git writes down of objects and of where histories are cut off, it writes into the mirror.

    :param directory: the bare repository.
    :param tips: the object ids that refs shall have, all of which are there with all that they reach.
    :return: the git directory.
    """
    place = directory / f"{_PREFIX}{uuid.uuid4().hex}"
    place.mkdir()
    try:
        for name in _SHARED:
            (place / name).symlink_to(Path("..", name))
        (place / "refs").mkdir()
        (place / "HEAD").write_text("ref: refs/heads/none\n")
        lines = (f"{oid} refs/heads/{oid}\n" for oid in sorted(set(tips)))
        (place / "packed-refs").write_text("".join([_PACKED, *lines]))
        yield place
    finally:
        remove_tree(place)


def remove_left(directory: Path) -> None:
    """Remove what a killed server has left of these within a mirror."""
    for name in os.listdir(directory):
        if name.startswith(_PREFIX):
            remove_tree(directory / name)
