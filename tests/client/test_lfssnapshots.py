"""LFS objects in a checkout: checked, put into their places, checked out; git and the server are played."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cachew.client.addresses import RepositoryAddress
from cachew.client.checkout import Checkout
from cachew.client.clienterrors import DownloadCorrupt, GitFailed, NotCached
from cachew.client.lfssnapshots import LfsSnapshots
from tests.fakes.client_parts import Watcher

ADDRESS = RepositoryAddress("http://cachew.example", "git.example", "org/repo", None)
CONTENT = b"large\n" * 1000
OID = hashlib.sha256(CONTENT).hexdigest()


class World:
    """A checkout, and a server that has one archive.

    :param objects: what is in it, by the oids that it is said to have.
    :param tries: how many tries the download takes; what an earlier one left is of no use.
    """

    def __init__(self, directory: Path, objects: dict[str, bytes] | None, *, tries: int = 1) -> None:
        self.tree = directory / "tree"
        self.progress = Watcher()
        self.ran: list[str] = []
        self.failing: dict[str, int] = {}
        self._directory, self._objects, self._tries = directory, objects, tries
        self._fresh = 0
        self.checkout = cast(Checkout, SimpleNamespace(git=self, tree=self.tree))

    def run(self, directory: Path, *words: str, check: bool = True) -> CompletedProcess[bytes]:
        """Play git."""
        name = " ".join(words[:2])
        self.ran.append(name)
        code = self.failing.get(name, 0)
        if check and code:
            raise GitFailed(name, "smudge filter failed")
        return CompletedProcess(words, code, b"")

    def fresh(self) -> Path:
        """Make an empty directory."""
        self._fresh += 1
        place = self._directory / f"lfs-{self._fresh}"
        place.mkdir()
        return place

    def _archive(self, url: str, *, fresh_directory: Callable[[], Path], **_: Any) -> None:
        assert url == "http://cachew.example/git/git.example/org/repo/lfs-snapshot.tar.zst"
        if self._objects is None:
            raise NotCached("nothing here", status=404)
        for number in range(self._tries):
            place = fresh_directory()
            for oid, content in self._objects.items():
                path = place / "lfs/objects" / oid[:2] / oid[2:4] / oid
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content if number == self._tries - 1 else b"half")

    def fetch(self) -> None:
        archives = cast(Any, SimpleNamespace(fetch=self._archive))
        lfs = LfsSnapshots(archives=archives, unpack=cast(Any, None), progress=self.progress)
        lfs.fetch(self.checkout, ADDRESS, fresh_directory=self.fresh)

    def place_of(self, oid: str) -> Path:
        return self.tree / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid


@pytest.mark.parametrize("tries", [1, 3])
def test_objects_are_moved_to_where_git_lfs_looks(tmp_path: Path, tries: int) -> None:
    """Those of the last try; then they take their pointers' places."""
    world = World(tmp_path, {OID: CONTENT}, tries=tries)
    world.fetch()
    assert world.place_of(OID).read_bytes() == CONTENT
    assert world.ran == ["lfs version", "lfs install", "lfs checkout"]
    assert world.progress.said == ["1 LFS objects"]


def test_any_python_that_runs_the_client_checks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before 3.11 have no function that digests a file."""
    monkeypatch.delattr(hashlib, "file_digest")
    world = World(tmp_path, {OID: CONTENT})
    world.fetch()
    assert world.place_of(OID).read_bytes() == CONTENT


def test_another_content_is_refused(tmp_path: Path) -> None:
    """It never lies among the objects, nor is anything checked out."""
    world = World(tmp_path, {OID: CONTENT + b"!"})
    with pytest.raises(DownloadCorrupt, match=OID):
        world.fetch()
    assert not world.place_of(OID).exists()
    assert world.ran == []


def test_without_an_archive_there_is_a_warning(tmp_path: Path) -> None:
    """The checkout is good without."""
    world = World(tmp_path, None)
    world.fetch()
    assert "git lfs pull" in world.progress.warned[0]
    assert world.ran == []


def test_an_empty_archive_is_no_failure(tmp_path: Path) -> None:
    """HEAD may have no large files any more."""
    world = World(tmp_path, {})
    world.fetch()
    assert world.progress.said == ["0 LFS objects"]


@pytest.mark.parametrize("failing", ["lfs version", "lfs install", "lfs checkout"])
def test_pointers_stay_when_git_lfs_fails(tmp_path: Path, failing: str) -> None:
    """The objects are here all the same, and how to go on is told."""
    world = World(tmp_path, {OID: CONTENT})
    world.failing[failing] = 1
    world.fetch()
    assert world.place_of(OID).exists()
    assert "git lfs checkout" in world.progress.warned[0]
