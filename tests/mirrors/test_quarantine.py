"""Objects that come one by one lie beside a repository until all have come."""

import json
from pathlib import Path

import pytest

from cachew.mirrors.leftovers import remove_leftovers
from cachew.mirrors.quarantine import Quarantine


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    (tmp_path / "objects/pack").mkdir(parents=True)
    quarantine = Quarantine(directory=tmp_path, object_format="sha1")
    quarantine.open()
    return quarantine


def put(directory: Path, *names: str, content: str = "new") -> None:
    """Put files into a directory of objects."""
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)


def pack(name: str, *ends: str) -> list[str]:
    """Return the names of a pack's files."""
    return [f"pack/pack-{name}.{end}" for end in ends]


def test_git_writes_there_and_sees_both(tmp_path: Path) -> None:
    """Whatever the directory is called: git takes a quoted path as it is."""
    directory = tmp_path / 'odd":\\ \u00e9\n'
    environment = Quarantine(directory=directory, object_format="sha1").environment
    assert Path(environment["GIT_OBJECT_DIRECTORY"]).parent == directory / "objects"
    assert json.loads(environment["GIT_ALTERNATE_OBJECT_DIRECTORIES"]) == str(directory / "objects")


def test_packs_come_in_with_all_that_belongs_to_them(tmp_path: Path, quarantine: Quarantine) -> None:
    """A pack without an index, which git has not finished, stays."""
    put(quarantine.place, *pack("1", "pack", "idx", "rev"), *pack("2", "pack", "idx"), *pack("3", "pack"), "pack/tmp_1")
    quarantine.release()
    found = sorted(path.name for path in (tmp_path / "objects/pack").iterdir())
    assert found == ["pack-1.idx", "pack-1.pack", "pack-1.rev", "pack-2.idx", "pack-2.pack"]
    quarantine.release()


def test_a_pack_that_is_there_stays_as_it_is(tmp_path: Path, quarantine: Quarantine) -> None:
    """It was verified, and is perhaps being read."""
    put(tmp_path / "objects", *pack("1", "pack", "idx"), content="old")
    put(quarantine.place, *pack("1", "pack", "idx"))
    quarantine.release()
    assert {path.read_text() for path in (tmp_path / "objects/pack").iterdir()} == {"old"}


def test_objects_that_came_one_by_one_are_named(tmp_path: Path, quarantine: Quarantine) -> None:
    """With the empty tree, which nobody sends; of what is still written nothing."""
    assert quarantine.loose() == []
    put(quarantine.place, f"aa/{'b' * 38}", "aa/tmp_obj_x.y", "info/x", *pack("1", "pack"))
    empty_tree = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert sorted(quarantine.loose()) == [empty_tree, "aa" + "b" * 38]
    assert sorted(quarantine.loose()) == [empty_tree, "aa" + "b" * 38]


def test_what_a_killed_server_leaves_goes_with_all_that_killed_commands_leave(
    tmp_path: Path, quarantine: Quarantine
) -> None:
    """Nothing of it was ever seen."""
    put(quarantine.place, f"aa/{'b' * 38}")
    remove_leftovers(tmp_path)
    assert not quarantine.place.exists()
