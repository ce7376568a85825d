"""Which files of a repository end in a checksum, and whether it holds."""

import hashlib
import os
from pathlib import Path

import pytest

from cachew.mirrors.checksums import FileCheck, fits, holds, is_derived, summed_files

MIB = 1024 * 1024


def summed(content: bytes, object_format: str = "sha1") -> bytes:
    """Return content with its checksum behind it."""
    return content + hashlib.new(object_format, content).digest()


def put(directory: Path, *names: str) -> None:
    """Put empty files into a repository."""
    for name in names:
        path = directory / "objects" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_which_files_have_one(tmp_path: Path) -> None:
    """Packs with all that belongs to them, and the graphs; nothing that is still written, nor a pack without index."""
    there = [f"pack/pack-1.{end}" for end in ("pack", "idx", "rev", "bitmap", "mtimes")]
    there += ["pack/multi-pack-index", "pack/multi-pack-index-abc.bitmap", "info/commit-graph"]
    there += ["info/commit-graphs/graph-1.graph"]
    others = ["pack/pack-2.pack", "pack/pack-1.keep", "pack/tmp_pack_1", "pack/.tmp-3-pack-4.pack", "pack/other.idx"]
    others += ["info/commit-graphs/commit-graph-chain", "info/packs", "aa/bbbb", "pack/pack-1.promisor"]
    put(tmp_path, *there, *others)
    assert summed_files(tmp_path) == sorted(f"objects/{name}" for name in there)
    assert [name for name in there if not is_derived(name)] == ["pack/pack-1.pack", "pack/pack-1.idx"]


def test_where_there_is_nothing_none_has(tmp_path: Path) -> None:
    """Nor where a file lies in a directory's place."""
    assert summed_files(tmp_path) == []
    put(tmp_path, "pack", "info")
    assert summed_files(tmp_path) == []


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("size", [0, 1, 31, MIB - 20, MIB, MIB + 1])
def test_a_sound_file_holds_and_one_that_was_touched_does_not(tmp_path: Path, object_format: str, size: int) -> None:
    """Wherever, and however little it is."""
    path, content = tmp_path / "file", summed(os.urandom(size), object_format)
    path.write_bytes(content)
    assert holds(path, object_format)
    for damaged in (content[:-1], content + b"\0", content[1:], bytes([content[0] ^ 1]) + content[1:], b""):
        path.write_bytes(damaged)
        assert not holds(path, object_format)


def test_a_file_is_read_in_steps(tmp_path: Path) -> None:
    """Of the size that is asked for; nothing is left behind the last."""
    path = tmp_path / "file"
    path.write_bytes(summed(bytes(2 * MIB)))
    check = FileCheck(path, "sha1")
    assert [check.step(MIB + 5) for _ in range(4)] == [MIB + 5, MIB + 5, 10, 0]
    assert check.holds()
    check.close()


def test_an_index_is_of_its_pack(tmp_path: Path) -> None:
    """It ends in the pack's checksum and its own."""
    pack = tmp_path / "pack-1.pack"
    pack.write_bytes(summed(b"PACK"))
    pack.with_suffix(".idx").write_bytes(summed(b"index" + hashlib.sha1(b"PACK").digest()))
    assert fits(pack, "sha1")
    pack.write_bytes(summed(b"KCAP"))
    assert not fits(pack, "sha1")
    pack.write_bytes(b"short")
    with pytest.raises(OSError, match="Invalid argument"):
        fits(pack, "sha1")


def test_a_file_that_is_gone_says_nothing(tmp_path: Path) -> None:
    """Whoever looks is told."""
    with pytest.raises(FileNotFoundError):
        holds(tmp_path / "none", "sha1")
