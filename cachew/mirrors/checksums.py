"""The files of a repository that git gives a checksum, and whether it holds (blocking).

Packs, their indexes, and what git derives from them all end in the digest of what is before it (gitformat-pack(5),
gitformat-commit-graph(5)). Reading a pack for that costs about a second for a gigabyte.
"""

import os
from hashlib import sha1, sha256
from pathlib import Path
from typing import Any, BinaryIO

from cachew.plumbing.trailing import TrailingDigest

_PACK, _INFO, _GRAPHS = "objects/pack", "objects/info", "objects/info/commit-graphs"
_OF_PACKS = (".pack", ".idx", ".rev", ".bitmap", ".mtimes")
_PIECE = 1024 * 1024


def digest_of(object_format: str) -> Any:
    """Return a new digest by the hash function of an object format."""
    return sha256() if object_format == "sha256" else sha1()


def summed_files(directory: Path) -> list[str]:
    """Return the names of a repository's files that end in a checksum, relative to its directory.

    A pack without an index, which a killed fetch may leave, is no pack to git.
    """
    there = set(_names(f"{directory}/{_PACK}"))
    packs = (name for name in there if not name.endswith(".pack") or f"{name[:-5]}.idx" in there)
    found = [f"{_PACK}/{name}" for name in packs if _of_pack(name)]
    info = _names(f"{directory}/{_INFO}")
    found += [f"{_INFO}/{name}" for name in info if name == "commit-graph"]
    if _GRAPHS.rpartition("/")[2] in info:
        found += [f"{_GRAPHS}/{name}" for name in _names(f"{directory}/{_GRAPHS}") if name.endswith(".graph")]
    return sorted(found)


def _names(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if not name.startswith(("tmp_", ".tmp-"))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _of_pack(name: str) -> bool:
    return name == "multi-pack-index" or (name.startswith(("pack-", "multi-pack-index-")) and name.endswith(_OF_PACKS))


def is_derived(name: str) -> bool:
    """Say whether git can make a file again out of the packs and their indexes, and does without it meanwhile."""
    return not name.endswith((".pack", ".idx"))


class FileCheck:
    """Reads one file and compares its checksum; closes it at the end.

    :param path: the file.
    :param object_format: whose hash function it is by.
    :raise OSError: when it can't be read.
    """

    def __init__(self, path: Path, object_format: str) -> None:
        self._file: BinaryIO = path.open("rb", buffering=0)
        self._sum = TrailingDigest(digest_of(object_format))

    def step(self, size: int) -> int:
        """Read on.

        :param size: at most so many bytes.
        :return: how many there were; 0 at the end.
        """
        done = 0
        while done < size and (piece := self._file.read(min(_PIECE, size - done))):
            self._sum.update(piece)
            done += len(piece)
        return done

    def holds(self) -> bool:
        """Tell whether the file, which was read to its end, ends in its checksum."""
        return self._sum.holds()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def holds(path: Path, object_format: str) -> bool:
    """Read a whole file and tell whether its checksum holds.

    :raise OSError: when it can't be read.
    """
    check = FileCheck(path, object_format)
    try:
        while check.step(_PIECE):
            pass
        return check.holds()
    finally:
        check.close()


def fits(pack: Path, object_format: str) -> bool:
    """Tell whether a pack's index is of this very pack.

    :raise OSError: when either can't be read.
    """
    size = digest_of(object_format).digest_size
    with pack.open("rb") as file, pack.with_suffix(".idx").open("rb") as index:
        file.seek(-size, os.SEEK_END)
        index.seek(-2 * size, os.SEEK_END)
        return file.read(size) == index.read(size)
