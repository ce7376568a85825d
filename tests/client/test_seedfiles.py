"""The files of a seed are written aside, and nothing of them stays where not all of them can be."""

import hashlib
import os
from pathlib import Path

import pytest

from cachew.client.clienterrors import ExtractionFailed
from cachew.client.gitdir import GitDirectory
from cachew.client.seedfiles import SeedFiles
from cachew.client.tarheader import EntryKind, TarEntry
from tests.fakes.systemlimits import largest_file

CONTENT = b"content\n"
OID = hashlib.sha1(b"blob 8\0" + CONTENT).digest()


class World:
    """A repository that has nothing, and a seed for it."""

    def __init__(self, root: Path) -> None:
        self.git = root / "new/.git"
        (self.git / "objects/pack").mkdir(parents=True)
        self.files = SeedFiles(GitDirectory(os.fsencode(self.git)))
        self.aside = Path(os.fsdecode(self.files.directory))
        self.aside.mkdir()

    def take(self, name: str, content: bytes = b"content") -> None:
        """Take a file, in two pieces."""
        entry = TarEntry(name.encode(), EntryKind.FILE, 0o644, len(content), 0)
        self.files.begin(entry)
        if content:
            view = memoryview(content)
            self.files.write(view[:3], view[3:])
            self.files.end()

    @property
    def aside_names(self) -> list[str]:
        """What lies aside."""
        return sorted(str(path.relative_to(self.aside)) for path in self.aside.rglob("*") if path.is_file())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_files_lie_aside_until_they_are_placed(world: World) -> None:
    """Under their names in the repository, also the empty ones."""
    world.take(".git/packed-refs", b"refs")
    world.take(".git/objects/pack/pack-1.pack")
    world.take(".git/refs/heads/a/b", b"1" * 40)
    world.take(".git/shallow", b"")
    assert world.aside_names == ["objects/pack/pack-1.pack", "packed-refs", "refs/heads/a/b", "shallow"]
    assert world.files.content(b"packed-refs") == b"refs"
    assert world.files.content(b"shallow") == world.files.content(b"nothing") == b""
    assert world.files.branches() == {b"refs/heads/a/b": b"1" * 40}
    world.files.close()
    assert not world.aside.exists()


def test_a_file_that_comes_twice_is_refused(world: World) -> None:
    """The second would take the place of what was checked."""
    world.take(".git/HEAD")
    with pytest.raises(ExtractionFailed):
        world.take(".git/HEAD", b"other")
    world.files.close()
    assert not world.aside.exists()


def test_a_full_disk_is_told(world: World) -> None:
    """And nothing stays of it."""
    with largest_file(5), pytest.raises(ExtractionFailed, match="File too large"):
        world.take(".git/packed-refs", b"x" * 100)
    world.files.close()
    world.files.close()
    assert not world.aside.exists()


def test_a_repository_that_git_has_given_up_does_not_come_back(world: World, tmp_path: Path) -> None:
    """What git could not remove while we were in it goes with us."""
    world.take(".git/HEAD")
    world.files.close()
    assert list(tmp_path.iterdir()) == []


def test_a_repository_that_is_there_stays(world: World) -> None:
    """Also when it is empty."""
    (world.git / "HEAD").write_text("ref: refs/heads/main\n")
    world.files.close()
    assert (world.git / "objects/pack").is_dir()


def test_files_of_the_working_tree_come_as_blobs(world: World) -> None:
    """Those that are wanted, with indexes that lead to them; others leave no trace."""
    world.take(".git/objects/pack/other", b"x")
    assert world.files.has_all_blobs
    world.files.begin_blobs([OID], oid_size=20)
    assert not world.files.has_all_blobs
    world.take("other", b"nobody wants this")
    world.take("empty", b"")
    world.take("dir/file", CONTENT)
    assert world.files.has_all_blobs
    world.files.end_blobs(keep=True)
    ends = sorted(name.rpartition("/")[2].partition("-")[0] + name[-4:] for name in world.aside_names)
    assert ends == ["multindex", "otherther", "pack.idx", "packpack"]


@pytest.mark.parametrize("given_up", [True, False])
def test_blobs_that_are_not_kept_leave_nothing(world: World, given_up: bool) -> None:
    """Whether they were given up, or none has come."""
    world.take(".git/objects/pack/other", b"x")
    world.files.begin_blobs([OID], oid_size=20)
    if given_up:
        world.take("file", CONTENT)
    world.files.end_blobs(keep=not given_up)
    world.files.end_blobs(keep=True)
    assert world.aside_names == ["objects/pack/other"]


@pytest.mark.parametrize("size", [5, 60, 500, 1150])
def test_blobs_that_can_not_be_finished_leave_nothing(world: World, size: int) -> None:
    """Neither a pack without its index nor the half of an index, which would be put before git: it gets along."""
    world.take(".git/objects/pack/other", b"x")
    world.files.begin_blobs([OID], oid_size=20)
    world.take("file", CONTENT)
    with largest_file(size):
        world.files.end_blobs(keep=True)
    assert world.aside_names == ["objects/pack/other"]
    assert world.files.has_all_blobs
