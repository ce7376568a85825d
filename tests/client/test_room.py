"""What is announced is added up against the free space less a reserve, before it is written and while it is."""

import os
from pathlib import Path

import pytest

from cachew.client.clienterrors import ExtractionFailed
from cachew.client.extract import choose_unpacker
from cachew.client.room import FittingRules, Room
from cachew.client.snapshotrules import SnapshotRules
from cachew.client.tarscan import TarScanner
from tests.fakes.archives import framed, member
from tests.fakes.cachew_server import Stored
from tests.fakes.client_parts import Parts

MB = 1024 * 1024


class Disk:
    """A file system of 1 GB, 2 % of which is kept free."""

    def __init__(self, free: int, total: int = 1000 * MB) -> None:
        self.free, self.total, self.looks = free, total, 0

    def __call__(self, place: object) -> os.statvfs_result:
        self.looks += 1
        return os.statvfs_result((1, 1, self.total, self.free, self.free, 1, 1, 1, 0, 255))


def test_sizes_are_added_up() -> None:
    """The file that would be too much is refused before it is begun."""
    room = Room("/", state=Disk(100 * MB))
    for _ in range(8):
        room.announce(10 * MB)
    with pytest.raises(ExtractionFailed, match=f"of the {100 * MB} that are free on the disk {20 * MB} stay free"):
        room.announce(10 * MB)


def test_small_files_take_blocks() -> None:
    """A file of one byte takes a block."""
    room = Room("/", state=Disk(20 * MB + 40960))
    for _ in range(10):
        room.announce(1)
    with pytest.raises(ExtractionFailed):
        room.announce(1)


def test_what_others_write_meanwhile_counts() -> None:
    """The disk is looked at again every 64 MB."""
    disk = Disk(500 * MB)
    room = Room("/", state=disk)
    room.announce(63 * MB)
    disk.free = 30 * MB
    with pytest.raises(ExtractionFailed):
        room.announce(20 * MB)
    assert disk.looks == 2


def test_a_file_system_that_does_not_say() -> None:
    """Is written to until it is full."""
    Room("/", state=Disk(0, 0)).announce(10**12)


def test_a_small_archive_of_a_huge_file(parts: Parts, tmp_path: Path) -> None:
    """Two hundred kilobytes that announce more than the disk has are refused at the header, and nothing is left."""
    info, _ = member("huge")
    info.size = 2**50
    archive = info.tobuf() + bytes(1024)
    parts.server.objects["/git/git.example/org/repo/snapshot.tar.zst"] = Stored(framed(archive))
    rules = FittingRules(SnapshotRules(), Room(tmp_path))
    with pytest.raises(ExtractionFailed, match="it needs 1125899906842624 bytes"):
        list(TarScanner(rules=rules).feed(archive))
    url = f"{parts.server.url}/git/git.example/org/repo/snapshot.tar.zst"

    def fresh() -> Path:
        (tmp_path / "tree").mkdir()
        return tmp_path / "tree"

    with pytest.raises(ExtractionFailed, match="stay free"):
        parts.archives.fetch(
            url, unpack=choose_unpacker(None, exact_modes=False), rules=SnapshotRules, fresh_directory=fresh
        )
    assert not (tmp_path / "tree" / "huge").exists()
