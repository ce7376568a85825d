"""Large files, which are written past tar."""

import os
import resource
import stat
from pathlib import Path

import pytest

from cachew.client.clienterrors import ExtractionFailed
from cachew.client.largefiles import LEAST, LargeFiles, write_all
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


@pytest.mark.parametrize("sizes", [[], [0], [1] * 200, [10**6], [300_000, 0, 5, 300_000]])
def test_writes_pieces_of_any_size(tmp_path: Path, sizes: list[int]) -> None:
    """What one call of the system does not take goes with the next."""
    pieces = [os.urandom(size) for size in sizes]
    with open(tmp_path / "file", "wb") as file:
        write_all(file.fileno(), [memoryview(piece) for piece in pieces])
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)


def test_a_write_that_is_cut_short_is_gone_on_with(tmp_path: Path) -> None:
    """What the system has taken is not written again; what it does not take in the end is an error."""
    pieces, limits = [os.urandom(30_000) for _ in range(9)], resource.getrlimit(resource.RLIMIT_FSIZE)
    with open(tmp_path / "file", "wb") as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                write_all(file.fileno(), [memoryview(piece) for piece in pieces])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "file").read_bytes() == b"".join(pieces)[:100_000]


def test_only_files_that_stand_alone() -> None:
    """In the working tree a name may come again as something else; among objects it may not."""
    assert not SnapshotRules().stands_alone(b"large.bin")
    assert SnapshotRules().stands_alone(PATH)
    assert LfsRules().stands_alone(b"lfs/objects/aa/bb/aabb")
