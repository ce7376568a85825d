"""The scanner of tar streams: what it lets through is a tar of its own making."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cachew.client import tarheader
from cachew.client.archiverules import DirectoryRules
from cachew.client.clienterrors import ArchiveBroken, ArchiveRefused
from cachew.client.entrynames import normal_path
from cachew.client.tarheader import EntryKind, TarEntry
from cachew.client.tarscan import TarScanner
from tests.fakes.archives import member, tar
from tests.fakes.hostile import HOSTILE

FORMS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def scan(archive: bytes, step: int = 10**9) -> bytes:
    """Return what comes out."""
    scanner = TarScanner(rules=DirectoryRules())
    pieces = [bytes(p) for start in range(0, len(archive), step) for p in scanner.feed(archive[start : start + step])]
    return b"".join([*pieces, scanner.finish()])


def names(archive: bytes) -> list[tuple[str, bytes | str]]:
    """Return the names and contents (or targets) in an archive."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return [(m.name, opened.extractfile(m).read() if m.isfile() else m.linkname) for m in opened]  # type: ignore[union-attr]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", [1, 511, 10**9])
def test_lets_ordinary_entries_through(form: int, step: int) -> None:
    """Files, directories and links come out as they went in, whatever the form of the archive."""
    members = [
        member("./", type=tarfile.DIRTYPE, mode=0o755),
        member("./dir/", type=tarfile.DIRTYPE, mode=0o755),
        member("./dir/file", b"content" * 100),
        member("./dir/empty"),
        member("./link", type=tarfile.SYMTYPE, linkname="/absolute/../target"),
        member("./hard", type=tarfile.LNKTYPE, linkname="./dir/file"),
    ]
    found = names(scan(tar(members, form=form), step))
    assert found == [
        ("./dir", ""),
        ("./dir/file", b"content" * 100),
        ("./dir/empty", b""),
        ("./link", "/absolute/../target"),
        ("./hard", "./dir/file"),
    ]


@pytest.mark.parametrize("form", FORMS[1:])
def test_keeps_long_names(form: int) -> None:
    """Names and targets of any length survive."""
    name, target = "d/" + "é" * 120, "t" * 300
    members = [member(name, b"x"), member("link", type=tarfile.SYMTYPE, linkname=target)]
    assert names(scan(tar(members, form=form))) == [(f"./{name}", b"x"), ("./link", target)]


def test_takes_set_id_bits_off() -> None:
    """No entry has a set-id or sticky bit, and owners are left out."""
    out = scan(tar([member("f", b"x", mode=0o7755, uid=1000, gid=5, uname="root")]))
    with tarfile.open(fileobj=io.BytesIO(out)) as opened:
        (info,) = opened
    assert (info.mode, info.uid, info.gid, info.uname) == (0o755, 0, 0, "")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text("abcé/.-_ ", min_size=1, max_size=150), st.binary(max_size=1500)), max_size=5).filter(
        lambda found: all(not n.startswith("/") and ".." not in n.split("/") for n, _ in found)
    ),
    st.sampled_from(FORMS[1:]),
    st.integers(1, 2000),
)
def test_any_files(found: list[tuple[str, bytes]], form: int, step: int) -> None:
    """Any files with any names come out with their content."""
    kept = [(n, c) for n, c in found if normal_path(n.encode()) and not n.endswith(("/", "."))]
    expected = [("./" + normal_path(n.encode()).decode(), c) for n, c in kept]
    assert names(scan(tar([member(n, c) for n, c in kept], form=form), step)) == expected


@pytest.mark.parametrize("what", HOSTILE)
def test_refuses(what: str) -> None:
    """Whatever writes elsewhere, or is neither file nor link nor directory, refuses the archive."""
    form = tarfile.PAX_FORMAT if "pax" in what else tarfile.GNU_FORMAT
    with pytest.raises(ArchiveRefused):
        scan(tar(HOSTILE[what], form=form))


def test_refuses_global_renames() -> None:
    """A global pax header cannot rename entries."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"path": "/etc/x"}) as archive:
        archive.addfile(member("a")[0])
    with pytest.raises(ArchiveRefused):
        scan(file.getvalue())


def test_refuses_links_with_content() -> None:
    """A link cannot hide entries in what one reader takes for content and another does not."""
    header = bytearray(tarheader.build(TarEntry(b"l", EntryKind.SYMLINK, 0o777, 512, 0, b"t")))
    with pytest.raises(ArchiveRefused):
        scan(bytes(header) + bytes(1536))


def test_refuses_what_follows_the_end() -> None:
    """Nothing but zeros may follow the end."""
    archive = tar([member("a", b"x")])
    with pytest.raises(ArchiveRefused):
        scan(archive + archive)


def test_refuses_zeros_without_end() -> None:
    """Those that fill a record may follow the end, but not all that a small bomb unfolds to."""
    scanner = TarScanner(rules=DirectoryRules())
    list(scanner.feed(tar([member("a", b"x")]), bytes(1024 * 1024)))
    with pytest.raises(ArchiveRefused):
        list(scanner.feed(*[bytes(1024 * 1024)] * 16))


@pytest.mark.parametrize("keep", [0, 100, 512, 700, 1024])
def test_notices_a_cut_archive(keep: int) -> None:
    """An archive that does not come to its end is broken."""
    with pytest.raises(ArchiveBroken):
        scan(tar([member("a", b"x" * 600)])[:keep])


@pytest.mark.parametrize("position", [0, 100, 124, 150, 156])
def test_notices_damaged_headers(position: int) -> None:
    """A header with a wrong checksum is refused."""
    archive = bytearray(tar([member("a", b"x")]))
    archive[position] ^= 0x55
    with pytest.raises((ArchiveBroken, ArchiveRefused)):
        scan(bytes(archive))


def test_folds_case_where_the_file_system_does() -> None:
    """On a file system that folds case a link is also a link under another case."""
    members = [member("Link", type=tarfile.SYMTYPE, linkname="/tmp"), member("lINK/x", b"x")]
    scanner = TarScanner(rules=DirectoryRules(folds_case=True))
    with pytest.raises(ArchiveRefused):
        list(scanner.feed(tar(members)))
    scan(tar(members))


def test_writes_great_sizes() -> None:
    """Files of more than 8 GiB have a header that tar understands."""
    entry = TarEntry(b"big", EntryKind.FILE, 0o644, 2**40, 1_700_000_000)
    assert tarheader.parse(tarheader.build(entry)).size == 2**40
    assert tarfile.TarInfo.frombuf(tarheader.build(entry), "utf-8", "strict").size == 2**40
