"""A pack of blobs as they are, and that git takes it and looks into it first."""

import hashlib
import os
import zlib
from pathlib import Path

import pytest

from cachew.client.packcontents import PackContents
from cachew.client.wholeblobs import WholeBlobs, stored
from tests.fakes.archives import git

SIZES = (0, 1, 15, 16, 2047, 2048, 65535, 65536, 200_000)


def blob_name(content: bytes, object_format: str) -> bytes:
    """Return what git calls a blob."""
    return hashlib.new(object_format, b"blob %d\0" % len(content) + content).digest()


def written(blobs: WholeBlobs, contents: list[bytes]) -> None:
    """Write files as they come, in pieces."""
    for content in contents:
        for start in range(0, len(content), 50_000):
            blobs.write(memoryview(content)[start : start + 50_000])
        blobs.end()


@pytest.mark.parametrize("missing", [[], [b"\0" * 20]])
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_git_takes_it(tmp_path: Path, object_format: str, missing: list[bytes]) -> None:
    """Blobs of all sizes are there under their names, in a sound pack with sound indexes, though one never comes."""
    git(tmp_path, "init", "-q", f"--object-format={object_format}")
    contents = [os.urandom(size) for size in SIZES]
    names = [blob_name(content, object_format) for content in contents]
    directory = tmp_path / ".git/objects/pack"
    blobs = WholeBlobs(os.fsencode(directory), wanted=names + missing, oid_size=len(names[0]))
    written(blobs, [*contents, b"nobody has asked for this", contents[3]])
    assert blobs.complete == (not missing)
    blobs.finish()
    git(tmp_path, "fsck", "--strict")
    git(tmp_path, "multi-pack-index", "verify")
    listed = git(tmp_path, "cat-file", "--batch-all-objects", "--batch-check").split("\n")
    expected = zip(names, contents, strict=True)
    assert sorted(listed) == sorted(f"{name.hex()} blob {len(content)}" for name, content in expected)
    assert sorted(path.suffix for path in directory.iterdir()) == ["", ".idx", ".pack"]


def test_git_looks_there_first(tmp_path: Path) -> None:
    """Objects that are in another pack, too, are read from this one; the others from theirs."""
    git(tmp_path, "init", "-q")
    (tmp_path / "file").write_bytes(b"content\n" * 100)
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-q", "-m", "x")
    git(tmp_path, "repack", "-a", "-d", "-q")
    (other,) = (tmp_path / ".git/objects/pack").glob("*.pack")
    content = (tmp_path / "file").read_bytes()
    name = blob_name(content, "sha1")
    blobs = WholeBlobs(os.fsencode(other.parent), wanted=[name], oid_size=20)
    written(blobs, [content])
    blobs.finish()
    index = PackContents(other.with_suffix(".idx").read_bytes(), size=20)
    with other.open("r+b") as pack:
        other.chmod(0o644)
        pack.seek(index.offset(name) or 0)
        pack.write(bytes(30))
    assert git(tmp_path, "cat-file", "-p", name.hex()) == content.decode().rstrip("\n")
    assert git(tmp_path, "log", "--format=%s") == "x"


def test_nothing_is_written_any_more_when_it_is_given_up(tmp_path: Path) -> None:
    """Whatever is opened next may get the number of the file, and be written to by who has not heard of it."""
    content = bytes(16 * 1024 * 1024)
    blobs = WholeBlobs(os.fsencode(tmp_path), wanted=[blob_name(content, "sha1")], oid_size=20)
    with open(tmp_path / "tmp_pack_blobs", "rb") as file:
        written(blobs, [content, content[: 1024 * 1024]])  # the first is written while the second is digested
        blobs.discard()
        assert os.fstat(file.fileno()).st_size > len(content)


def test_nobody_may_read_more_than_the_umask_lets_him(tmp_path: Path) -> None:
    """The files are for reading only, as git's, and for those alone who may read what the user writes."""
    before = os.umask(0o077)
    try:
        blobs = WholeBlobs(os.fsencode(tmp_path), wanted=[blob_name(b"x", "sha1")], oid_size=20)
        written(blobs, [b"x"])
        blobs.finish()
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o400}


@pytest.mark.parametrize("wanted", [True, False])
def test_nothing_is_left_of_nothing(tmp_path: Path, wanted: bool) -> None:
    """Without a blob, or when it is given up, there is no pack."""
    blobs = WholeBlobs(os.fsencode(tmp_path), wanted=[blob_name(b"x", "sha1")], oid_size=20)
    if wanted:
        written(blobs, [b"x"])
        blobs.discard()
    else:
        written(blobs, [b"y"])
        assert not blobs.complete
        blobs.finish()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("size", SIZES)
def test_what_is_stored_is_zlib(size: int) -> None:
    """Any zlib reads it."""
    content = os.urandom(size)
    assert zlib.decompress(b"".join(stored(content))) == content
