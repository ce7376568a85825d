"""The objects of a seed, where they lie aside: which packs have come, and whether anything is missing."""

import os
import re
from binascii import unhexlify
from collections.abc import Iterable
from mmap import ACCESS_READ, mmap
from typing import NamedTuple

from cachew.client.clienterrors import ArchiveBroken
from cachew.client.packcontents import PackContents

_PACK = re.compile(rb"pack-[0-9a-f]+\.pack")


class SeededPack(NamedTuple):
    """A pack of a seed, where it lies aside.

    :param contents: its index.
    :param oid_size: bytes of its objects' names.
    """

    path: bytes
    contents: PackContents
    oid_size: int


class SeededObjects:
    """The objects of one seed.

    :param directory: where it lies aside.
    """

    def __init__(self, directory: bytes) -> None:
        self._directory = os.path.join(directory, b"objects")

    def path_of(self, name: bytes) -> bytes:
        """Return where a file lies."""
        return os.path.join(self._directory, name)

    def names(self) -> "list[bytes]":
        """Return the names of all files, from the directory on."""
        found = ((place, name) for place, _, names in os.walk(self._directory) for name in names)
        return [os.path.relpath(os.path.join(place, name), self._directory) for place, name in found]

    def packs(self) -> "list[SeededPack]":
        """Return the packs that have come.

        :raise ArchiveBroken: when a pack's index is none.
        """
        names = [name for name in self.names() if _PACK.fullmatch(os.path.basename(name))]
        found = []
        for name in names:
            size = _oid_size(name)
            index = PackContents(_mapped(self.path_of(_index_of(name))), size=size)
            found.append(SeededPack(self.path_of(name), index, size))
        return found

    def check(self) -> None:
        """See that every pack has the index that was made of it.

        :raise ArchiveBroken: when one has not.
        """
        packs = [name for name in self.names() if _PACK.fullmatch(os.path.basename(name))]
        for pack in packs:
            size = _oid_size(pack)
            try:
                if _end(self.path_of(pack), size, size) != _end(self.path_of(_index_of(pack)), 2 * size, size):
                    raise ArchiveBroken("a pack of the snapshot has the index of another")
            except (FileNotFoundError, OSError) as error:
                raise ArchiveBroken("a pack of the snapshot has no index") from error

    def lacks(self, oids: "Iterable[bytes]") -> "bytes | None":
        """Return the first object, by its name in hex, that is not among the files; None when all are.

        :raise ArchiveBroken: when a pack's index is none.
        """
        wanted = set(oids)
        size = len(next(iter(wanted), b"")) // 2
        names = self.names()
        indexes = [PackContents(_mapped(self.path_of(name)), size=size) for name in names if name.endswith(b".idx")]
        loose = {name.replace(b"/", b"") for name in names}
        missing = (oid for oid in wanted if oid not in loose)
        return next((oid for oid in missing if not any(unhexlify(oid) in index for index in indexes)), None)


def _mapped(path: bytes) -> mmap:
    with open(path, "rb") as file:
        return mmap(file.fileno(), 0, access=ACCESS_READ)


def _index_of(pack: bytes) -> bytes:
    return pack[: -len(b"pack")] + b"idx"


def _oid_size(pack: bytes) -> int:
    return 20 if len(os.path.basename(pack)) == 50 else 32


def _end(path: bytes, back: int, count: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(-back, os.SEEK_END)
        return file.read(count)
