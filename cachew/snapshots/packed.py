"""The part of an archive whose files are compressed already: packs, loose objects, LFS objects.

Its tar headers are made here and its contents are read by the threads that compress them, so that a large pack never
passes through a pipe or the reactor. The system's tar does the rest of an archive.
"""

import os
import shutil
import stat
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cachew.plumbing.tarzst import FramePart, Segment

BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * tarfile.BLOCKSIZE)
"""What ends a tar stream."""


@dataclass(frozen=True, order=True)
class Member:
    """A regular file of an archive.

    :param name: in the archive, e.g. ``./.git/objects/pack/pack-….pack``.
    :param path: on disk.
    """

    name: str
    path: Path


def members(directory: Path, name: str) -> list[Member]:
    """List the regular files below a directory, sorted (blocking).

    :param name: what the directory is called in the archive.
    """
    found = []
    for place, directories, files in os.walk(directory):
        directories.sort()
        prefix = os.path.relpath(place, directory)
        inside = name if prefix == "." else f"{name}/{prefix}"
        found += [Member(f"{inside}/{file}", Path(place, file)) for file in files]
    return sorted(found)


def segments(listed: Iterable[Member]) -> Iterator[Segment]:
    """Give the tar stream of files, without its end (blocking, but only looks at the files)."""
    for member in listed:
        state = member.path.lstat()
        if not stat.S_ISREG(state.st_mode):
            continue
        yield header(member.name, state.st_size, int(state.st_mtime))
        if state.st_size:
            yield FramePart(member.path, 0, state.st_size)
        if padding := -state.st_size % BLOCK:
            yield bytes(padding)


def header(name: str, size: int, modified: int) -> bytes:
    """Return the tar header of a read-only regular file of nobody in particular."""
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, modified, 0o444
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


SHALLOW = "shallow"
"""The file in a repository that names the commits whose parents are missing (gitrepository-layout(5))."""


def copy_cut(source: Path, target: Path) -> None:
    """Have one repository end where another does that its objects are from (blocking)."""
    with suppress(FileNotFoundError):
        (target / SHALLOW).write_bytes((source / SHALLOW).read_bytes())


def unlink_objects(directory: Path) -> None:
    """Remove the links to a mirror's objects below a directory that things are made in (blocking)."""
    for objects in (*directory.glob("*/objects"), *directory.glob("*/.git/objects")):
        shutil.rmtree(objects, ignore_errors=True)


def link_tree(source: Path, target: Path, *, skip: Iterable[str] = ()) -> None:
    """Make a copy of a directory of immutable files by hard links (blocking).

    :param target: made here, on the same file system.
    :param skip: ends of file names that are left out.
    """
    left_out = tuple(skip)
    for place, directories, files in os.walk(source):
        inside = target / os.path.relpath(place, source)
        inside.mkdir(parents=True, exist_ok=True)
        directories[:] = [
            name for name in directories if not (name.startswith("tmp_") or Path(place, name).is_symlink())
        ]
        for file in files:
            if not file.endswith(left_out) and not file.startswith("tmp_"):
                os.link(Path(place, file), inside / file, follow_symlinks=False)
