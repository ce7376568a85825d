"""Kept answers as files, and what is recognised of damage to them."""

import os
from hashlib import sha1
from pathlib import Path

import pytest

from cachew.plumbing.pktline import FLUSH, encode_all
from cachew.smarthttp.packfiles import Damaged, Stamp, open_kept, remove, renamed, scan, seal, verify

KEY = "a" * 64
CONTENT = b"PACK" + b"x" * 1000
PACK = encode_all([b"packfile\n", b"\x01" + CONTENT + sha1(CONTENT).digest(), FLUSH])
WRONG = encode_all([b"packfile\n", b"\x01" + CONTENT + bytes(20), FLUSH])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where an answer has been written."""
    path = tmp_path / f"{KEY}.pack"
    path.write_bytes(PACK)
    return path


def sealed(path: Path) -> Stamp:
    """Seal an answer that is whole."""
    stamp = seal(path, key=KEY, size=len(PACK))
    assert stamp is not None
    return stamp


def test_a_sealed_answer_is_recognised(path: Path) -> None:
    """The answer itself is what it was, and the trailer behind it says whose it is."""
    stamp = sealed(path)
    assert path.read_bytes()[: stamp.size] == PACK and stamp.whole == path.stat().st_size > len(PACK)
    assert verify(path, key=KEY) == stamp


@pytest.mark.parametrize("data", [b"", PACK[:-4], encode_all([b"NAK\n", FLUSH]), encode_all([b"ERR no\n", FLUSH])])
def test_what_is_no_whole_pack_is_not_sealed(path: Path, data: bytes) -> None:
    """And the file stays as it is."""
    path.write_bytes(data)
    assert seal(path, key=KEY, size=len(data)) is None
    assert path.read_bytes() == data


@pytest.mark.parametrize("doubted", [True, False])
def test_a_doubted_pack_is_read_through(path: Path, doubted: bool) -> None:
    """Only then a wrong checksum shows before it is first verified."""
    path.write_bytes(WRONG)
    assert (seal(path, key=KEY, size=len(WRONG), doubted=doubted) is None) == doubted


@pytest.mark.parametrize("size", [len(PACK) - 1, len(PACK) + 1])
def test_a_file_of_another_length_is_damaged(path: Path, size: int) -> None:
    """A disk that has lost the end of what was written, or has more, is noticed."""
    with pytest.raises(Damaged):
        seal(path, key=KEY, size=size)


def test_the_answer_to_another_request_is_none(path: Path) -> None:
    """Whoever renamed it."""
    sealed(path)
    with pytest.raises(Damaged):
        verify(path, key="b" * 64)


@pytest.mark.parametrize("place", [6, 40, len(PACK) - 30, len(PACK) + 5, -3, -10])
def test_a_flipped_bit_is_noticed(path: Path, place: int) -> None:
    """In the answer's packets, its pack, its checksum, and anywhere in the trailer."""
    sealed(path)
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(Damaged):
        verify(path, key=KEY)


@pytest.mark.parametrize("left", [0, 3, 16, len(PACK), -1])
def test_a_file_that_was_cut_is_noticed(path: Path, left: int) -> None:
    """Wherever."""
    sealed(path)
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(Damaged):
        verify(path, key=KEY)


@pytest.mark.parametrize("trailer", [b"[]", b"null", b"{}", b"\xff", b'{"key": 1, "size": 2, "outline": 3}'])
def test_a_trailer_that_is_none(path: Path, trailer: bytes) -> None:
    """Whatever stands in its place."""
    path.write_bytes(PACK + trailer + len(trailer).to_bytes(8, "big") + b"cachewp2")
    with pytest.raises(Damaged):
        verify(path, key=KEY)


def test_a_file_that_is_gone(path: Path) -> None:
    """The system's word for it is told: that is no damage."""
    stamp = sealed(path)
    remove([path, path])
    for look in (lambda: verify(path, key=KEY), lambda: open_kept(path, stamp, now=1.0)):
        with pytest.raises(FileNotFoundError):
            look()


def test_opening_notes_the_use(path: Path) -> None:
    """The time of the content stays, and the file that is given is the answer's."""
    stamp = sealed(path)
    file, after = open_kept(path, stamp, now=1_800_000_000.0)
    with file:
        assert file.read(len(PACK)) == PACK
    assert path.stat().st_atime == 1_800_000_000.0
    assert (after.modified, after.inode, after.whole, after.size) == (
        stamp.modified,
        stamp.inode,
        stamp.whole,
        stamp.size,
    )
    open_kept(path, after, now=1_800_000_001.0)[0].close()


@pytest.mark.parametrize("how", ["written", "replaced", "longer"])
def test_a_file_that_somebody_changed_is_not_opened(path: Path, how: str) -> None:
    """Also when its times are put back."""
    stamp, data, times = sealed(path), path.read_bytes(), path.stat()
    if how == "replaced":
        (path.parent / "other").write_bytes(data)
        os.replace(path.parent / "other", path)
    else:
        path.write_bytes(data[::-1] if how == "written" else data + b"x")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with pytest.raises(Damaged):
        open_kept(path, stamp, now=1.0)


def test_a_rename_changes_nothing_else(path: Path) -> None:
    """The stamp is that of the file in its new place; anything else that changed is damage."""
    stamp = sealed(path)
    target = path.with_name("target.pack")
    path.rename(target)
    now = renamed(target, stamp)
    open_kept(target, now, now=1.0)[0].close()
    target.write_bytes(PACK)
    with pytest.raises(Damaged):
        renamed(target, stamp)


def test_what_was_never_finished_is_removed_at_start(tmp_path: Path) -> None:
    """The rest is listed, least recently used first; a directory that isn't there is made."""
    directory = tmp_path / "deep" / "packs"
    assert scan(directory) == [] and directory.is_dir()
    for number, name in enumerate(["late.pack", "early.pack", "unfinished", "spool.tmp"]):
        (directory / name).write_bytes(b"x" * number)
        os.utime(directory / name, (100 - number, 1))
    assert [(found.key, found.size, found.used) for found in scan(directory)] == [
        ("early", 1, 99.0),
        ("late", 0, 100.0),
    ]
    assert sorted(entry.name for entry in directory.iterdir()) == ["early.pack", "late.pack"]
