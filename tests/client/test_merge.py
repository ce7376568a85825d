"""Saving directories and restoring them over what is there."""

import io
import os
import shutil
import stat
import tarfile
from pathlib import Path

import pytest
import zstandard

from cachew.client.clienterrors import ArchiveRefused, BadUsage, ClientError, DownloadCorrupt, NotCached
from cachew.client.extract import choose_unpacker
from cachew.client.merge import DirectoryRestore
from cachew.client.pack import check_paths, packed
from tests.fakes.archives import framed, member, tar
from tests.fakes.cachew_server import Stored
from tests.fakes.client_parts import Parts

TAR = shutil.which("tar") or "tar"


def pack(directory: Path, *paths: str, exclude: tuple[str, ...] = ()) -> bytes:
    """Return the archive of a directory."""
    return b"".join(packed(directory, paths or (".",), exclude=exclude, tar=TAR, threads=2))


def restore(parts: Parts, archive: bytes, target: Path) -> None:
    """Put an archive on the server and restore it."""
    parts.server.objects["/x"] = Stored(archive)
    unpack = choose_unpacker(TAR, exact_modes=True)
    DirectoryRestore(archives=parts.archives, unpack=unpack).restore(parts.server.url + "/x", target)


def make(directory: Path) -> Path:
    """Make a directory with a bit of everything."""
    (directory / "sub/closed").mkdir(parents=True)
    (directory / "sub/file").write_bytes(os.urandom(200_000))
    (directory / "sub/closed/secret").write_text("s")
    (directory / "sub/closed/secret").chmod(0o600)
    (directory / "sub/closed").chmod(0o555)
    (directory / "link").symlink_to("/etc/hostname")
    (directory / ".git").mkdir()
    (directory / ".git/config").write_text("[core]\n")
    return directory


def test_saves_and_restores(parts: Parts, tmp_path: Path) -> None:
    """A restored directory is what was saved, with its modes."""
    saved, target = make(tmp_path / "saved"), tmp_path / "new/target"
    restore(parts, pack(saved), target)
    assert (target / "sub/file").read_bytes() == (saved / "sub/file").read_bytes()
    assert stat.S_IMODE((target / "sub/closed").stat().st_mode) == 0o555
    assert stat.S_IMODE((target / "sub/closed/secret").stat().st_mode) == 0o600
    assert os.readlink(target / "link") == "/etc/hostname"
    assert (target / ".git/config").read_text() == "[core]\n"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_any_tar_and_zstd_read_it(tmp_path: Path) -> None:
    """What is saved is an ordinary zstd-compressed tar whose frames have their sizes."""
    archive = pack(make(tmp_path / "saved"), "sub", exclude=("file",))
    content = zstandard.ZstdDecompressor().stream_reader(archive, read_across_frames=True).read()
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        assert sorted(opened.getnames()) == ["sub", "sub/closed", "sub/closed/secret"]
    assert zstandard.frame_content_size(archive) > 0


def test_replaces_what_is_there(parts: Parts, tmp_path: Path) -> None:
    """Files are replaced, also in closed directories; others stay; links in the way are not followed."""
    saved, target = make(tmp_path / "saved"), make(tmp_path / "target")
    outside = tmp_path / "outside"
    outside.mkdir()
    (target / "mine").write_text("mine")
    (target / "sub/closed").chmod(0o755)
    shutil.rmtree(target / "sub/closed")
    (target / "sub/closed").symlink_to(outside)
    (target / "link").unlink()
    (target / "link").mkdir()
    (target / "sub").chmod(0o555)
    restore(parts, pack(saved), target)
    assert list(outside.iterdir()) == []
    assert (target / "sub/closed/secret").read_text() == "s"
    assert (target / "mine").read_text() == "mine"
    assert (target / "link").is_symlink()
    assert not [path.name for path in target.iterdir() if "cachew" in path.name]


def test_a_failure_leaves_the_target_untouched(parts: Parts, tmp_path: Path) -> None:
    """A damaged or hostile archive changes nothing in the target."""
    target = tmp_path / "target"
    target.mkdir()
    hostile = framed(tar([member("fine", b"x"), member("l", type=tarfile.SYMTYPE, linkname=".."), member("l/x", b"x")]))
    with pytest.raises(ArchiveRefused):
        restore(parts, hostile, target)
    parts.server.objects["/x"] = Stored(pack(make(tmp_path / "saved")), etag="0" * 64)
    unpack = choose_unpacker(None, exact_modes=True)
    with pytest.raises(DownloadCorrupt):
        DirectoryRestore(archives=parts.archives, unpack=unpack).restore(parts.server.url + "/x", target)
    assert list(target.iterdir()) == []


def test_a_miss_makes_no_directory(parts: Parts, tmp_path: Path) -> None:
    """Without an archive there is no directory."""
    unpack = choose_unpacker(TAR, exact_modes=True)
    with pytest.raises(NotCached):
        DirectoryRestore(archives=parts.archives, unpack=unpack).restore(parts.server.url + "/x", tmp_path / "a/b")
    assert list(tmp_path.iterdir()) == []


def test_a_failing_tar_spoils_the_upload(tmp_path: Path) -> None:
    """When tar fails the archive ends in an error, not in a short archive."""
    with pytest.raises(ClientError, match="tar failed"):
        pack(tmp_path, "missing")


def test_checks_paths_first(tmp_path: Path) -> None:
    """What is to be saved must be there."""
    (tmp_path / "a").write_text("x")
    check_paths(tmp_path, ["a"])
    for directory, paths in ((tmp_path / "b", ["."]), (tmp_path, ["a", "b"])):
        with pytest.raises(BadUsage):
            check_paths(directory, paths)
