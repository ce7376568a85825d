"""What is said of an entry before its own header."""

import pytest

from cachew.client.clienterrors import ArchiveBroken, ArchiveRefused
from cachew.client.tarextensions import HeaderExtensions
from cachew.client.tarheader import EntryKind, RawHeader, TarEntry


def header(flag: bytes = b"0", name: bytes = b"./short", target: bytes = b"") -> RawHeader:
    """Return an entry's own header."""
    return RawHeader(name, 0o644, 0, 7, flag, target)


def record(key: bytes, value: bytes) -> bytes:
    """Return a pax record."""
    length = len(key) + len(value) + 3
    return b"%d %s=%s\n" % (length + len(b"%d" % (length + len(b"%d" % length))), key, value)


def test_counts_for_one_entry() -> None:
    """What was said is said of the next entry, and of none after it."""
    extensions = HeaderExtensions()
    extensions.add(b"L", b"./long//name\0")
    extensions.add(b"K", b"far\0")
    assert extensions.pending
    assert extensions.entry(header(b"2")) == TarEntry(b"long/name", EntryKind.SYMLINK, 0o644, 0, 7, b"far")
    assert not extensions.pending
    assert extensions.entry(header()) == TarEntry(b"short", EntryKind.FILE, 0o644, 0, 7)


def test_pax_records_count_more_than_the_header() -> None:
    """Of what POSIX has for an entry, its name, its target and its size are heard; nothing else is."""
    extensions = HeaderExtensions()
    extensions.add(b"x", record(b"path", b"p" * 200) + record(b"size", b"12") + record(b"mtime", b"1.5"))
    assert extensions.entry(header()) == TarEntry(b"p" * 200, EntryKind.FILE, 0o644, 12, 7)
    extensions.add(b"g", record(b"comment", b"of git"))
    assert not extensions.pending


@pytest.mark.parametrize("data", [b"5 a=b\n", b"7 a=b\n", b"x", b"6 ab\n\n", b"99999999 path=a\n", b"6 a=bc"])
def test_malformed_records_are_an_error(data: bytes) -> None:
    """A record is as long as it says, has a key, and ends in a newline."""
    with pytest.raises(ArchiveBroken):
        HeaderExtensions().add(b"x", data)


@pytest.mark.parametrize("size", [b"-5", b"", b"1e3", b"9" * 19])
def test_refuses_impossible_sizes(size: bytes) -> None:
    """A size is a number that a file can have."""
    extensions = HeaderExtensions()
    extensions.add(b"x", record(b"size", size))
    with pytest.raises(ArchiveRefused):
        extensions.entry(header())


def test_a_global_header_renames_nothing() -> None:
    """What it says would count for every entry to come."""
    with pytest.raises(ArchiveRefused):
        HeaderExtensions().add(b"g", record(b"linkpath", b"/etc"))
