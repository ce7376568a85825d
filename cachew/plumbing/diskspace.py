"""How much room there is, and what it means when there is none."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

from cachew.plumbing.descriptors import EXHAUSTED
from cachew.plumbing.errors import ProcessFailed, StorageFull, StorageUnavailable

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says when a disk is full, or full for us."""
NO_ROOM = os.strerror(errno.ENOSPC)
_HARDLY_ANYTHING = 64 * 1024 * 1024
_PIECE = 64 * 1024
_WORDS = tuple(os.strerror(number) for number in FULL)


def remove(path: Path) -> None:
    """Remove a file, or whatever lies in its place, if there is anything."""
    try:
        path.unlink(missing_ok=True)
    except (IsADirectoryError, PermissionError):
        # Which of the two a system says of a directory varies (unlink(2)).
        if not path.is_dir() or path.is_symlink():
            raise
        shutil.rmtree(path)


@contextlib.contextmanager
def replacing(path: Path, beside: Path) -> Iterator[None]:
    """Have a file replaced by the one that is written beside it; a failure leaves nothing of that behind."""
    try:
        yield
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def content_of(path: str) -> bytes:
    """Return what is in a small file, for a third of what Python's own files cost.

    :raise OSError: when it can't be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = b""
        while piece := os.read(descriptor, _PIECE):
            content += piece
        return content
    finally:
        os.close(descriptor)


def put_in_place(path: Path, content: bytes, *, aside: str = ".new") -> None:
    """Replace a file, or whatever lies in its place, by one that is whole; a failure leaves nothing behind.

    :param aside: what is added to its name while it is written.
    :raise OSError: when it can't be written.
    """
    beside = path.with_name(f"{path.name}{aside}")
    for place in (beside, path):
        if place.is_dir():
            remove(place)
    with replacing(path, beside):
        beside.write_bytes(content)


def free_bytes(directory: Path) -> int:
    """Return the bytes that the file system of a directory has left for us, or will have once it is made."""
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    status = os.statvfs(directory)
    return status.f_bavail * status.f_frsize


def room_to_grow(directory: Path, least: int, *, free: Callable[[Path], int] = free_bytes) -> Callable[[], bool]:
    """Return what tells whether something that begins now may go on growing on a directory's file system.

    What was begun below the floor may as long as it takes hardly anything, so that what is there is kept up to date.

    :param least: bytes that shall stay free; 0 for no floor.
    :param free: tells how many are.
    """
    if least <= 0:
        return lambda: True

    def left() -> float:
        try:
            return free(directory)
        except OSError:
            # Who can't write there any more fails by himself.
            return inf

    began = left()

    def has_room() -> bool:
        now = left()
        return now >= least or now + _HARDLY_ANYTHING >= began

    return has_room


def disk_failure(error: Exception, what: str) -> StorageUnavailable | None:
    """Return what a failure means when it is the disk's, None when it is anything else's.

    :param error: what came of work on files, in this process or in a child.
    :param what: what could not be done, as the beginning of a sentence.
    """
    if isinstance(error, OSError) and error.errno is not None and error.errno not in EXHAUSTED:
        kind = StorageFull if error.errno in FULL else StorageUnavailable
        return kind(f"{what}: {error.strerror}")
    if isinstance(error, ProcessFailed) and any(words in error.stderr for words in _WORDS):
        return StorageFull(f"{what}: {NO_ROOM}")
    return None
