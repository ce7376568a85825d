"""Whether an object is there, asked of the files that git itself makes."""

import os
import shutil
from pathlib import Path

import pytest

from cachew.mirrors.objectindex import ObjectIndex
from cachew.mirrors.packindex import OpenIndexes
from tests.fakes.descriptors import exhausted
from tests.functional import repositories
from tests.functional.repositories import Repository


def packed(
    path: Path, object_format: str = "sha1", opened: OpenIndexes | None = None
) -> tuple[Repository, ObjectIndex, list[str]]:
    """Make a repository of one pack, its index, and the ids of all its objects."""
    repository = repositories.make_repository(path, commits=30, object_format=object_format)
    repository.git("repack", "-adq")
    ids = repository.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    index = ObjectIndex(directory=path, object_format=object_format, opened=opened or OpenIndexes())
    return repository, index, ids


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_every_object_and_no_other(tmp_path: Path, object_format: str) -> None:
    """Every object of a pack is found, and none that differs in a digit."""
    _, index, ids = packed(tmp_path / "repo.git", object_format)
    assert len(ids) > 60 and index.missing(ids) == []
    others = [f"{oid[:-1]}{(int(oid[-1], 16) + 1) % 16:x}" for oid in ids]
    assert index.missing(others) == [oid for oid in others if oid not in ids]
    assert index.missing(["0" * len(ids[0]), "f" * len(ids[0])]) != []
    assert index.missing(oid.upper() for oid in ids) == []
    index.close()


def test_what_is_no_id_is_missing(tmp_path: Path) -> None:
    """Anything else than a hex id of the right length is missing, without harm."""
    _, index, ids = packed(tmp_path / "repo.git")
    odd = ["", "abc", ids[0] + "00", "g" * 40, ids[0][:38] + "  ", "../" * 13 + "x", "\u0661" * 40]
    assert index.missing(odd) == odd


def test_a_large_index(tmp_path: Path) -> None:
    """A large index stays open and is found in like a small one; closing it gives its descriptor back."""
    _, index, ids = packed(tmp_path / "repo.git", opened=OpenIndexes(small=0))
    before = descriptors()
    assert index.missing(ids) == []
    assert descriptors() == before + 1
    index.close()
    assert descriptors() == before


@pytest.mark.parametrize("kept", [0, 6, 1000, 1040, 5000])
def test_a_large_index_that_is_cut_short_while_it_is_open(tmp_path: Path, kept: int) -> None:
    """Nothing is found in what has gone, and the process goes on: reading it through a map would end it."""
    repository, index, ids = packed(tmp_path / "repo.git", opened=OpenIndexes(small=0))
    assert index.missing(ids) == []
    (path,) = (repository.path / "objects/pack").glob("*.idx")
    path.chmod(0o600)
    os.truncate(path, min(kept, path.stat().st_size - 100))
    assert set(index.missing(ids)) <= set(ids)
    if kept < 1040:
        assert index.missing(ids) == ids
    index.close()


def test_descriptors_do_not_grow_with_the_mirrors_in_use(tmp_path: Path) -> None:
    """However many mirrors there are, only so many indexes stay open; the others are opened again when asked."""
    opened = OpenIndexes(most_files=4, small=0)
    _, first, ids = packed(tmp_path / "0.git", opened=opened)
    mirrors = [first]
    for number in range(1, 30):
        shutil.copytree(tmp_path / "0.git", tmp_path / f"{number}.git")
        mirrors.append(ObjectIndex(directory=tmp_path / f"{number}.git", object_format="sha1", opened=opened))
    before = descriptors()
    for _ in range(2):
        assert [mirror.missing([*ids, "1" * 40]) for mirror in mirrors] == [["1" * 40]] * 30
        assert descriptors() == before + 4 and opened.files == 4
    for mirror in mirrors:
        mirror.close()
    assert descriptors() == before and opened.files == 0


def test_memory_of_small_indexes_does_not_grow_with_the_mirrors_in_use(tmp_path: Path) -> None:
    """What was read of small indexes is dropped, the least recently used first, and read again when asked."""
    opened = OpenIndexes(most_bytes=1)
    _, one, ids = packed(tmp_path / "one.git", opened=opened)
    _, other, _ = packed(tmp_path / "other.git", opened=opened)
    for _ in range(2):
        assert one.missing(ids) == [] and other.missing(ids) == []
        assert opened.size == (next((tmp_path / "other.git/objects/pack").glob("*.idx"))).stat().st_size


def test_without_a_descriptor_left_other_indexes_give_theirs(tmp_path: Path) -> None:
    """When the process has no descriptor left, open indexes are closed for the one that is asked."""
    opened = OpenIndexes(small=0)
    _, one, ids = packed(tmp_path / "one.git", opened=opened)
    _, other, _ = packed(tmp_path / "other.git", opened=opened)
    assert one.missing(ids) == [] and other.missing(ids) == []
    with exhausted(lambda: opened.close(next(iter(opened)))):
        assert one.missing(ids) == [] and other.missing(ids) == []
        assert opened.files < 2


def test_a_pack_that_goes_while_its_index_is_closed(tmp_path: Path) -> None:
    """A pack that was removed, or damaged, while its index was not open holds nothing any more."""
    opened = OpenIndexes(most_files=1, small=0)
    _, one, ids = packed(tmp_path / "one.git", opened=opened)
    _, other, _ = packed(tmp_path / "other.git", opened=opened)
    assert one.missing(ids) == [] and other.missing(ids) == []
    path = next((tmp_path / "one.git/objects/pack").glob("*.idx"))
    path.chmod(0o600)
    path.write_bytes(b"x" * 3000)
    assert one.missing(ids) == ids
    path.unlink()
    assert one.missing(ids) == ids and other.missing(ids) == []


def test_new_objects_are_seen(tmp_path: Path) -> None:
    """Packs and loose objects that come later are found, and what a repack drops is not any more."""
    repository, index, ids = packed(tmp_path / "repo.git")
    assert index.missing(ids) == []
    loose = repositories.unadvertised_commit(repository)
    assert index.missing([loose]) == []
    repository.git("update-ref", "refs/heads/other", loose)
    repository.git("repack", "-adq")
    assert index.missing([loose, *ids]) == []
    repository.git("update-ref", "-d", "refs/heads/other")
    repository.git("repack", "-adq")
    repository.git("prune", "--expire=now")
    assert index.missing([loose, *ids]) == [loose]


def test_packs_that_vanish_or_are_broken(tmp_path: Path) -> None:
    """A pack without its data, or with an index that is none, holds nothing; the others still answer."""
    repository, index, ids = packed(tmp_path / "repo.git")
    pack = next((tmp_path / "repo.git/objects/pack").glob("*.idx"))
    for name, content in {"empty": b"", "short": b"\xfftOc", "other": b"x" * 3000}.items():
        (pack.parent / f"pack-{name}.idx").write_bytes(content)
        (pack.parent / f"pack-{name}.pack").touch()
    shutil.copy(pack, pack.parent / "pack-alone.idx")
    assert index.missing([*ids, "1" * 40]) == ["1" * 40]
    pack.with_suffix(".pack").unlink()
    assert index.missing(ids) == ids
    shutil.rmtree(repository.path / "objects")
    assert index.missing(ids) == ids
