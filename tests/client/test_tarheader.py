"""Headers of tar: what is written can be read by everybody, and what is damaged is noticed."""

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.client.clienterrors import ArchiveBroken
from cachew.client.tarheader import BLOCK, EntryKind, TarEntry, build, padding, parse

FILE = TarEntry(b"a/b", EntryKind.FILE, 0o755, 5, 1_700_000_000)


def read_by_python(*blocks: bytes) -> list[tarfile.TarInfo]:
    """Read headers as another program does."""
    file = io.BytesIO(b"".join(blocks) + bytes(2 * BLOCK))
    with tarfile.open(fileobj=file, mode="r:", encoding="utf-8") as archive:
        return archive.getmembers()


@pytest.mark.parametrize(
    ("entry", "name", "target"),
    [
        (FILE._replace(size=0), "./a/b", ""),
        (TarEntry(b"d", EntryKind.DIRECTORY, 0o700, 0, 1), "./d", ""),
        (TarEntry(b"l", EntryKind.SYMLINK, 0o777, 0, 1, b"../x"), "./l", "../x"),
        (TarEntry(b"h", EntryKind.HARDLINK, 0o644, 0, 1, b"a/b"), "./h", "./a/b"),
        (TarEntry(b"n" * 300, EntryKind.SYMLINK, 0o777, 0, 1, b"t" * 101), "./" + "n" * 300, "t" * 101),
        (TarEntry(b"n" * 98, EntryKind.SYMLINK, 0o777, 0, 1, b"t" * 100), "./" + "n" * 98, "t" * 100),
        (TarEntry(b"n" * 99, EntryKind.FILE, 0o644, 0, 1), "./" + "n" * 99, ""),
    ],
)
def test_others_read_what_is_written(entry: TarEntry, name: str, target: str) -> None:
    """Names and targets however long, kinds and permissions arrive as they were meant."""
    (found,) = read_by_python(build(entry))
    assert (found.name, found.linkname) == (name, target)
    assert (found.mode, found.mtime, found.type) == (entry.mode, entry.mtime, entry.kind.value)


@given(st.integers(0, 2**63), st.integers(0, 8**11 - 1), st.integers(0, 0o777))
def test_numbers_come_back(size: int, mtime: int, mode: int) -> None:
    """Sizes beyond eight gigabytes too."""
    found = parse(build(FILE._replace(size=size, mtime=mtime, mode=mode)))
    assert (found.size, found.mtime, found.mode, found.name, found.flag) == (size, mtime, mode, b"./a/b", b"0")


@pytest.mark.parametrize(("mtime", "written"), [(-5, 0), (8**11, 8**11 - 1), (8**12, 8**11 - 1)])
def test_times_that_do_not_fit_are_the_nearest_that_do(mtime: int, written: int) -> None:
    """A date before 1970 or beyond the year 2242 breaks no archive."""
    assert parse(build(FILE._replace(mtime=mtime))).mtime == written


def test_every_damaged_byte_is_noticed() -> None:
    """The checksum covers the whole block."""
    block = build(FILE)
    for position in range(BLOCK):
        damaged = bytearray(block)
        damaged[position] ^= 0x55
        with pytest.raises(ArchiveBroken):
            parse(bytes(damaged))


def with_field(start: int, content: bytes) -> bytes:
    """Return a header with other bytes in it, and their checksum."""
    block = bytearray(build(FILE))
    block[start : start + len(content)] = content
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"          7\0", 7),
        (b"\0" * 12, 0),
        (b" " * 12, 0),
        (b"0000000017 \0", 15),
        (b"\x80" + bytes(10) + b"\x07", 7),
        (b"\xff" * 12, -1),
    ],
)
def test_numbers_as_other_programs_write_them(content: bytes, size: int) -> None:
    """With blanks, empty, or in base 256, where they may be less than nothing."""
    assert parse(with_field(124, content)).size == size


@pytest.mark.parametrize("content", [b"0000000008\0\0", b"0x000000001\0", b"-0000000001\0", b"1 1\0\0\0\0\0\0\0\0\0"])
def test_what_is_no_number_is_damage(content: bytes) -> None:
    """Nobody guesses where an entry ends."""
    with pytest.raises(ArchiveBroken, match="no number"):
        parse(with_field(124, content))


def test_a_prefix_counts_in_posix_headers_only() -> None:
    """GNU's header has other things at that place."""
    assert parse(with_field(345, b"far/away")).name == b"./a/b"
    posix = bytearray(with_field(257, b"ustar\x0000"))
    posix[345:353] = b"far/away"
    posix[148:156] = b" " * 8
    posix[148:156] = b"%06o\0 " % sum(posix)
    assert parse(bytes(posix)).name == b"far/away/./a/b"


def test_content_is_filled_up_to_a_block() -> None:
    """And no further."""
    assert [padding(size) for size in (0, 1, 511, 512, 513)] == [0, 511, 1, 0, 511]
