"""Where the files of a seed go: all of them, or none."""

import os
from pathlib import Path

import pytest

from cachew.client.clienterrors import ExtractionFailed
from cachew.client.gitdir import GitDirectory
from cachew.client.seededobjects import SeededObjects
from cachew.client.seedplacement import SeedPlacement

PACK = "pack-" + "a" * 40
LOOSE = f"aa/{'b' * 38}"


class Seed:
    """A new repository, and what lies aside for it."""

    def __init__(self, root: Path, *names: str) -> None:
        self.git, self.aside = root / "new/.git", root / "aside"
        (self.git / "objects").mkdir(parents=True)
        for name in names:
            path = self.aside / "objects" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        repository = GitDirectory(os.fsencode(self.git))
        self.placement = SeedPlacement(repository, SeededObjects(os.fsencode(self.aside)))

    def files(self) -> set[str]:
        """Return the files of the repository."""
        return {str(path.relative_to(self.git)) for path in self.git.rglob("*") if path.is_file()}


def test_objects_go_where_git_looks_for_them(tmp_path: Path) -> None:
    """Packs with all that belongs to them, and loose ones; nothing is left aside."""
    names = {LOOSE, *(f"pack/{PACK}.{end}" for end in ("pack", "idx", "rev"))}
    seed = Seed(tmp_path, *names)
    seed.placement.put()
    seed.placement.settle()
    seed.placement.take_back()
    assert seed.files() == {f"objects/{name}" for name in names}
    assert not [path for path in seed.aside.rglob("*") if path.is_file()]


@pytest.mark.parametrize("blocked", ["idx", "rev", "pack"])
def test_what_can_not_all_be_put_is_taken_back(tmp_path: Path, blocked: str) -> None:
    """The failure names the file; a pack whose index can't be put is no pack."""
    seed = Seed(tmp_path, LOOSE, *(f"pack/{PACK}.{end}" for end in ("pack", "rev", "idx")))
    (seed.git / f"objects/pack/{PACK}.{blocked}").mkdir(parents=True)
    with pytest.raises(ExtractionFailed, match=f"{PACK}.{blocked}"):
        seed.placement.put()
    assert f"objects/pack/{PACK}.idx" not in seed.files()
    seed.placement.take_back()
    seed.placement.take_back()
    assert seed.files() == set()


def test_refs_are_written_under_gits_lock(tmp_path: Path) -> None:
    """Who holds it is not disturbed, and keeps it."""
    seed = Seed(tmp_path)
    seed.placement.put_packed_refs(b"refs")
    assert (seed.git / "packed-refs").read_bytes() == b"refs" and seed.files() == {"packed-refs"}
    seed.placement.take_back()
    assert seed.files() == set()
    (seed.git / "packed-refs.lock").write_text("another's")
    with pytest.raises(ExtractionFailed, match="packed-refs"):
        seed.placement.put_packed_refs(b"refs")
    seed.placement.take_back()
    assert seed.files() == {"packed-refs.lock"}


def test_a_lock_that_leads_nowhere_is_let_go_of(tmp_path: Path) -> None:
    """Where the refs can't take their place, the lock goes with what was put."""
    seed = Seed(tmp_path)
    (seed.git / "packed-refs").mkdir()
    with pytest.raises(ExtractionFailed):
        seed.placement.put_packed_refs(b"refs")
    seed.placement.take_back()
    assert seed.files() == set()
