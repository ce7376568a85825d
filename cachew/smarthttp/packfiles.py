"""Kept answers as files: the answer itself, then a trailer by which it is recognised.

A file is written under another name, gets its trailer, is flushed, and is renamed into place. What a crash or a
failing disk leaves (a file without a trailer, of another length, of other content, or of another key) is recognised
before it is served. Everything here blocks and belongs into a thread, but for :func:`open_kept`, which is one look at
one file.
"""

import json
import os
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from cachew.plumbing import diskspace
from cachew.plumbing.errors import CachewError
from cachew.smarthttp.packcheck import NotWhole, checksum_holds, is_sound, outline

SUFFIX = ".pack"
_MAGIC = b"cachewp2"
_FOOTER = 8 + len(_MAGIC)
_LONGEST_TRAILER = 4096


class Damaged(CachewError):
    """A kept answer is not what was written."""


@dataclass(frozen=True)
class Stamp:
    """What a file looked like when its content was last known to be right.

    :param size: the size of the answer in it, in bytes.
    :param changed: when its inode was changed last, which nobody can put back.
    """

    size: int
    inode: int
    whole: int
    modified: int
    changed: int


@dataclass(frozen=True)
class FoundPack:
    """A kept answer found at start; whether it is right is not known yet."""

    key: str
    size: int
    used: float


def seal(path: Path, *, key: str, size: int, doubted: bool = False) -> Stamp | None:
    """Append the trailer to an answer and flush the file.

    :param size: the bytes that have been written.
    :param doubted: whether the pack is read through and compared with its own checksum first.
    :return: None, with nothing done, when the answer is no whole pack.
    :raise Damaged: when the file does not have that size.
    """
    with path.open("r+b") as file:
        if file.seek(0, os.SEEK_END) != size:
            raise Damaged(f"{path.name} has lost its end")
        try:
            digest = outline(file, size)
            if doubted and not checksum_holds(file, size):
                return None
        except NotWhole:
            return None
        trailer = json.dumps({"key": key, "size": size, "outline": digest}).encode()
        file.seek(size)
        file.write(trailer + len(trailer).to_bytes(8, "big") + _MAGIC)
        file.flush()
        os.fsync(file.fileno())
        return _stamp(file, size)


def _stamp(file: BinaryIO, size: int) -> Stamp:
    status = os.fstat(file.fileno())
    return Stamp(size, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def verify(path: Path, *, key: str) -> Stamp:
    """Read a kept answer through and compare it with its trailer.

    :raise Damaged: when it is not what was written under this key.
    :raise OSError: when it can't be read.
    """
    with path.open("rb") as file:
        size, expected = _trailer(file, key)
        if not is_sound(file, size, expected):
            raise Damaged(f"{path.name} has other content than was written")
        return _stamp(file, size)


def _trailer(file: BinaryIO, key: str) -> tuple[int, str]:
    whole = file.seek(0, os.SEEK_END)
    footer = _at(file, whole - _FOOTER, _FOOTER)
    length = int.from_bytes(footer[:8], "big")
    if footer[8:] != _MAGIC or length > _LONGEST_TRAILER:
        raise Damaged("no trailer")
    try:
        trailer = json.loads(_at(file, whole - _FOOTER - length, length))
        found, size, digest = trailer["key"], trailer["size"], trailer["outline"]
    except (ValueError, KeyError, TypeError) as failure:
        raise Damaged("a bad trailer") from failure
    if found != key or size != whole - _FOOTER - length or not isinstance(digest, str):
        raise Damaged("the trailer of another answer")
    return size, digest


def _at(file: BinaryIO, offset: int, length: int) -> bytes:
    if offset < 0:
        raise Damaged("too short")
    file.seek(offset)
    return file.read(length)


def renamed(path: Path, stamp: Stamp) -> Stamp:
    """Return what a file looks like that was renamed since; that changes its inode and nothing else.

    :raise Damaged: when something else has changed too.
    """
    with path.open("rb") as file:
        now = _stamp(file, stamp.size)
    if replace(now, changed=stamp.changed) != stamp:
        raise Damaged(f"{path.name} has been changed")
    return now


def open_kept(path: Path, stamp: Stamp, *, now: float) -> tuple[BinaryIO, Stamp]:
    """Open a kept answer that is known to be right, and note its use.

    :param now: the time of the use, epoch seconds.
    :return: the file, and what it looks like from now on.
    :raise Damaged: when the file has changed since.
    :raise OSError: when it is gone.
    """
    file = path.open("rb")
    if _stamp(file, stamp.size) != stamp:
        file.close()
        raise Damaged(f"{path.name} has been changed")
    with suppress(OSError):  # the order of use is lost on a file system that can't be written
        os.utime(file.fileno(), ns=(int(now * 1e9), stamp.modified))
    return file, _stamp(file, stamp.size)


def scan(directory: Path) -> list[FoundPack]:
    """Make the directory if need be, remove what was never finished, and list the rest, least recently used first."""
    directory.mkdir(parents=True, exist_ok=True)
    found = []
    for path in directory.iterdir():
        if path.suffix != SUFFIX:
            diskspace.remove(path)
            continue
        status = path.stat()
        found.append(FoundPack(path.name.removesuffix(SUFFIX), status.st_size, status.st_atime))
    return sorted(found, key=lambda each: each.used)


def put_aside(paths: Iterable[Path], kept: Container[str], naming: Lock) -> Iterator[Path]:
    """Give files another name, one after the other, but for those that have been kept anew meanwhile.

    :param kept: the keys under which anything is kept now.
    :param naming: held by whoever gives one of their names to a file.
    """
    for path in paths:
        aside = path.with_suffix(".gone")
        with naming:
            if path.name.removesuffix(SUFFIX) in kept:
                continue
            try:
                path.replace(aside)
            except FileNotFoundError:
                continue
        yield aside


def remove(paths: Iterable[Path]) -> None:
    """Remove files, those that are gone already too."""
    for path in paths:
        diskspace.remove(path)
