"""Packs as git makes them, and how deep in deltas an object lies."""

import os
from pathlib import Path

import pytest

from cachew.client.clienterrors import ArchiveBroken
from cachew.client.packcontents import PackContents
from tests.fakes.archives import git
from tests.fakes.deephistory import make_deep


@pytest.mark.parametrize("by_name", [False, True])
def test_depths_are_those_that_git_tells(tmp_path: Path, by_name: bool) -> None:
    """Whether a delta names its base or says how far before it that lies."""
    repository = make_deep(tmp_path / "repository", versions=12)
    (index,) = (repository / ".git/objects/pack").glob("*.idx")
    if by_name:
        objects = git(repository, "rev-list", "--objects", "--all", "--no-object-names") + "\n"
        (tmp_path / "objects").write_text(objects)
        git(repository, "-c", "alias.p=!git pack-objects -q .git/named <" + str(tmp_path / "objects"), "p")
        (index,) = (repository / ".git").glob("named-*.idx")
    contents = PackContents(index.read_bytes(), size=20)
    told = {}
    for line in git(repository, "verify-pack", "-v", str(index)).split("\n"):
        words = line.split()
        if len(words[0]) == 40:
            told[words[0]] = (int(words[4]), int(words[5]) if len(words) > 5 else 0)
    assert max(depth for _, depth in told.values()) > 5
    with index.with_suffix(".pack").open("rb") as pack:
        for oid, (offset, depth) in told.items():
            name = bytes.fromhex(oid)
            assert name in contents and contents.offset(name) == offset
            assert contents.depth(name, lambda at, count: os.pread(pack.fileno(), count, at), most=99) == depth


def test_an_end_to_what_has_none(tmp_path: Path) -> None:
    """A pack whose deltas go round in a circle is not followed for ever, and what is not there has no depth."""
    repository = make_deep(tmp_path / "repository", versions=3)
    (index,) = (repository / ".git/objects/pack").glob("*.idx")
    contents = PackContents(index.read_bytes(), size=20)
    name = bytes.fromhex(git(repository, "rev-parse", "HEAD"))
    assert contents.depth(name, lambda at, count: b"\x70" + name + bytes(43), most=7) == 7
    assert contents.depth(bytes(20), lambda at, count: b"", most=7) == 0
    assert contents.offset(bytes(20)) is None


@pytest.mark.parametrize("content", [b"", b"\377tOc\0\0\0\2", b"\377tOc\0\0\0\2" + bytes(1020) + b"\0\0\0\1"])
def test_what_is_no_index(content: bytes) -> None:
    """It is refused."""
    with pytest.raises(ArchiveBroken):
        PackContents(content, size=20)
