"""Large files, which are written past tar."""

import os
import stat
from pathlib import Path

import pytest

from cachew.client.clienterrors import ExtractionFailed
from cachew.client.largefiles import LEAST, LargeFiles
from cachew.client.snapshotrules import LfsRules, SnapshotRules
from cachew.client.tarheader import EntryKind, TarEntry
from cachew.client.tarscan import TarScanner
from tests.fakes.archives import member, tar, trailed

PATH = b".git/objects/pack/pack-1.pack"


def entry(path: bytes = PATH, size: int = LEAST, mode: int = 0o444) -> TarEntry:
    """Return the entry of a file."""
    return TarEntry(path, EntryKind.FILE, mode, size, 1_600_000_000)


def test_writes_a_file(tmp_path: Path) -> None:
    """Directories are made on the way; mode and time are the archive's, cut by the umask."""
    files = LargeFiles(tmp_path)
    assert files.begin(entry(mode=0o666))
    for piece in (b"a" * 700_000, b"b" * 700_000):
        files.write(memoryview(piece))
    files.end()
    file = tmp_path / os.fsdecode(PATH)
    assert file.read_bytes() == b"a" * 700_000 + b"b" * 700_000
    assert file.stat().st_mtime == 1_600_000_000
    assert stat.S_IMODE(file.stat().st_mode) & 0o022 == 0


def test_leaves_small_files_alone(tmp_path: Path) -> None:
    """Small ones are tar's."""
    assert not LargeFiles(tmp_path).begin(entry(size=LEAST - 1))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", [".git", ".git/objects", ".git/objects/pack", os.fsdecode(PATH)])
def test_goes_through_no_link(tmp_path: Path, where: str) -> None:
    """A link that stands in the way is not followed, wherever it stands."""
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "tree" / where
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ExtractionFailed, match="cannot write"):
        LargeFiles(tmp_path / "tree").begin(entry())
    assert not list((tmp_path / "elsewhere").iterdir())


def test_leaves_no_descriptor_open(tmp_path: Path) -> None:
    """Whatever becomes of a file, nothing stays open."""
    before = os.listdir("/dev/fd")
    files = LargeFiles(tmp_path)
    files.begin(entry())
    files.close()
    files.close()
    with pytest.raises(ExtractionFailed):
        files.begin(entry())
    assert len(os.listdir("/dev/fd")) == len(before)


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


def test_only_files_that_stand_alone() -> None:
    """In the working tree a name may come again as something else; among objects it may not."""
    assert not SnapshotRules().stands_alone(b"large.bin")
    assert SnapshotRules().stands_alone(PATH)
    assert LfsRules().stands_alone(b"lfs/objects/aa/bb/aabb")
