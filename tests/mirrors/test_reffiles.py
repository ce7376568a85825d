"""Refs that are read in a repository of real git."""

from pathlib import Path

import pytest
import pytest_twisted

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.refs import RefState, change, of_listing
from cachew.mirrors.repository import Repository
from tests.functional import repositories
from tests.mirrors.test_repository import AUTHOR, DAY, made


@pytest_twisted.ensureDeferred
async def test_refs_are_read_without_a_look_at_each_object(runner: GitRunner, tmp_path: Path) -> None:
    """Where nobody asks what tags lead to, refs are listed though not one of their objects can be opened."""
    repository, plain, commit = await made(runner, tmp_path / "repo.git")
    plain.git(*AUTHOR, "tag", "-a", "-m", "a tag", "v1", commit)
    await repository.ref_updates.apply(
        change(RefState(), RefState({"refs/heads/main": commit}, "refs/heads/main")), 0.0
    )
    whole = of_listing(await repository.refs.read())
    (tmp_path / "repo.git" / "objects").rename(tmp_path / "objects")
    (tmp_path / "repo.git" / "objects").mkdir()
    assert of_listing(await repository.refs.read(peeled=False)) == whole
    assert whole.refs == {"refs/heads/main": commit, "refs/tags/v1": plain.git("rev-parse", "v1").strip()}


@pytest.mark.parametrize("target", ["refs/meta/config", "refs/tags/v1", None])
@pytest_twisted.ensureDeferred
async def test_head_outside_of_the_branches(runner: GitRunner, tmp_path: Path, target: str | None) -> None:
    """HEAD at a tag, or at a ref that is no branch, or detached: all of it is listed, followed and no damage."""
    plain = repositories.make_repository(tmp_path / "plain.git", commits=3, tags=["v1"])
    commit = plain.commit("refs/heads/main")
    plain.git("update-ref", "refs/meta/config", commit)
    if target is None:
        plain.git("update-ref", "--no-deref", "HEAD", commit)
    else:
        plain.git("symbolic-ref", "HEAD", target)
    repository = Repository(directory=plain.path, object_format="sha1", git=runner)
    state = of_listing(await repository.refs.read())
    assert state.head_commit == commit and state.head == (target or commit)
    assert ("refs/meta/config" in state.refs) == (target == "refs/meta/config")
    assert await repository.disconnected() is None
    away = RefState({"refs/heads/main": commit}, "refs/heads/main")
    await repository.ref_updates.apply(change(state, away), 10 * DAY)
    assert of_listing(await repository.refs.read()) == away
    assert await repository.disconnected() is None
