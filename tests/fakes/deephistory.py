"""Repositories whose newest files are the last of long chains of deltas, as those that were imported have them."""

import subprocess
from pathlib import Path

from tests.fakes.archives import git

FILES = 3


def make_deep(directory: Path, *, versions: int = 30) -> Path:
    """Make a repository with a checkout, each version of whose files is a delta on the one before."""
    directory.mkdir()
    git(directory, "init", "-q", "--initial-branch=trunk")
    stream = "".join(_stream(versions)).encode()
    command = ["git", "-C", str(directory), "-c", "fastimport.unpackLimit=1", "fast-import", "--quiet"]
    subprocess.run([*command, "--depth=60"], input=stream, check=True)
    git(directory, "reset", "-q", "--hard", "trunk")
    return directory


def _stream(versions: int) -> "list[str]":
    blobs, mark = [], 0
    for file in range(FILES):
        lines = [f"file {file}, line {number}, {number * 7919 % 1009}" for number in range(120)]
        for version in range(versions):
            mark += 1
            lines[version % 120] = f"version {version} of {file}"
            text = "\n".join(lines)
            blobs.append(f"blob\nmark :{mark}\ndata {len(text)}\n{text}\n")
    for version in range(versions):
        changes = "".join(f"M 100644 :{file * versions + version + 1} {file}.txt\n" for file in range(FILES))
        committer = f"committer T <t@t> {1_700_000_000 + version} +0000"
        blobs.append(f"commit refs/heads/trunk\n{committer}\ndata 1\n{version % 10}\n{changes}\n")
    return blobs
