"""Whether an object is in a mirror, answered without a process.

Mirrors hold packs only (``transfer.unpackLimit=1``), so membership is a binary search in the pack indexes
(:mod:`cachew.mirrors.packindex`); loose objects are looked for as well. The set of packs is read anew whenever the pack
directory has changed or an object is missing.
"""

import contextlib
import hashlib
import os
import re
import zlib
from collections import deque
from collections.abc import Collection, Iterable
from pathlib import Path

from cachew.mirrors.packcommits import parents_at
from cachew.mirrors.packindex import OpenIndexes, PackIndex
from cachew.plumbing.diskspace import put_in_place

_HEX = re.compile("[0-9a-fA-F]+")
_EMPTY_TREE = b"tree 0\0"


class ObjectIndex:
    """All objects of one repository.

    :param directory: the bare repository.
    :param object_format: ``sha1`` or ``sha256``.
    :param opened: what is open of the pack indexes of all repositories.
    """

    def __init__(self, *, directory: Path, object_format: str, opened: OpenIndexes) -> None:
        self._opened = opened
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
        absent = self._absent(wanted)
        if absent and self._reread():
            absent = self._absent(absent)
        return absent

    def ancestors(self, oids: Iterable[str], most: int, until: Collection[str] = ()) -> set[str]:
        """Return the last commits that lead to some others, these included, as far as packs tell it at once.

        :param most: how many are looked at.
        :param until: commits that are looked for: nothing beyond is, once all of them have been found.
        """
        if self._stamp() != self._seen:
            self._reread()
        found = dict.fromkeys(oids)
        left, sought = deque(found), set(until).difference(found)
        while left and len(found) < most and (sought or not until):
            for parent in self._parents(left.popleft()) or ():
                if parent not in found:
                    found[parent] = None
                    left.append(parent)
                    sought.discard(parent)
        return set(found)

    def is_commit(self, oid: str) -> bool:
        """Say whether an object is certainly a commit, as far as packs tell it at once."""
        if self._stamp() != self._seen:
            self._reread()
        return self._parents(oid) is not None

    def _parents(self, oid: str) -> tuple[str, ...] | None:
        for pack in self._packs.values() if self._is_oid(oid) else ():
            if (offset := pack.offset(bytes.fromhex(oid))) is not None:
                return parents_at(pack.path.with_suffix(".pack"), offset, oid, pack.offset)
        return None

    def close(self) -> None:
        """Forget the packs."""
        for pack in self._packs.values():
            pack.close()
        self._packs.clear()
        self._seen = None

    def _absent(self, oids: list[str]) -> list[str]:
        """Look for all of them in one pack after the other: an index that was closed is opened once."""
        left = {oid: bytes.fromhex(oid) for oid in oids if self._is_oid(oid)}
        for pack in self._packs.values():
            left = {oid: binary for oid, binary in left.items() if binary not in pack}
            if not left:
                break
        loose = self._loose_directories() if left else frozenset()
        return [
            oid for oid in oids if not self._is_oid(oid) or (oid in left and not self._is_loose(oid.lower(), loose))
        ]

    def _is_oid(self, oid: str) -> bool:
        return len(oid) == 2 * self._hash_size and _HEX.fullmatch(oid) is not None

    def _loose_directories(self) -> Collection[str]:
        """Return what lies beside the packs: mostly no directory of loose objects, and nothing need be looked for."""
        try:
            return set(os.listdir(self._objects))
        except FileNotFoundError:
            return frozenset()

    def _is_loose(self, oid: str, directories: Collection[str]) -> bool:
        return oid[:2] in directories and (self._objects / oid[:2] / oid[2:]).is_file()

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._objects / "pack")
        except FileNotFoundError:
            return None
        return status.st_mtime_ns, status.st_ino

    def _reread(self) -> bool:
        stamp = self._stamp()
        names = index_names(self._objects)
        before = self._packs.keys() | set()
        for name in self._packs.keys() - names:
            self._packs.pop(name).close()
        for name in names - self._packs.keys():
            # Gone again, or broken: for git, too, such a pack holds nothing.
            with contextlib.suppress(FileNotFoundError, ValueError):
                self._packs[name] = PackIndex(self._objects / "pack" / name, self._hash_size, self._opened)
        self._seen = stamp
        return before != self._packs.keys()


def index_names(objects: Path) -> set[str]:
    """Return the names of the indexes in a directory of objects whose packs are there too."""
    try:
        found = set(os.listdir(objects / "pack"))
    except FileNotFoundError:
        return set()
    return {name for name in found if name.endswith(".idx") and f"{name[:-4]}.pack" in found}


def write_empty_tree(objects: Path, object_format: str) -> str:
    """Write the empty tree into a directory of objects, and return its id."""
    oid = hashlib.new(object_format, _EMPTY_TREE).hexdigest()
    place = objects / oid[:2] / oid[2:]
    if not place.exists():
        place.parent.mkdir(exist_ok=True)
        put_in_place(place, zlib.compress(_EMPTY_TREE))
    return oid
