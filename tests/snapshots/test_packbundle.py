"""A mirror's only pack, and a bundle over it."""

import os
from dataclasses import replace
from hashlib import sha1
from pathlib import Path

import pytest

from cachew.cache.interface import ObjectInfo
from cachew.plumbing.streams import read_all
from cachew.snapshots.packbundle import PACK_HEADER, PackBundle, only_pack
from tests.fakes.settled import result_of

CONTENT = b"PACK" + bytes(100)
PACK = CONTENT + sha1(CONTENT).digest()
NAME = sha1(CONTENT).hexdigest()
HEADER = b"# v2 git bundle\n\n"
INFO = ObjectInfo(
    namespace="git",
    key="key",
    size=len(HEADER),
    etag="header's",
    headers={"Content-Type": "application/x-git-bundle", PACK_HEADER: NAME},
    modified=1.0,
    expires=None,
    digest="header's",
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository of one pack."""
    packs = tmp_path / "objects" / "pack"
    packs.mkdir(parents=True)
    (tmp_path / "objects" / "info").mkdir()
    (packs / f"pack-{NAME}.pack").write_bytes(PACK)
    (packs / f"pack-{NAME}.idx").touch()
    return tmp_path


def test_a_pack_that_is_all_there_is(repository: Path) -> None:
    """It is called by its checksum; directories of loose objects that are empty don't matter."""
    (repository / "objects" / "0a").mkdir()
    assert only_pack(repository) == NAME


@pytest.mark.parametrize(
    "file",
    [
        "shallow",
        "objects/info/alternates",
        "objects/pack/pack-0123.pack",
        f"objects/pack/pack-{NAME}.promisor",
        "objects/0a/bcdef",
    ],
)
def test_a_pack_that_is_not_all_there_is(repository: Path, file: str) -> None:
    """A cut history, others' objects, another pack, objects that are promised, or loose ones."""
    (repository / file).parent.mkdir(exist_ok=True)
    (repository / file).touch()
    assert only_pack(repository) is None


@pytest.mark.parametrize("data", [b"", PACK[:-1], PACK + b"x"])
def test_a_pack_that_doesn_t_end_with_its_checksum(repository: Path, data: bytes) -> None:
    """It is cut, or something was written behind it."""
    (repository / "objects" / "pack" / f"pack-{NAME}.pack").write_bytes(data)
    if data:
        assert only_pack(repository) is None
    else:
        with pytest.raises(OSError):
            only_pack(repository)


def test_a_repository_without_packs(repository: Path) -> None:
    """And one that isn't there."""
    (repository / "objects" / "pack" / f"pack-{NAME}.pack").unlink()
    assert only_pack(repository) is None
    with pytest.raises(FileNotFoundError):
        only_pack(repository / "gone")


def bundle(repository: Path, info: ObjectInfo = INFO) -> PackBundle:
    """Return a bundle over the pack."""
    file = (repository / "objects" / "pack" / f"pack-{NAME}.pack").open("rb", buffering=0)
    return PackBundle(info=info, header=HEADER, file=file)


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, None), (0, 5), (5, 20), (len(HEADER), None), (len(HEADER) + 3, 10), (10, 10_000), (len(HEADER + PACK), None)],
)
def test_a_part_of_it(repository: Path, offset: int, length: int | None) -> None:
    """Of the header, of the pack, or over both; it goes on when the bundle is closed and the pack is gone."""
    one = bundle(repository)
    source = one.source(offset, length)
    one.close()
    os.unlink(repository / "objects" / "pack" / f"pack-{NAME}.pack")
    end = None if length is None else offset + length
    assert result_of(read_all(source, 10_000)) == (HEADER + PACK)[offset:end]
    source.close()


def test_what_is_said_of_it_is_said_of_the_whole(repository: Path) -> None:
    """Its size, and a tag of its own: neither the header's nor that of a bundle over another pack."""
    one = bundle(repository)
    other = bundle(repository, replace(INFO, headers={PACK_HEADER: "f" * 40}))
    assert one.info.size == len(HEADER + PACK) and one.info.modified == 1.0
    assert one.info.headers == {"Content-Type": "application/x-git-bundle"}
    assert len({one.info.etag, other.info.etag, INFO.etag}) == 3 and one.info.digest == ""
    one.close()
    other.close()
