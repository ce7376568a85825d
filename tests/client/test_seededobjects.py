"""What has come of a seed's objects, and whether anything is missing."""

import os
from hashlib import sha1
from pathlib import Path

import pytest

from cachew.client.clienterrors import ArchiveBroken
from cachew.client.packindexfiles import pack_index
from cachew.client.seededobjects import SeededObjects

ONE, TWO, ABSENT = (sha1(text).digest() for text in (b"one", b"two", b"absent"))
LOOSE = sha1(b"loose").hexdigest()


def content(*oids: bytes) -> tuple[bytes, bytes]:
    """Return a pack, as far as anybody looks into it, and its index."""
    checksum = sha1(b"".join(oids)).digest()
    return b"PACK" + bytes(8) + checksum, pack_index(sorted((oid, 0, 12) for oid in oids), checksum=checksum)


def keep(directory: Path, number: int, *oids: bytes) -> Path:
    """Have a pack come; its path is returned."""
    packs = directory / "objects/pack"
    packs.mkdir(parents=True, exist_ok=True)
    path = packs / f"pack-{f'{number}' * 40}.pack"
    pack, index = content(*oids)
    path.write_bytes(pack)
    path.with_suffix(".idx").write_bytes(index)
    return path


def objects_in(directory: Path) -> SeededObjects:
    """Look at it."""
    return SeededObjects(os.fsencode(directory))


def test_what_is_missing_is_found(tmp_path: Path) -> None:
    """In every pack and among the loose ones."""
    keep(tmp_path, 1, ONE)
    keep(tmp_path, 2, TWO)
    loose = tmp_path / "objects" / LOOSE[:2] / LOOSE[2:]
    loose.parent.mkdir()
    loose.touch()
    found = objects_in(tmp_path)
    here = [ONE.hex().encode(), TWO.hex().encode(), LOOSE.encode()]
    assert found.lacks(here) is None and found.lacks([]) is None
    assert found.lacks([*here, ABSENT.hex().encode()]) == ABSENT.hex().encode()


def test_packs_are_known_by_their_names(tmp_path: Path) -> None:
    """With the size of names that theirs tells; other files are none."""
    path = keep(tmp_path, 1, ONE, TWO)
    (tmp_path / "objects/pack/tmp_pack_x").touch()
    (pack,) = objects_in(tmp_path).packs()
    assert (
        (pack.path, pack.oid_size) == (os.fsencode(path), 20) and ONE in pack.contents and ABSENT not in pack.contents
    )


def test_a_pack_has_the_index_that_was_made_of_it(tmp_path: Path) -> None:
    """Another one's, a short one, or none is damage."""
    first, second = keep(tmp_path, 1, ONE), keep(tmp_path, 2, TWO)
    objects_in(tmp_path).check()
    index = first.with_suffix(".idx")
    index.write_bytes(second.with_suffix(".idx").read_bytes())
    with pytest.raises(ArchiveBroken, match="index of another"):
        objects_in(tmp_path).check()
    index.write_bytes(b"short")
    with pytest.raises(ArchiveBroken):
        objects_in(tmp_path).check()
    index.unlink()
    with pytest.raises(ArchiveBroken, match="no index"):
        objects_in(tmp_path).check()


def test_an_index_that_is_none_is_damage(tmp_path: Path) -> None:
    """Whoever looks for objects is told so."""
    keep(tmp_path, 1, ONE).with_suffix(".idx").write_bytes(b"x" * 2000)
    with pytest.raises(ArchiveBroken):
        objects_in(tmp_path).lacks([ONE.hex().encode()])


def test_nothing_has_come(tmp_path: Path) -> None:
    """Then everything that is wanted is missing."""
    found = objects_in(tmp_path)
    assert (found.names(), found.packs()) == ([], []) and found.lacks([LOOSE.encode()]) == LOOSE.encode()
    found.check()
