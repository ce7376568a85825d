"""Commits that are read out of packs."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.task import Clock

from cachew.mirrors.mirroredobjects import MirroredObjects
from cachew.mirrors.objectindex import ObjectIndex
from cachew.mirrors.packcommits import _patched
from cachew.mirrors.packindex import OpenIndexes
from tests.functional import repositories
from tests.functional.repositories import Repository


def index_of(repository: Repository, object_format: str = "sha1") -> ObjectIndex:
    return ObjectIndex(directory=repository.path, object_format=object_format, opened=OpenIndexes())


def packed(repository: Repository) -> Repository:
    """Put its objects into one pack, none as a delta."""
    repository.git("repack", "-adfq", "--window=0")
    return repository


def newest(repository: Repository, count: int) -> set[str]:
    return set(repository.git("rev-list", f"--max-count={count}", "main").split())


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
@pytest.mark.parametrize("most", [1, 5, 100])
def test_the_last_commits(tmp_path: Path, object_format: str, most: int) -> None:
    """They are those that git names, no more than are asked for, down to the first."""
    repository = packed(repositories.make_repository(tmp_path / "repo", commits=12, object_format=object_format))
    objects = index_of(repository, object_format)
    assert objects.ancestors([repository.commit()], most) == newest(repository, most)
    objects.close()


@pytest.mark.parametrize("by_offset", ["true", "false"])
@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_commits_that_are_stored_as_deltas(tmp_path: Path, object_format: str, by_offset: str) -> None:
    """They are read like others, whether a delta says how far before or by which name what it is one of is stored."""
    repository = repositories.make_repository(tmp_path / "repo", commits=0, object_format=object_format)
    for number in range(6):
        words = "".join(f"{line * line:x}\n" for line in range(200))
        repositories.push_commit(repository, "main", f"{number} {words}")
    repository.git("-c", f"repack.useDeltaBaseOffset={by_offset}", "repack", "-adfq")
    (pack,) = (repository.path / "objects" / "pack").glob("*.idx")
    told = repository.git("verify-pack", "-v", str(pack)).splitlines()
    assert sum(len(line.split()) == 7 and line.split()[1] == "commit" for line in told) >= 4
    objects = index_of(repository, object_format)
    assert objects.ancestors([repository.commit()], 100) == newest(repository, 100)
    objects.close()


@pytest.mark.parametrize("delta", [b"\x03", b"\x03\x05\x91", b"\x03\x05\x02abc", b"\x03\x05\x90\x09"])
def test_a_delta_that_makes_no_sense(delta: bytes) -> None:
    """It is refused, whatever it lacks."""
    with pytest.raises(IndexError):
        _patched(b"abc", [delta])


def test_what_follows_soon_on_what_somebody_has(tmp_path: Path) -> None:
    """It is looked for among sixteen commits; many wants and a mirror that is not there are no reason to look."""
    repository = packed(repositories.make_repository(tmp_path / "repo", commits=17))
    index, tip = index_of(repository), repository.commit()
    place = SimpleNamespace(found=SimpleNamespace(objects=index))
    objects = MirroredObjects(life=cast(Any, None), place=cast(Any, place), refs=cast(Any, None), reactor=Clock())
    near, far = repository.git("rev-parse", "main~15", "main~16").split()
    assert [objects.follow_soon([tip], [tip, one]) for one in (near, far)] == [True, False]
    assert not objects.follow_soon([near], [tip]) and not objects.follow_soon([tip] * 16, [tip])
    index.close()
    place.found = cast(Any, None)
    assert not objects.follow_soon([tip], [tip])


def test_nothing_is_read_beyond_what_is_looked_for(tmp_path: Path) -> None:
    """The last ten of a long history cost what ten cost."""
    repository = packed(repositories.make_repository(tmp_path / "repo", commits=12))
    objects, tip = index_of(repository), repository.commit()
    third, last = repository.git("rev-parse", "main~2"), repository.git("rev-parse", "main~11")
    assert objects.ancestors([tip], 100, until=[third]) == newest(repository, 3)
    assert objects.ancestors([tip], 100, until=[tip]) == {tip}
    assert objects.ancestors([tip], 100, until=[third, last]) == newest(repository, 12)
    objects.close()


def test_a_merge(tmp_path: Path) -> None:
    """All parents of a commit are followed, in several packs."""
    repository = packed(repositories.make_repository(tmp_path / "repo", commits=3))
    first = repository.commit()
    repositories.push_commit(repository, "main", "one")
    tree = repository.git("rev-parse", "main^{tree}")
    identity = ("-c", "user.name=A", "-c", "user.email=a@git.example")
    merge = repository.git(*identity, "commit-tree", "-p", "main", "-p", first, "-m", "merge", tree)
    repository.git("update-ref", "refs/heads/main", merge)
    repository.git("repack", "-q", "-d", "--window=0")
    objects = index_of(repository)
    assert objects.ancestors([merge], 100) == newest(repository, 100)
    objects.close()


@pytest.mark.parametrize("damage", ["content", "gone", "short"])
def test_what_is_damaged_leads_nowhere(tmp_path: Path, damage: str) -> None:
    """A commit that is not what it is called has no parents that anybody hears of."""
    repository = packed(repositories.make_repository(tmp_path / "repo", commits=1))
    (pack,) = (repository.path / "objects" / "pack").glob("*.pack")
    content = pack.read_bytes()
    pack.chmod(0o644)
    spoiled = {"content": content[:12] + bytes(255 - byte for byte in content[12:]), "short": content[:12], "gone": b""}
    pack.write_bytes(spoiled[damage])
    objects = index_of(repository)
    assert objects.ancestors([repository.refs()["refs/heads/main"]], 100) == {repository.refs()["refs/heads/main"]}
    objects.close()


def test_what_is_no_commit_here(tmp_path: Path) -> None:
    """Objects that are absent, or no commits, have no ancestors but themselves."""
    repository = packed(repositories.make_repository(tmp_path / "repo", commits=2))
    tree = repository.git("rev-parse", "main^{tree}")
    objects = index_of(repository)
    for oid in (tree, "1" * 40, "no id"):
        assert objects.ancestors([oid], 100) == {oid}
    objects.close()
