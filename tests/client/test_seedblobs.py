"""When the files of a snapshot's working tree are taken too, by packs and an index made for the purpose."""

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest

from cachew.client.clienterrors import ArchiveBroken
from cachew.client.packcontents import PackContents
from cachew.client.seedblobs import SeedBlobs
from cachew.client.seededobjects import SeededPack
from cachew.client.tarheader import EntryKind, TarEntry

DEEP = 7
SMALL = 100
TOO_LARGE = 1024 * 1024 + 1


def oid(number: int) -> bytes:
    """Return an object's name; names sort as their numbers do."""
    return struct.pack(">L", number) + bytes(16)


def index_of(offsets: dict[bytes, int], far: bytes = b"") -> bytes:
    """Return a pack's index, with the table of far offsets at its end."""
    names = sorted(offsets)
    fanout = [sum(name[0] <= first for name in names) for first in range(256)]
    return b"".join(
        [
            b"\377tOc\0\0\0\2",
            struct.pack(">256L", *fanout),
            *names,
            bytes(4 * len(names)),
            *(struct.pack(">L", offsets[name]) for name in names),
            far,
        ]
    )


def tree_of(sizes: dict[bytes, int]) -> bytes:
    """Return a git index of regular files, the first of which is the first object."""
    entries = []
    for number, (path, size) in enumerate(sizes.items()):
        entry = struct.pack(">10L", 0, 0, 0, 0, 0, 0, 0o100644, 0, 0, size) + oid(number) + struct.pack(">H", len(path))
        entry += path
        entries.append(entry + bytes(8 - len(entry) % 8))
    return struct.pack(">4sLL", b"DIRC", 2, len(entries)) + b"".join(entries) + bytes(20)


class Seed:
    """The files of a seed, whose objects lie so deep in deltas.

    :ivar wanted: the blobs that were begun; None when none were.
    """

    def __init__(self, directory: Path, *, depth: int = DEEP, **sizes: int) -> None:
        self.objects = self
        self.sizes = {os.fsencode(name): size for name, size in (sizes or {"a": SMALL}).items()}
        # Each object is a delta of what lies two bytes before it; the first is none.
        chain = b"\x30\0" + b"\x60\x02" * depth
        self.path = directory / "p.pack"
        self.path.write_bytes(bytes(12) + chain + bytes(64))
        self.offsets = {oid(number): 12 + 2 * depth for number in range(len(self.sizes))}
        self.tree, self.index = tree_of(self.sizes), index_of(self.offsets)
        self.wanted: set[bytes] | None = None
        self.failure: OSError | None = None
        self.has_all_blobs = False

    def packs(self) -> list[SeededPack]:
        """Return its only pack."""
        return [SeededPack(os.fsencode(self.path), PackContents(self.index, size=20), 20)]

    def content(self, *name: bytes) -> bytes:
        """Return its index of the working tree."""
        return self.tree if name == (b"index",) else b""

    def begin_blobs(self, wanted: Iterable[bytes], *, oid_size: int) -> None:
        """Take note of the blobs."""
        if self.failure is not None:
            raise self.failure
        self.wanted = set(wanted)

    def blobs(self, *, checks_out: bool = True) -> SeedBlobs:
        """Return what decides about it."""
        return SeedBlobs(cast(Any, self), checks_out=checks_out)


def file(path: bytes, size: int) -> TarEntry:
    return TarEntry(path=path, kind=EntryKind.FILE, mode=0o644, size=size, mtime=0, target=b"")


def test_files_deep_in_deltas_are_taken_but_for_large_ones(tmp_path: Path) -> None:
    """A file is one of them when it has the size that the index tells."""
    seed = Seed(tmp_path, a=SMALL, b=TOO_LARGE, c=SMALL)
    blobs = seed.blobs()
    assert blobs.begin() and seed.wanted == {oid(0), oid(2)}
    taken = [blobs.wants(file(path, size)) for path, size in ((b"a", SMALL), (b"a", 99), (b"b", TOO_LARGE), (b"d", 1))]
    assert taken == [True, False, False, False]
    assert not blobs.complete
    seed.has_all_blobs = True
    assert blobs.complete


@pytest.mark.parametrize(
    ("how", "checks_out"),
    [({"depth": DEEP}, False), ({"depth": 5}, True), ({"b": TOO_LARGE}, True)],
    ids=["bare", "shallow in deltas", "only large ones"],
)
def test_where_it_is_not_worth_while(tmp_path: Path, how: dict[str, int], checks_out: bool) -> None:
    """Nothing of the working tree is fetched."""
    seed = Seed(tmp_path, **how)
    blobs = seed.blobs(checks_out=checks_out)
    assert not blobs.begin() and seed.wanted is None and not blobs.wants(file(b"a", SMALL))


FAR = 0x80000000


@pytest.mark.parametrize(
    ("offset", "far"),
    [(FAR, b""), (FAR | 5, bytes(8)), (FAR, b"\xff" * 8), (FAR, b"\x7f" + b"\xff" * 7), (1 << 30, b"")],
)
def test_a_pack_index_that_points_nowhere_is_left_to_others(tmp_path: Path, offset: int, far: bytes) -> None:
    """Whoever wrote it has made its checksum, too; the seed is judged by that, and needs no working tree."""
    seed = Seed(tmp_path)
    seed.index = index_of({oid(0): offset}, far)
    assert not seed.blobs().begin() and seed.wanted is None


@pytest.mark.parametrize("offset", [FAR, FAR | 5])
def test_an_index_that_is_cut_off_is_no_index(offset: int) -> None:
    """Where an object lies that the table of far ones does not tell is not asked for ever, nor taken for a crash."""
    with pytest.raises(ArchiveBroken):
        PackContents(index_of({oid(0): offset}), size=20).offset(oid(0))


@pytest.mark.parametrize("kept", [0, 12, 50, 60])
def test_a_tree_index_that_is_cut_off_takes_no_files(tmp_path: Path, kept: int) -> None:
    """Git makes its own in any case."""
    seed = Seed(tmp_path)
    seed.tree = seed.tree[:kept] + bytes(20)
    assert not seed.blobs().begin()


def test_without_room_for_them_no_files_are_taken(tmp_path: Path) -> None:
    """What could not be begun is not waited for."""
    seed = Seed(tmp_path)
    seed.failure = OSError(28, "No space left on device")
    blobs = seed.blobs()
    assert not blobs.begin() and not blobs.wants(file(b"a", SMALL))
