"""Extraction by the system's tar and by Python's."""

import os
import shutil
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from cachew.client.archiverules import DirectoryRules
from cachew.client.clienterrors import ArchiveBroken, ArchiveRefused, ExtractionFailed, tar_failed
from cachew.client.extract import SystemTar, Unpack, choose_unpacker, extract
from cachew.client.tarscan import TarScanner
from tests.fakes.archives import member, tar
from tests.fakes.hostile import HOSTILE

WAYS = ["system", "python"]


def unpack(way: str, *, exact_modes: bool = True) -> Unpack:
    """Return a way to extract."""
    return choose_unpacker(shutil.which("tar") if way == "system" else None, exact_modes=exact_modes)


def run(archive: bytes, directory: Path, way: str) -> None:
    """Extract into a new directory."""
    directory.mkdir()
    pieces = [[archive[start : start + 10_000]] for start in range(0, len(archive), 10_000)]
    extract(pieces, scanner=TarScanner(rules=DirectoryRules()), unpacker=unpack(way)(directory))


@pytest.mark.parametrize("way", WAYS)
def test_writes_files(tmp_path: Path, way: str) -> None:
    """Files, links, modes and times come out."""
    members = [
        member("dir/", type=tarfile.DIRTYPE, mode=0o555),
        member("dir/run", b"x" * 100_000, mode=0o6751, mtime=1_600_000_000),
        member("dir/link", type=tarfile.SYMTYPE, linkname="/etc/../../nowhere"),
        member("hard", type=tarfile.LNKTYPE, linkname="dir/run"),
        member("n" * 200, b"long"),
    ]
    run(tar(members), tmp_path / "out", way)
    file = tmp_path / "out/dir/run"
    assert file.read_bytes() == b"x" * 100_000
    assert stat.S_IMODE(file.stat().st_mode) == 0o751
    assert file.stat().st_mtime == 1_600_000_000
    assert file.stat().st_uid == os.getuid()
    assert os.readlink(tmp_path / "out/dir/link") == "/etc/../../nowhere"
    assert (tmp_path / "out/hard").samefile(file)
    assert (tmp_path / "out" / ("n" * 200)).read_bytes() == b"long"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_archives_write_nothing_outside(tmp_path: Path, way: str, what: str) -> None:
    """A refused archive has written nothing outside its directory, and no process is left."""
    form = tarfile.PAX_FORMAT if "pax" in what else tarfile.GNU_FORMAT
    (tmp_path / "a").mkdir()
    with pytest.raises(ArchiveRefused):
        run(tar(HOSTILE[what], form=form), tmp_path / "a/b", way)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


@pytest.mark.parametrize("way", WAYS)
def test_reports_what_cannot_be_written(tmp_path: Path, way: str) -> None:
    """A file that cannot be written is an error that says which."""
    members = [member("a", b"x"), member("a/b", b"x" * 3_000_000), *[member(f"f{n}", b"y" * 5000) for n in range(900)]]
    with pytest.raises(ExtractionFailed):
        run(tar(members), tmp_path / "out", way)


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_archive_is_an_error(tmp_path: Path, way: str) -> None:
    """An archive without its end is not taken for a whole one."""
    with pytest.raises(ArchiveBroken):
        run(tar([member("a", b"x" * 100_000)])[:50_000], tmp_path / "out", way)


def test_cuts_modes_by_the_umask(tmp_path: Path) -> None:
    """Without exact modes nothing is open to the world."""
    for way in WAYS:
        directory = tmp_path / way
        directory.mkdir()
        archive = tar([member("a", b"x", mode=0o777)])
        extract(
            [[archive]], scanner=TarScanner(rules=DirectoryRules()), unpacker=unpack(way, exact_modes=False)(directory)
        )
        assert stat.S_IMODE((directory / "a").stat().st_mode) & 0o022 == 0


def stand_in(path: Path, script: str) -> str:
    """Make a program that says it is tar and runs a shell script."""
    path.write_text(f'#!/bin/sh\ncase "$1" in --version) echo "GNU tar"; exit;; esac\n{script}\n')
    path.chmod(0o755)
    return str(path)


def failure_of(tar_program: str, archive: Iterable[bytes], directory: Path) -> ExtractionFailed:
    """Extract with a tar that fails and return how that is told."""
    directory.mkdir()
    scanner = TarScanner(rules=DirectoryRules())
    with pytest.raises(ExtractionFailed) as failed:
        extract(
            ([piece] for piece in archive),
            scanner=scanner,
            unpacker=choose_unpacker(tar_program, exact_modes=False)(directory),
        )
    return failed.value


@pytest.mark.parametrize("reason", ["No space left on device", "Disk quota exceeded"])
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, reason: str) -> None:
    """However many files don't fit, one line says that the disk is full, and another what to do."""
    script = f'cat >/dev/null; for n in 1 2 3 4; do echo "tar: file$n: Cannot write: {reason}" >&2; done; exit 2'
    failed = failure_of(stand_in(tmp_path / "tar", script), [tar([member("a", b"x")])], tmp_path / "out")
    assert str(failed) == f"the files do not fit: {reason}"
    assert failed.advice == "Free some space and run the command again."


def test_a_disk_that_is_full_within_a_file_is_told_so(tmp_path: Path) -> None:
    """tar says only how much of the file it could write; that is a full disk too."""
    script = 'cat >/dev/null; echo "tar: a: Wrote only 512 of 10240 bytes" >&2; exit 2'
    failed = failure_of(stand_in(tmp_path / "tar", script), [tar([member("a", b"x")])], tmp_path / "out")
    assert str(failed) == "the files do not fit: No space left on device"
    assert failed.advice == "Free some space and run the command again."


def test_a_full_disk_ends_the_download(tmp_path: Path) -> None:
    """What does not fit is not downloaded to its end, though tar would go on with the next file."""
    os.mkfifo(tmp_path / "said")
    script = f"""echo "tar: a: Cannot write: No space left on device" >&2; : >'{tmp_path}/said'; exec cat >/dev/null"""
    taken = 0

    def archive() -> Iterator[bytes]:
        nonlocal taken
        for number in range(20):
            taken += 1
            if number == 0:
                (tmp_path / "said").read_bytes()  # waits until it has been said
            yield tar([member(f"f{number}", b"x" * 500_000)])[: 512 + 500_224]

    failed = failure_of(stand_in(tmp_path / "tar", script), archive(), tmp_path / "out")
    assert (str(failed), taken) == ("the files do not fit: No space left on device", 1)


def test_of_many_complaints_the_first_is_told(tmp_path: Path) -> None:
    """The first names the cause; the others are counted."""
    script = 'cat >/dev/null; for n in 1 2 3; do echo "tar: file$n: Cannot open: Not a directory" >&2; done; exit 2'
    failed = failure_of(stand_in(tmp_path / "tar", script), [tar([member("a", b"x")])], tmp_path / "out")
    assert str(failed) == "tar failed (exit 2): tar: file1: Cannot open: Not a directory (and 2 lines more)"


def test_an_unknown_tar_is_not_used(tmp_path: Path) -> None:
    """A tar that is not known to take our options is left alone."""
    fake = tmp_path / "tar"
    fake.write_text("#!/bin/sh\necho BusyBox\n")
    fake.chmod(0o755)
    (tmp_path / "out").mkdir()
    extract(
        [[tar([member("a", b"x")])]],
        scanner=TarScanner(rules=DirectoryRules()),
        unpacker=choose_unpacker(str(fake), exact_modes=False)(tmp_path / "out"),
    )
    assert (tmp_path / "out/a").read_bytes() == b"x"


def test_what_tar_repeats_of_a_name_is_cut() -> None:
    """An archive chooses the names that tar complains of; the message stays one that can be read."""
    assert len(str(tar_failed(2, f"tar: {'a' * 100_000}: File name too long\ntar: more"))) < 600


@pytest.mark.parametrize(
    ("name", "holds", "says", "taken"),
    [
        ("tar", "GNU tar", "", True),
        ("tar", "nothing", "bsdtar 3.6", True),
        ("tar", "nothing", "BusyBox", False),
        ("busybox", "GNU tar", "BusyBox", False),
    ],
)
def test_knows_tar_without_asking_it(tmp_path: Path, name: str, holds: str, says: str, taken: bool) -> None:
    """A program of that name alone that holds whose tar it is is not started to tell; any other is."""
    program = tmp_path / name
    (tmp_path / "says").write_text(says)
    script = f"[ $1 = --version ] && touch {tmp_path}/asked && cat {tmp_path}/says\ncat >&2"
    program.write_text(f"#!/bin/sh\n# {holds}\n{script}\n")
    program.chmod(0o755)
    if name != "tar":
        (tmp_path / "tar").symlink_to(program)
    unpacker = choose_unpacker(str(tmp_path / "tar"), exact_modes=False)(tmp_path)
    unpacker.abort()
    assert isinstance(unpacker, SystemTar) == taken
    assert (tmp_path / "asked").exists() == (holds == "nothing" or name != "tar")
