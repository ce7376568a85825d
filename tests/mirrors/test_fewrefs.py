"""Fetches for which git is told of a few of the refs."""

from pathlib import Path

import pytest_twisted

from cachew.mirrors.fewrefs import few_refs, remove_left
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.repository import Repository
from tests.functional import repositories

FILE = {"GIT_ALLOW_PROTOCOL": "file"}


@pytest_twisted.ensureDeferred
async def test_what_comes_is_in_the_mirror(runner: GitRunner, tmp_path: Path) -> None:
    """Objects fetched so are the mirror's, its refs and files stay, and of the directory nothing is left."""
    upstream = repositories.make_repository(tmp_path / "upstream.git", commits=3)
    repository = Repository(directory=tmp_path / "repo.git", object_format="sha1", git=runner)
    await repository.create("http://git.example/org/repo")
    url, old = f"file://{upstream.path}", upstream.commit()
    await repository.intake.fetch_objects(url, [old], FILE)
    repositories.push_commit(upstream)
    before = sorted(path.name for path in repository.directory.iterdir())
    await repository.intake.fetch_objects(url, [upstream.commit()], FILE, near=[old])
    assert repository.objects.missing([upstream.commit()]) == []
    assert await repository.history.connected([upstream.commit()])
    assert sorted(path.name for path in repository.directory.iterdir()) == before
    assert repositories.Repository(repository.directory).git("for-each-ref") == ""


@pytest_twisted.ensureDeferred
async def test_a_history_that_becomes_shallow_meanwhile(runner: GitRunner, tmp_path: Path) -> None:
    """Where the upstream's history is cut off now is written down in the mirror."""
    whole = repositories.make_repository(tmp_path / "whole.git", commits=3)
    repository = Repository(directory=tmp_path / "repo.git", object_format="sha1", git=runner)
    await repository.create("http://git.example/org/repo")
    old = whole.commit()
    await repository.intake.fetch_objects(f"file://{whole.path}", [old], FILE)
    for _ in range(3):
        repositories.push_commit(whole)
    cut, tip = tmp_path / "cut.git", whole.commit()
    whole.git("clone", "-q", "--bare", "--depth=1", f"file://{whole.path}", str(cut))
    await repository.intake.fetch_objects(f"file://{cut}", [tip], FILE, near=[old])
    assert repository.shallow() == (tip,)
    assert not (repository.directory / "shallow").is_symlink()


def test_what_a_killed_server_leaves(tmp_path: Path) -> None:
    """Such a directory is removed, what it leads to is not."""
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "kept").touch()
    with few_refs(tmp_path, ["1" * 40]) as place:
        assert (place / "objects" / "kept").exists()
        remove_left(tmp_path)
        assert not place.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["objects"]
    assert (tmp_path / "objects" / "kept").exists()
