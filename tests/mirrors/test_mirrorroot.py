"""The directory of mirrors, as it is found at start."""

from pathlib import Path

import pytest

from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity
from cachew.mirrors.mirrorrecord import MirrorRecord, read
from cachew.mirrors.mirrorroot import MirrorRoot

ONE = Identity("git.example", "org/one")


def put(directory: Path, identity: Identity = ONE) -> Path:
    """Make a mirror's directory with nothing in it but its record."""
    directory.mkdir(parents=True)
    MirrorRecord(identity, "sha1", "instance", "generation").write(directory)
    return directory


@pytest.fixture
def root(tmp_path: Path) -> MirrorRoot:
    """The root of mirrors."""
    return MirrorRoot(path=tmp_path / "mirrors", grammar=CASE_MATTERS)


def test_a_new_root_is_made_and_empty(root: MirrorRoot) -> None:
    """At the first start there is nothing."""
    assert root.scan() == {} and root.path.is_dir()


def test_only_mirrors_stay(root: MirrorRoot) -> None:
    """What was being made when the server was killed goes, and what is no mirror."""
    put(root.place_of(ONE))
    put(root.aside / "half.git")
    (root.path / "git.example" / "stray").mkdir()
    assert list(root.scan()) == [ONE]
    assert [path.name for path in root.path.rglob("*.git")] == [root.place_of(ONE).name]
    assert not root.aside.exists() and not (root.path / "git.example" / "stray").exists()


def test_a_mirror_moves_to_where_it_is_looked_for(root: MirrorRoot) -> None:
    """Its directory may have been named by other rules; of two of one repository the one in place stays."""
    elsewhere = put(root.path / "git.example" / "named otherwise")
    assert list(root.scan()) == [ONE] and not elsewhere.exists() and root.place_of(ONE).is_dir()
    put(elsewhere)
    assert list(root.scan()) == [ONE] and not elsewhere.exists()


def test_a_host_that_ignores_case_has_one_name_for_each(tmp_path: Path) -> None:
    """A mirror from before is renamed, in its record also."""
    put(
        MirrorRoot(path=tmp_path, grammar=CASE_MATTERS).place_of(Identity("git.example", "Org/One")),
        Identity("git.example", "Org/One"),
    )
    root = MirrorRoot(path=tmp_path, grammar=Grammar({"git.example": True}))
    assert list(root.scan()) == [ONE]
    record = read(root.place_of(ONE))
    assert record is not None and record.identity == ONE


def test_what_the_disk_does_not_let_go_is_removed_later(root: MirrorRoot) -> None:
    """As on a disk that was read-only for a while, or without a descriptor left; once it is gone, its name is free."""
    first, second = root.aside / "first", root.aside / "second"
    root.aside.mkdir(parents=True)
    for directory in (first, second):
        directory.touch()  # which nobody removes who takes it for a directory
        root.remove(directory)
    root.sweep()
    assert first.exists() and second.exists()
    first.unlink()
    first.mkdir()
    second.unlink()
    root.sweep()
    assert not list(root.aside.iterdir())
    first.mkdir()
    root.sweep()
    assert first.exists(), "it is another's now"
