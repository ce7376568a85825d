"""Files that are checked or written aside while the scanner goes through their archive."""

import hashlib
import os
from contextlib import closing
from pathlib import Path

import pytest

from cachew.client.clienterrors import FileDamaged
from cachew.client.largefiles import LEAST, LargeFiles
from cachew.client.snapshotrules import SnapshotRules
from cachew.client.tarheader import TarEntry
from cachew.client.tarscan import TarScanner
from cachew.client.workers import Workers
from tests.fakes.archives import member, tar, trailed

PATH = b".git/objects/pack/pack-1.pack"


@pytest.mark.parametrize("size", [LEAST, LEAST + 1, LEAST + 511])
@pytest.mark.parametrize("step", [511, 100_000, 10**9])
def test_the_scanner_hands_it_the_content_alone(tmp_path: Path, size: int, step: int) -> None:
    """Neither headers nor padding get into a file, and the stream goes on without it."""
    content, files = trailed(os.urandom(size)), LargeFiles(tmp_path)
    archive = tar([member("./a", b"a"), member("./" + os.fsdecode(PATH), content), member("./b", b"b" * 600)])
    scanner = TarScanner(rules=SnapshotRules(), aside=files)
    pieces = [bytes(p) for start in range(0, len(archive), step) for p in scanner.feed(archive[start : start + step])]
    rest = tar([member("./a", b"a", mode=0o644), member("./b", b"b" * 600, mode=0o644)])
    assert b"".join([*pieces, scanner.finish()]).rstrip(b"\0") == rest.rstrip(b"\0")
    assert (tmp_path / os.fsdecode(PATH)).read_bytes() == content


class Calls:
    """Takes every file and notes what is asked of it.

    :ivar written: what each call has brought, in pieces.
    """

    def __init__(self) -> None:
        self.written: list[list[bytes]] = []

    def begin(self, entry: TarEntry) -> bool:
        """Take it."""
        return True

    def write(self, *content: memoryview) -> None:
        """Note it."""
        self.written.append([bytes(piece) for piece in content])

    def end(self) -> None:
        """Note nothing."""


def test_what_comes_at_once_is_written_at_once() -> None:
    """However many pieces a frame has, a file that goes through it is handed on once for each frame."""
    content, calls = trailed(os.urandom(300_000)), Calls()
    archive = tar([member("./" + os.fsdecode(PATH), content)])
    scanner = TarScanner(rules=SnapshotRules(), aside=calls)
    for frame in (archive[:200_000], archive[200_000:]):
        assert not list(scanner.feed(*(frame[start : start + 10_000] for start in range(0, len(frame), 10_000))))
    assert [len(pieces) for pieces in calls.written] == [20, 11]
    assert b"".join(piece for pieces in calls.written for piece in pieces) == content


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("size", [1000, 1_500_000])
@pytest.mark.parametrize("step", [1000, 10**9])
def test_a_damaged_pack_ends_the_extraction(tmp_path: Path, size: int, step: int, threaded: bool) -> None:
    """Be it written past tar or through it, a pack with a flipped byte is refused, and a sound one is not."""
    content = os.urandom(size)
    name = "./.git/objects/pack/pack-1.pack"
    for damaged in (False, True):
        flipped = bytearray(content + hashlib.sha1(content).digest())
        flipped[size // 2] ^= damaged
        archive = tar([member(name, bytes(flipped)), member("./b", b"b")])
        with closing(Workers(1, "checksum")) as workers, closing(LargeFiles(tmp_path / str(damaged))) as large:
            (tmp_path / str(damaged)).mkdir()
            scanner = TarScanner(rules=SnapshotRules(), aside=large, workers=workers if threaded else None)
            pieces = (archive[start : start + step] for start in range(0, len(archive), step))
            if damaged:
                with pytest.raises(FileDamaged, match=r"pack-1\.pack"):
                    [bytes(some) for piece in pieces for some in scanner.feed(piece)]
            else:
                [bytes(some) for piece in pieces for some in scanner.feed(piece)]
                scanner.finish()
