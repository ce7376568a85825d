"""Whether an object is there, asked of the files that git itself makes."""

import os
import shutil
from pathlib import Path

import pytest

from cachew.mirrors.objects import ObjectIndex
from tests.functional import repositories
from tests.functional.repositories import Repository


def packed(path: Path, object_format: str = "sha1") -> tuple[Repository, ObjectIndex, list[str]]:
    """Make a repository of one pack, its index, and the ids of all its objects."""
    repository = repositories.make_repository(path, commits=30, object_format=object_format)
    repository.git("repack", "-adq")
    ids = repository.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)").split()
    return repository, ObjectIndex(directory=path, object_format=object_format), ids


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


def test_a_large_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large index is mapped and found in like a small one; closing it gives its descriptor back."""
    monkeypatch.setattr("cachew.mirrors.objects._SMALL", 0)
    _, index, ids = packed(tmp_path / "repo.git")
    before = len(os.listdir("/proc/self/fd"))
    assert index.missing(ids) == []
    assert len(os.listdir("/proc/self/fd")) == before + 1
    index.close()
    assert len(os.listdir("/proc/self/fd")) == before


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
