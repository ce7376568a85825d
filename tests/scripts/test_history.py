"""Generated repositories and what is read of packs and processes."""

import hashlib
import struct
import subprocess
from pathlib import Path

import pytest

from scripts.benchmarks.history import Shape, stream
from scripts.benchmarks.nginxgit import config
from scripts.benchmarks.packs import pack_in
from scripts.benchmarks.proc import parse_kilobytes


def test_equal_shapes_give_equal_repositories() -> None:
    """The stream depends on the shape and the seed alone."""
    shape = Shape(commits=5, files=3, lines=4, edited=2)
    assert b"".join(stream(shape)) == b"".join(stream(shape))
    assert b"".join(stream(shape)) != b"".join(stream(shape, seed=2))


def test_a_repository_has_the_shape_asked_for(tmp_path: Path) -> None:
    """Commits, files, refs and the branch that is behind are as asked for."""
    shape = Shape(commits=9, changed=2, files=4, lines=5, edited=2, branches=3, tags=2, blob=10, behind=4)
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q", "--bare", "-b", "main"], check=True)
    subprocess.run([*git, "fast-import", "--quiet", "--done"], input=b"".join(stream(shape)), check=True)

    def out(*arguments: str) -> list[str]:
        return subprocess.run([*git, *arguments], capture_output=True, text=True, check=True).stdout.split()

    assert out("rev-list", "--count", "main") == ["9"]
    assert out("rev-list", "--count", "base..main") == ["4"]
    assert len(out("ls-tree", "-r", "--name-only", "main")) == 5
    assert len(out("for-each-ref", "--format=%(refname)")) == 1 + 3 + 2 + 1


def answer(pack: bytes) -> bytes:
    """Wrap a pack as upload-pack does."""
    return b"000dpackfile\n" + b"%04x\x01" % (len(pack) + 5) + pack + b"0000"


def test_a_pack_is_taken_out_of_an_answer() -> None:
    """The sideband is removed, chunks are joined, and the number of objects is read."""
    data = b"PACK" + struct.pack(">II", 2, 7) + b"x" * 20
    whole = data + hashlib.sha1(data).digest()
    assert pack_in(answer(whole), chunked=False).objects == 7
    chunks = b"%x\r\n" % len(answer(whole)) + answer(whole) + b"\r\n0\r\n\r\n"
    assert pack_in(chunks, chunked=True).data == whole


def test_a_damaged_pack_is_refused() -> None:
    """A wrong checksum is an error."""
    with pytest.raises(ValueError, match="checksum"):
        pack_in(answer(b"PACK" + b"\0" * 40), chunked=False)


def test_what_the_server_complains_about_is_told() -> None:
    """A message on the error band is an error."""
    with pytest.raises(ValueError, match="no such thing"):
        pack_in(b"0012\x03no such thing0000", chunked=False)


def test_memory_is_read_in_bytes() -> None:
    """The kernel tells kibibytes."""
    assert parse_kilobytes("Name:\tgit\nVmRSS:\t   12 kB\n", "VmRSS") == 12288
    assert parse_kilobytes("", "VmRSS") == 0


def test_the_peers_config_is_on_loopback_only() -> None:
    """nginx listens on one loopback port."""
    text = config(directory=Path("/d"), root=Path("/r"), files=Path("/f"), port=81, backend=Path("/b"))
    assert [line.strip() for line in text.splitlines() if "listen" in line] == ["listen 127.0.0.1:81 backlog=1024;"]
