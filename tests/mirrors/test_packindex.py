"""Pack indexes, searched in files that the tests write byte by byte."""

import struct
from pathlib import Path

import pytest

from cachew.mirrors.packindex import OpenIndexes, PackIndex

MAGIC = b"\xfftOc\x00\x00\x00\x02"
LARGE = 1 << 31


def oid(first: int, last: int = 0, size: int = 20) -> bytes:
    """Return an object id by its first and last byte."""
    return bytes([first, *bytes(size - 2), last])


def index_of(objects: dict[bytes, int], size: int = 20) -> bytes:
    """Return an index of objects by their places in the pack (gitformat-pack(5))."""
    ids = sorted(objects)
    fanout = [sum(one[0] <= first for one in ids) for first in range(256)]
    far = [objects[one] for one in ids if objects[one] >= LARGE]
    near = [objects[one] if objects[one] < LARGE else LARGE | far.index(objects[one]) for one in ids]
    tables = struct.pack(f">{len(ids)}I", *near) + struct.pack(f">{len(far)}Q", *far)
    return MAGIC + struct.pack(">256I", *fanout) + b"".join(ids) + bytes(4 * len(ids)) + tables + bytes(2 * size)


def written(path: Path, content: bytes) -> Path:
    """Write a file."""
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize("size", [20, 32])
def test_objects_and_their_places(tmp_path: Path, size: int, small: int) -> None:
    """Each is found at its place, also beyond two gigabytes and under the lowest and highest ids; no other is."""
    objects = {
        oid(0, 0, size): 12, oid(0, 9, size): 99, oid(7, 1, size): LARGE, oid(7, 2, size): LARGE - 1,
        oid(7, 3, size): 5 * LARGE, oid(255, 255, size): 1234,
    }  # fmt: skip
    index = PackIndex(written(tmp_path / "a.idx", index_of(objects, size)), size, OpenIndexes(small=small))
    assert {one: index.offset(one) for one in objects} == objects
    assert all(one in index for one in objects)
    for absent in (oid(0, 1, size), oid(1, 0, size), oid(7, 0, size), oid(7, 4, size), oid(255, 254, size)):
        assert absent not in index and index.offset(absent) is None
    index.close()


def test_an_empty_index(tmp_path: Path) -> None:
    """It has nothing, and is none the less an index."""
    index = PackIndex(written(tmp_path / "a.idx", index_of({})), 20, OpenIndexes())
    assert oid(0) not in index and oid(255) not in index


@pytest.mark.parametrize("small", [0, 1 << 20])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        MAGIC + bytes(1023),
        bytes(8) + bytes(1100),
        MAGIC + struct.pack(">256I", *[0] * 255, 50) + bytes(100),
        MAGIC[:-1] + b"\x03" + bytes(1100),
    ],
    ids=["empty", "short", "other", "fewer ids than it says", "version 3"],
)
def test_what_is_no_index(tmp_path: Path, content: bytes, small: int) -> None:
    """It is told, and nothing of it stays open."""
    opened = OpenIndexes(small=small)
    with pytest.raises(ValueError, match=r"a\.idx"):
        PackIndex(written(tmp_path / "a.idx", content), 20, opened)
    assert (opened.files, opened.size) == (0, 0)


def test_an_index_that_is_not_there(tmp_path: Path) -> None:
    """It is told when it is opened first; one that goes while it is closed holds nothing any more."""
    opened = OpenIndexes()
    with pytest.raises(FileNotFoundError):
        PackIndex(tmp_path / "a.idx", 20, opened)
    index = PackIndex(written(tmp_path / "b.idx", index_of({oid(1): 5})), 20, opened)
    index.close()
    index.path.write_bytes(b"damaged")
    assert oid(1) not in index and index.offset(oid(1)) is None
    index.path.unlink()
    assert oid(1) not in index and index.offset(oid(1)) is None
    index.path.write_bytes(index_of({oid(1): 6}))
    assert index.offset(oid(1)) == 6


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param((8 + 4 * 1, 0xFFFFFFFF), id="a fanout beyond the end"),
        pytest.param((8 + 4 * 0, 0xFFFFFFFF), id="a fanout that falls"),
        pytest.param((8 + 1024 + 20 + 4, LARGE | 7), id="a large place that is none"),
    ],
)
@pytest.mark.parametrize("small", [0, 1 << 20])
def test_damaged_numbers_lead_nowhere(tmp_path: Path, damage: tuple[int, int], small: int) -> None:
    """What they say of an object is not found, and does no harm."""
    content = bytearray(index_of({oid(1): 5}))
    struct.pack_into(">I", content, *damage)
    index = PackIndex(written(tmp_path / "a.idx", bytes(content)), 20, OpenIndexes(small=small))
    assert index.offset(oid(1)) in (None, 5) and index.offset(oid(1, 1)) is None
    index.close()


def test_the_least_recently_used_files_are_closed(tmp_path: Path) -> None:
    """Only so many stay open; one that was closed is opened again when it is asked."""
    opened = OpenIndexes(most_files=2, small=0)
    first, second, third = (
        PackIndex(written(tmp_path / f"{number}.idx", index_of({oid(number): number})), 20, opened)
        for number in range(3)
    )
    assert list(opened) == [second, third] and opened.files == 2
    assert first.offset(oid(0)) == 0 and list(opened) == [third, first]
    assert third.offset(oid(2)) == 2 and list(opened) == [first, third]
    for index in (first, second, third):
        index.close()
        index.close()
    assert opened.files == 0


def test_small_ones_take_no_more_memory_than_they_may(tmp_path: Path) -> None:
    """The least recently used are forgotten; a single one that is larger than all of that is kept all the same."""
    content = index_of({oid(1): 5})
    opened = OpenIndexes(most_bytes=2 * len(content))
    indexes = [PackIndex(written(tmp_path / f"{number}.idx", content), 20, opened) for number in range(5)]
    assert opened.size == 2 * len(content) and opened.files == 0
    assert all(oid(1) in index for index in indexes)
    tight = OpenIndexes(most_bytes=1)
    only = PackIndex(indexes[0].path, 20, tight)
    assert oid(1) in only and tight.size == len(content)
    only.close()
    assert tight.size == 0
