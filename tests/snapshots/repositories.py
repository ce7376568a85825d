"""Real repositories and what the tests of snapshots do with them."""

import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zstandard

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from tests.fakes.instances import only

IDENTITY = Identity("git.example", "org/repo")
INSTANCE = only(IDENTITY)
URL = "https://git.example/org/repo"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    **{f"GIT_{who}_DATE": "2024-05-06T07:08:09Z" for who in ("AUTHOR", "COMMITTER")},
}


def git(directory: Path, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None) -> str:
    """Run git and return its output without the last newline."""
    done = subprocess.run(
        ["git", *words], cwd=directory, input=stdin, capture_output=True, env={**ENVIRONMENT, **(env or {})}, timeout=60
    )
    if done.returncode:
        raise AssertionError(f"git {words}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode(errors="surrogateescape").rstrip("\n")


def commit(directory: Path, files: Mapping[str, str | bytes], message: str = "change") -> str:
    """Commit files and return the commit."""
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "--allow-empty", "-m", message)
    return git(directory, "rev-parse", "HEAD")


@dataclass
class BareMirror:
    """A mirror as snapshots see it: a bare repository that a test made."""

    directory: Path
    identity: Identity = IDENTITY
    instance: Instance = INSTANCE
    upstream_url: str = URL
    object_format: str = "sha1"
    ready: bool = True
    held: list[bool] = field(default_factory=list)
    proofs: int = 0
    suspicions: int = 0
    changed: Exception | None = None

    @property
    def whole(self) -> Any:
        """The mirror, as those take it who know mirrors only."""
        return self

    @property
    def refs(self) -> "BareMirror":
        """It is all its parts by itself."""
        return self

    locks = verification = place = refs

    @property
    def by_name(self) -> Mapping[str, str]:
        """Read from disk."""
        lines = git(self.directory, "for-each-ref", "--format=%(refname) %(objectname)").split("\n")
        return dict(line.split(" ") for line in lines)

    @property
    def head_commit(self) -> str | None:
        """Read from disk."""
        return self.by_name.get(git(self.directory, "symbolic-ref", "HEAD"))

    @property
    def head_ref(self) -> str | None:
        """Read from disk."""
        return git(self.directory, "symbolic-ref", "HEAD")

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Note that it was held."""
        self.held.append(True)
        yield

    async def prove(self) -> Callable[[], None]:
        """Believe that it is sound."""
        self.proofs += 1
        return self.still_sound

    def still_sound(self) -> None:
        """Raise what the test says."""
        if self.changed is not None:
            raise self.changed

    def doubt(self, *, serving: bool) -> None:
        """Note it."""
        self.suspicions += 1

    def relinking(self) -> AbstractContextManager[None]:
        """Do nothing about it."""
        return nullcontext()

    def pull(self, source: Path) -> None:
        """Bring it to where a repository is."""
        refspecs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        git(self.directory, "fetch", "-q", "--prune", str(source), *refspecs)


def bare(source: Path, target: Path, **more: Any) -> BareMirror:
    """Make a bare mirror of a repository."""
    git(source, "clone", "-q", "--bare", "--template=", "--no-local", f"file://{source}", str(target))
    git(target, "update-ref", "refs/cachew/2024/keep", "HEAD")
    return BareMirror(target, **more)


@dataclass
class Output:
    """Where an archive goes."""

    data: bytearray = field(default_factory=bytearray)

    async def __call__(self, data: bytes) -> None:
        """Take bytes."""
        self.data += data

    def tar(self) -> bytes:
        """Return the tar stream in it."""
        return decompressed(bytes(self.data))

    def names(self) -> list[str]:
        """Return the names of its members."""
        with tarfile.open(fileobj=io.BytesIO(self.tar())) as archive:
            return archive.getnames()

    def extract(self, directory: Path) -> Path:
        """Unpack it with the system's zstd-ignorant tar."""
        return extracted(bytes(self.data), directory)


def decompressed(data: bytes) -> bytes:
    """Decompress an archive."""
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()


def extracted(data: bytes, directory: Path) -> Path:
    """Unpack an archive with the system's tar."""
    directory.mkdir()
    subprocess.run(["tar", "-x", "-C", str(directory)], input=decompressed(data), check=True, timeout=60)
    return directory
