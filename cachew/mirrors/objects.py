"""Whether an object is in a mirror, answered without a process.

Mirrors hold packs only (``transfer.unpackLimit=1``), so membership is a binary search in the pack indexes, version 2
(gitformat-pack(5)); loose objects are looked for as well. The set of packs is read anew whenever the pack directory has
changed or an object is missing.
"""

import contextlib
import mmap
import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path

_HEX = re.compile("[0-9a-fA-F]+")
_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_FANOUT_END = 8 + 256 * 4
_SMALL = 256 * 1024


class PackIndex:
    """One ``.idx`` file; a large one is mapped, which costs a descriptor, a small one is read.

    :param path: the file.
    :param hash_size: 20 for SHA-1, 32 for SHA-256 repositories.
    :raise ValueError: when it is no version 2 index.
    """

    def __init__(self, path: Path, hash_size: int) -> None:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < _FANOUT_END:
                raise ValueError(f"{path.name} is too short for a pack index")
            self._map: mmap.mmap | bytes = (
                file.read(size) if size <= _SMALL else mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
            )
        self._hash_size = hash_size
        self.count: int = struct.unpack_from(">I", self._map, _FANOUT_END - 4)[0]
        if self._map[:8] != _MAGIC or len(self._map) < _FANOUT_END + self.count * hash_size:
            raise ValueError(f"{path.name} is no version 2 pack index")

    def __contains__(self, oid: bytes) -> bool:
        first = oid[0]
        low: int = struct.unpack_from(">I", self._map, 8 + 4 * (first - 1))[0] if first else 0
        high: int = struct.unpack_from(">I", self._map, 8 + 4 * first)[0]
        high = min(high, self.count)
        size = self._hash_size
        while low < high:
            middle = (low + high) // 2
            start = _FANOUT_END + middle * size
            found = self._map[start : start + size]
            if found == oid:
                return True
            if found < oid:
                low = middle + 1
            else:
                high = middle
        return False

    def close(self) -> None:
        """Unmap the file."""
        if isinstance(self._map, mmap.mmap):
            self._map.close()


class ObjectIndex:
    """All objects of one repository.

    :param directory: the bare repository.
    :param object_format: ``sha1`` or ``sha256``.
    """

    def __init__(self, *, directory: Path, object_format: str) -> None:
        self._objects = directory / "objects"
        self._hash_size = 32 if object_format == "sha256" else 20
        self._packs: dict[str, PackIndex] = {}
        self._seen: tuple[int, int] | None = None

    def missing(self, oids: Iterable[str]) -> list[str]:
        """Return those of the hex object ids that the repository does not have, in their order.

        What is no hex id of the right length counts as missing.
        """
        wanted = list(oids)
        if self._stamp() != self._seen:
            self._reread()
        absent = [oid for oid in wanted if not self._has(oid)]
        if absent and self._reread():
            absent = [oid for oid in absent if not self._has(oid)]
        return absent

    def close(self) -> None:
        """Forget the packs."""
        for pack in self._packs.values():
            pack.close()
        self._packs.clear()
        self._seen = None

    def _has(self, oid: str) -> bool:
        if len(oid) != 2 * self._hash_size or not _HEX.fullmatch(oid):
            return False
        binary = bytes.fromhex(oid)
        if any(binary in pack for pack in self._packs.values()):
            return True
        name = oid.lower()
        return (self._objects / name[:2] / name[2:]).is_file()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._objects / "pack")
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _reread(self) -> bool:
        stamp = self._stamp()
        names = self._index_names()
        before = self._packs.keys() | set()
        for name in self._packs.keys() - names:
            self._packs.pop(name).close()
        for name in names - self._packs.keys():
            # Gone again, or broken: for git, too, such a pack holds nothing.
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._packs[name] = PackIndex(self._objects / "pack" / name, self._hash_size)
        self._seen = stamp
        return before != self._packs.keys()

    def _index_names(self) -> set[str]:
        try:
            found = set(os.listdir(self._objects / "pack"))
        except FileNotFoundError:
            return set()
        return {name for name in found if name.endswith(".idx") and f"{name[:-4]}.pack" in found}
