"""Large files, which are written past tar."""

import os
import stat
from pathlib import Path

import pytest

from cachew.client.clienterrors import ExtractionFailed
from cachew.client.largefiles import LEAST, LargeFiles, write_all
from cachew.client.snapshotrules import LfsRules, SnapshotRules
from cachew.client.tarheader import EntryKind, TarEntry
from tests.fakes.systemlimits import largest_file

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


@pytest.mark.parametrize("sizes", [[], [0], [1] * 200, [10**6], [300_000, 0, 5, 300_000]])
def test_writes_pieces_of_any_size(tmp_path: Path, sizes: list[int]) -> None:
    """What one call of the system does not take goes with the next."""
    pieces = [os.urandom(size) for size in sizes]
    with open(tmp_path / "file", "wb") as file:
        write_all(file.fileno(), [memoryview(piece) for piece in pieces])
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def test_a_write_that_is_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    """What the system has taken is not written again; what it does not take in the end is an error."""
    pieces = [os.urandom(30_000) for _ in range(9)]
    refused = pytest.raises(OSError, match="File too large")
    with open(tmp_path / "file", "wb") as file, largest_file(100_000), refused:
        write_all(file.fileno(), [memoryview(piece) for piece in pieces])
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)[:100_000]


def test_only_files_that_stand_alone() -> None:
    """In the working tree a name may come again as something else; among objects it may not."""
    assert not SnapshotRules().stands_alone(b"large.bin")
    assert SnapshotRules().stands_alone(PATH)
    assert LfsRules().stands_alone(b"lfs/objects/aa/bb/aabb")
