"""The repositories that are measured: made once, kept in a cache directory, served as they are.

They are packed the way a careful host packs them (one pack, bitmap, commit graph), so that the peers are at their best.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from scripts.benchmarks.history import Shape, stream

FULL: Mapping[str, Shape] = {
    "five-mb": Shape(commits=1_500, changed=2, files=500, lines=60, edited=20, branches=3, tags=5),
    "small": Shape(commits=200, files=100),
    "medium": Shape(commits=50_000, changed=2, files=2_000, lines=80, edited=28, branches=20, tags=100, behind=100),
    "many-refs": Shape(commits=1_000, files=100, branches=40_000, tags=10_000),
    "big-blob": Shape(commits=20, blob=310_000_000),
    "large": Shape(commits=60_000, changed=3, files=6_000, lines=120, edited=38, branches=10, tags=100),
}
QUICK: Mapping[str, Shape] = {
    "five-mb": Shape(commits=1_500, changed=2, files=500, lines=60, edited=20, branches=3, tags=5),
    "small": Shape(commits=50, files=20),
    "medium": Shape(commits=2_000, changed=2, files=300, edited=20, branches=5, tags=10, behind=100),
    "many-refs": Shape(commits=200, files=20, branches=2_000, tags=500),
    "big-blob": Shape(commits=5, blob=30_000_000),
    "large": Shape(commits=3_000, changed=3, files=600, lines=120, edited=38, branches=5, tags=10),
}


@dataclass(frozen=True)
class Repository:
    """A bare repository that is served.

    :param name: what it is called below the served directory, without ``.git``.
    """

    name: str
    path: Path

    def git(self, *arguments: str) -> str:
        """Run git on it and return what it prints."""
        return git("-C", str(self.path), *arguments)

    def refs(self) -> dict[str, str]:
        """Return all refs and their object ids."""
        lines = self.git("for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ") for line in lines)

    def pack_bytes(self) -> int:
        """Return the size of its packs."""
        return sum(file.stat().st_size for file in (self.path / "objects/pack").glob("*.pack"))

    def facts(self) -> dict[str, int]:
        """Return its size in the terms of the report."""
        return {
            "pack_bytes": self.pack_bytes(),
            "commits": int(self.git("rev-list", "--count", "--all")),
            "refs": len(self.refs()),
        }


def environment() -> dict[str, str]:
    """Return an environment in which git sees no configuration of the user or the system."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return kept | {
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "GIT_CONFIG_KEY_1": "gc.auto",
        "GIT_CONFIG_VALUE_1": "0",
        "LC_ALL": "C",
    }


def git(*arguments: str) -> str:
    """Run git and return what it prints.

    :raise RuntimeError: when it fails, with its complaint.
    """
    done = subprocess.run(["git", *arguments], env=environment(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"git {' '.join(arguments)} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def make(directory: Path, name: str, shape: Shape) -> Repository:
    """Return a generated repository, made now unless it has been made before.

    :param directory: where the served repositories are.
    """
    path = directory / f"{name}.git"
    described = json.dumps(asdict(shape))
    stamp = path / "bench-shape.json"
    if not stamp.exists() or stamp.read_text() != described:
        shutil.rmtree(path, ignore_errors=True)
        directory.mkdir(parents=True, exist_ok=True)
        git("init", "-q", "--bare", "-b", "main", str(path))
        _import(path, shape)
        pack(path)
        stamp.write_text(described)
    return Repository(name, path)


def _import(path: Path, shape: Shape) -> None:
    command = ["git", "-C", str(path), "fast-import", "--quiet", "--force", "--done", "--max-pack-size=4g"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment()) as importer:
        assert importer.stdin is not None
        for piece in stream(shape):
            importer.stdin.write(piece)
    if importer.returncode:
        raise RuntimeError(f"git fast-import failed with {importer.returncode}")


def pack(path: Path) -> None:
    """Pack a bare repository as well as git can serve it."""
    git("-C", str(path), "pack-refs", "--all")
    git("-C", str(path), "repack", "-q", "-a", "-d", "--write-bitmap-index", "--threads=2")
    git("-C", str(path), "commit-graph", "write", "--reachable")
    for name, value in (("http.receivepack", "false"), ("uploadpack.allowFilter", "true")):
        git("-C", str(path), "config", name, value)


def adopt(directory: Path, source: Path) -> Repository:
    """Return a mirror clone of a repository of the user's, brought up to date; their own is only read.

    :param directory: where the served repositories are.
    :param source: a repository, bare or not.
    """
    name = f"given-{source.resolve().name.removesuffix('.git')}"
    path = directory / f"{name}.git"
    shutil.rmtree(path, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    git("clone", "-q", "--mirror", f"file://{source.resolve()}", str(path))
    pack(path)
    return Repository(name, path)
