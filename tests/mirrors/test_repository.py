"""A bare repository and real git: what killed commands leave, and what a repack drops."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.refs import RefState, change, of_listing
from cachew.mirrors.repository import Repository
from cachew.plumbing.errors import ProcessFailed
from tests.functional import repositories
from tests.functional.oddities import odd_repository

DAY = 86400.0
AUTHOR = ("-c", "user.name=A", "-c", "user.email=a@example")


async def made(runner: GitRunner, path: Path) -> tuple[Repository, repositories.Repository, str]:
    """Make a bare repository with one commit, which no ref names."""
    repository = Repository(directory=path, object_format="sha1", git=runner)
    await repository.create("http://git.example/org/repo")
    plain = repositories.Repository(path)
    tree = plain.git("hash-object", "-t", "tree", "-w", "--stdin").strip()
    commit = plain.git(*AUTHOR, "commit-tree", tree, "-m", "first").strip()
    return repository, plain, commit


@pytest_twisted.ensureDeferred
async def test_what_lost_its_ref_stays_for_its_days(runner: GitRunner, tmp_path: Path) -> None:
    """An abandoned commit survives repacks until its days are over, and is then gone from the packs and the graph."""
    repository, plain, first = await made(runner, tmp_path / "repo.git")
    second = plain.git(*AUTHOR, "commit-tree", f"{first}^{{tree}}", "-m", "second").strip()
    before, after = RefState({"refs/heads/main": first}), RefState({"refs/heads/main": second})
    await repository.ref_updates.apply(change(RefState(), before), 0.0)
    await repository.packs.repack(full=True)
    await repository.ref_updates.apply(change(before, after), 10 * DAY)
    await repository.ref_updates.keep([], 10 * DAY)
    for days, missing in ((17, []), (18, [first])):
        expired = await repository.refs.expire(days * DAY, days=7)
        await repository.packs.repack(full=True)
        plain.git("prune", "--expire=now")
        assert expired == len(missing) and repository.objects.missing([first, second]) == missing
        assert await repository.disconnected() is None and not repository.ledger.unverified()
    assert repository.packs.count() == 1 and repository.packs.size() > 0


@pytest_twisted.ensureDeferred
async def test_a_killed_git_leaves_no_lock(runner: GitRunner, tmp_path: Path) -> None:
    """A lock that a killed command has left fails one command, not all later ones."""
    repository, _, commit = await made(runner, tmp_path / "repo.git")
    state = RefState({"refs/heads/main": commit})
    (repository.directory / "packed-refs.lock").touch()
    (repository.directory / "packed-refs.new").touch()
    await repository.ref_updates.apply(change(RefState(), state), 0.0)
    with pytest.raises(ProcessFailed):
        await repository.ref_updates.apply(change(state, RefState()), 0.0)
    await repository.ref_updates.apply(change(state, RefState()), 0.0)
    assert of_listing(await repository.refs.read()).refs == {}


@pytest_twisted.ensureDeferred
async def test_what_fsck_dislikes_is_taken_and_counted(runner: GitRunner, tmp_path: Path) -> None:
    """A fetch takes every object that git takes, also what git can't be told to only warn of."""
    odd = odd_repository(tmp_path / "odd.git")
    told: Counter[str] = Counter()
    runner = replace(runner, disliked=told.update)
    repository = Repository(directory=tmp_path / "mirror.git", object_format="sha1", git=runner)
    await repository.create("http://git.example/org/repo")
    extra = {"GIT_ALLOW_PROTOCOL": "file"}
    plain = {oid for name, oid in odd.refs.items() if b"nul-in-header" not in name}
    await repository.intake.fetch_objects(f"file://{odd.path}", plain, extra)
    assert told["hasDotgit"] == 2 and told["nulInCommit"] == 1 and told["gitattributesLineLength"] == 1
    assert repository.intake.findings() == told
    await repository.intake.fetch_objects(f"file://{odd.path}", odd.refs.values(), extra)
    assert repository.objects.missing(odd.refs.values()) == []
    assert await repository.history.connected(odd.refs.values())


@pytest_twisted.ensureDeferred
async def test_many_fetches_at_once_of_a_shallow_upstream(runner: GitRunner, tmp_path: Path) -> None:
    """Each brings a commit whose parents are missing; all of them succeed, and the mirror knows where it is cut."""
    branches = [f"b{number}" for number in range(8)]
    whole = repositories.make_repository(tmp_path / "whole.git", commits=20, branches=branches)
    for branch in branches:
        repositories.push_commit(whole, branch, f"{branch} one")
        repositories.push_commit(whole, branch, f"{branch} two")
    cut = tmp_path / "cut.git"
    whole.git("clone", "-q", "--bare", "--no-single-branch", "--depth=1", f"file://{whole.path}", str(cut))
    repository = Repository(directory=tmp_path / "repo.git", object_format="sha1", git=runner)
    await repository.create("http://git.example/org/repo")
    tips = [repositories.Repository(cut).git("rev-parse", branch).strip() for branch in branches]
    extra = {"GIT_ALLOW_PROTOCOL": "file"}
    fetches = [Deferred.fromCoroutine(repository.intake.fetch_objects(f"file://{cut}", [tip], extra)) for tip in tips]
    await gatherResults(fetches)
    assert sorted(repository.shallow()) == sorted(tips) and repository.objects.missing(tips) == []
    assert not list((tmp_path / "repo.git").glob("*.lock"))


@pytest_twisted.ensureDeferred
async def test_an_upstream_that_is_shallow_no_more(runner: GitRunner, tmp_path: Path) -> None:
    """With the next fetch its history goes as far here as there, and no further when it becomes shallow again."""
    whole = repositories.make_repository(tmp_path / "whole.git", commits=6)
    cut = repositories.Repository(tmp_path / "cut.git")
    whole.git("clone", "-q", "--bare", "--depth=2", f"file://{whole.path}", str(cut.path))
    repository = Repository(directory=tmp_path / "repo.git", object_format="sha1", git=runner)
    await repository.create("http://git.example/org/repo")
    there, here, extra = (
        f"file://{cut.path}",
        repositories.Repository(repository.directory),
        {"GIT_ALLOW_PROTOCOL": "file"},
    )

    async def followed() -> int:
        tip = whole.commit()
        await repository.intake.fetch_objects(there, [tip], extra)
        return int(here.git("rev-list", "--count", tip))

    def pushed(*words: str) -> None:
        repositories.push_commit(whole)
        cut.git("fetch", "-q", *words, f"file://{whole.path}", "+refs/heads/*:refs/heads/*")

    assert await followed() == 2 and repository.shallow()
    pushed()
    assert await followed() == 3 and repository.shallow()
    pushed("--unshallow")
    assert await followed() == int(whole.git("rev-list", "--count", "HEAD")) and not repository.shallow()
    pushed("--depth=1")
    assert await followed() == 1 and repository.shallow()


@pytest_twisted.ensureDeferred
async def test_a_commit_graph_that_would_lie_is_not_kept(runner: GitRunner, tmp_path: Path) -> None:
    """Dates beyond 2**34 or negative have no room in it: git would walk by wrong ones, a check would say damage."""
    odd = odd_repository(tmp_path / "odd.git")
    repository = Repository(directory=odd.path, object_format="sha1", git=runner)
    await repository.packs.repack(full=True)
    assert not (odd.path / "objects/info/commit-graphs").exists()
    await repository.packs.index(bitmaps=False)
    assert not (odd.path / "objects/info/commit-graphs").exists()
    assert await repository.disconnected() is None
    plain = repositories.make_repository(tmp_path / "plain.git", commits=3)
    repository = Repository(directory=plain.path, object_format="sha1", git=runner)
    await repository.packs.index(bitmaps=False)
    assert (plain.path / "objects/info/commit-graphs").exists()


@pytest_twisted.ensureDeferred
async def test_a_tip_without_its_history(runner: GitRunner, tmp_path: Path) -> None:
    """That a commit is there says nothing of what it reaches."""
    repository, plain, commit = await made(runner, tmp_path / "bare.git")
    assert await repository.history.connected([commit])
    text = f"tree {'1' * 40}\nauthor A <a@example> 0 +0000\ncommitter A <a@example> 0 +0000\n\nm\n"
    broken = plain.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=text.encode())
    assert repository.objects.missing([broken]) == []
    assert not await repository.history.connected([commit, broken])
