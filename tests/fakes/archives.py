"""Archives for the client's tests: tar by Python, zstd in frames, snapshots of real repositories."""

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import zstandard

from cachew.plumbing import tarzst

FRAME = 64 * 1024


def framed(content: bytes, *, frame: int = FRAME) -> bytes:
    """Compress in independent frames with their content sizes, and end with a skippable frame."""
    compressor = zstandard.ZstdCompressor(level=1, write_content_size=True)
    frames = [compressor.compress(content[start : start + frame]) for start in range(0, len(content), frame)]
    table = b"seek table"
    return b"".join([*frames, (0x184D2A5E).to_bytes(4, "little"), len(table).to_bytes(4, "little"), table])


def seekable(content: bytes, *, frame: int = FRAME) -> bytes:
    """Compress as a server does: in independent frames, with a table of where they lie at the end."""
    pieces = [content[start : start + frame] for start in range(0, len(content), frame)]
    frames = [zstandard.ZstdCompressor(level=1, write_checksum=True).compress(piece) for piece in pieces]
    return b"".join([*frames, tarzst.encode_table([(len(f), len(p)) for f, p in zip(frames, pieces, strict=True)])])


def member(name: str, content: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """Return an entry; fields are those of ``TarInfo``."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o644
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def tar(members: Iterable[tuple[tarfile.TarInfo, bytes]], *, form: int = tarfile.GNU_FORMAT) -> bytes:
    """Return a tar archive of exactly these entries."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content) if content else None)
    return file.getvalue()


def trailed(content: bytes) -> bytes:
    """Return what ends in its checksum, as git's packs and indexes do."""
    return content + hashlib.sha1(content).digest()


def git(directory: Path, *arguments: str) -> str:
    """Run git without the config of whoever runs the tests."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        **{f"GIT_{who}_{what}": f"t@{who.lower()}" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        **{f"GIT_{who}_DATE": "1700000000 +0000" for who in ("AUTHOR", "COMMITTER")},
    }
    done = subprocess.run(["git", "-C", str(directory), *arguments], env=environment, capture_output=True, check=False)
    if done.returncode:
        raise AssertionError(f"git {arguments}: {done.stderr.decode()}")
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")


def commit(repository: Path, name: str, text: str) -> str:
    """Commit a file and return the commit's id."""
    (repository / name).parent.mkdir(parents=True, exist_ok=True)
    (repository / name).write_text(text)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", f"change {name}")
    return git(repository, "rev-parse", "HEAD")


def make_upstream(directory: Path, *, object_format: str = "sha1") -> Path:
    """Make a repository with a few files, a link and a tag."""
    directory.mkdir()
    git(directory, "init", "--quiet", "--initial-branch=trunk", f"--object-format={object_format}")
    (directory / "bin").mkdir()
    (directory / "bin/run").write_text("#!/bin/sh\n")
    (directory / "bin/run").chmod(0o755)
    (directory / "empty").write_text("")
    (directory / "outside").symlink_to("/etc/hostname")
    commit(directory, "src/a name with spaces.txt", "first\n")
    git(directory, "tag", "v1")
    return directory


def snapshot_members(upstream: Path, scratch: Path, *, origin: str) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Return the entries of a snapshot as a server makes it."""
    scratch.mkdir()
    git(scratch, "clone", "--quiet", str(upstream), "tree")
    tree = scratch / "tree"
    git(tree, "remote", "set-url", "origin", origin)
    members = []
    for path in [tree, *sorted(tree.rglob("*"))]:
        name = "." if path == tree else f"./{path.relative_to(tree)}"
        info = tarfile.TarInfo(name)
        status = path.lstat()
        info.mode, info.mtime = status.st_mode & 0o7777, 1_700_000_000
        if path.is_symlink():
            info.type, info.linkname = tarfile.SYMTYPE, os.readlink(path)
        elif path.is_dir():
            info.type = tarfile.DIRTYPE
        content = path.read_bytes() if info.isfile() else b""
        info.size = len(content)
        members.append((info, content))
    return members
