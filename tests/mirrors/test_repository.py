"""A bare repository and real git: names of all kinds, what killed commands leave, and what a repack drops."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.leftovers import remove_leftovers
from cachew.mirrors.refs import RefState, change, of_listing
from cachew.mirrors.repository import Repository
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.process import Processes
from cachew.upstream.listing import Listing, RemoteRef
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


def names(*words: bytes) -> list[str]:
    return [f"refs/heads/{word.decode(errors='surrogateescape')}" for word in words]


@pytest_twisted.ensureDeferred
async def test_odd_names_come_and_go(runner: GitRunner, tmp_path: Path) -> None:
    """Names with any bytes that git allows are written and read back, HEAD's too; directories take a ref's place."""
    repository, _, commit = await made(runner, tmp_path / "repo.git")
    odd = names(b"caf\xe9", "a\u2028b".encode(), "a\u0085b".encode(), b"top", b"q'\"$x", "\u00e9".encode())
    state = RefState(dict.fromkeys(odd, commit), odd[0])
    await repository.refs.apply(change(RefState(), state), 0.0)
    assert of_listing(await repository.refs.read()) == state
    below = RefState(dict.fromkeys(names(b"top/one", b"top/two"), commit), "refs/heads/top/one")
    await repository.refs.apply(change(state, below), 0.0)
    assert of_listing(await repository.refs.read()) == below
    await repository.refs.apply(change(below, RefState(state.refs, commit)), 0.0)
    assert of_listing(await repository.refs.read()) == RefState(state.refs, commit)


@pytest_twisted.ensureDeferred
async def test_new_refs_in_one_file(runner: GitRunner, tmp_path: Path) -> None:
    """A listing written at once is what git reads; a HEAD that git would not take is left alone."""
    repository, plain, commit = await made(runner, tmp_path / "repo.git")
    refs = tuple(RemoteRef(name, commit) for name in names(b"z", b"caf\xe9", b"a/b", b"a.b"))
    await repository.refs.write_new(Listing(refs=(RemoteRef("HEAD", commit, "refs/heads/x..y"), *refs)))
    listed = await repository.refs.read()
    assert {ref.name for ref in listed.refs} == {"HEAD", *(ref.name for ref in refs)}
    plain.git("fsck", "--strict")


class Scripts:
    """Runs git, and notes what ``update-ref`` is told."""

    def __init__(self, processes: Processes, told: list[str]) -> None:
        self._processes, self._told = processes, told

    async def run(self, command: Command, *, stdin: bytes = b"", **more: Any) -> Completed:
        """Run a command."""
        if "update-ref" in command.argv:
            self._told += [part for part in os.fsdecode(stdin).split("\0") if part]
        return await self._processes.run(command, stdin=stdin, **more)


@pytest_twisted.ensureDeferred
async def test_refs_are_read_without_a_look_at_each_object(runner: GitRunner, tmp_path: Path) -> None:
    """Where nobody asks what tags lead to, refs are listed though not one of their objects can be opened."""
    repository, plain, commit = await made(runner, tmp_path / "repo.git")
    plain.git(*AUTHOR, "tag", "-a", "-m", "a tag", "v1", commit)
    await repository.refs.apply(change(RefState(), RefState({"refs/heads/main": commit}, "refs/heads/main")), 0.0)
    whole = of_listing(await repository.refs.read())
    (tmp_path / "repo.git" / "objects").rename(tmp_path / "objects")
    (tmp_path / "repo.git" / "objects").mkdir()
    assert of_listing(await repository.refs.read(peeled=False)) == whole
    assert whole.refs == {"refs/heads/main": commit, "refs/tags/v1": plain.git("rev-parse", "v1").strip()}


def loose(path: Path) -> list[Path]:
    """Return the files below ``refs``."""
    return [found for found in (path / "refs").rglob("*") if found.is_file()]


@pytest_twisted.ensureDeferred
async def test_very_many_refs_are_one_file(runner: GitRunner, tmp_path: Path) -> None:
    """Thousands of refs that come at once are written into packed-refs, tags with what they lead to; others move."""
    path = tmp_path / "repo.git"
    repository, plain, commit = await made(runner, path)
    plain.git(*AUTHOR, "tag", "-a", "-m", "a tag", "v1", commit)
    tag = plain.git("rev-parse", "v1").strip()
    second = plain.git(*AUTHOR, "commit-tree", f"{commit}^{{tree}}", "-m", "second").strip()
    few = RefState({"refs/heads/main": commit, "refs/heads/top": commit, "refs/tags/v1": tag}, "refs/heads/main")
    await repository.refs.apply(change(RefState(), few), 0.0)
    odd = names(b"caf\xe9", "a\u2028b".encode(), b"top/below")
    many = {f"refs/heads/b{number}": second for number in range(3000)}
    tags = {f"refs/tags/t{number}": tag for number in range(100)}
    wanted = RefState(many | tags | dict.fromkeys(odd, commit) | {"refs/heads/main": second}, "refs/heads/main")
    await repository.refs.apply(change(few, wanted), 0.0)
    assert of_listing(await repository.refs.read()) == wanted
    assert {found.name for found in loose(path)} <= {"main", "v1", commit, tag}
    assert plain.git("rev-parse", "t99^{}").strip() == commit
    again = RefState(dict.fromkeys(many, commit) | {"refs/heads/main": commit}, "refs/heads/main")
    await repository.refs.apply(change(wanted, again), 0.0)
    assert of_listing(await repository.refs.read()) == again
    plain.git("pack-refs", "--all")
    assert of_listing(await repository.refs.read()) == again
    plain.git("fsck", "--strict")


@pytest_twisted.ensureDeferred
async def test_very_many_refs_that_go_at_once_go_in_one_write(runner: GitRunner, tmp_path: Path) -> None:
    """Thousands of refs that are deleted leave packed-refs together, loose ones too; what was theirs alone is kept."""
    path, told = tmp_path / "repo.git", list[str]()
    repository, plain, commit = await made(runner, path)
    plain.git(*AUTHOR, "tag", "-a", "-m", "a tag", "v1", commit)
    tag = plain.git("rev-parse", "v1").strip()
    many = {f"refs/heads/b{number}": commit for number in range(3000)}
    tags = {f"refs/tags/t{number}": tag for number in range(100)}
    kept = {"refs/heads/main": commit, "refs/tags/t7": tag}
    odd = dict.fromkeys(names(b"caf\xe9", "a\u2028b".encode()), commit)
    full = RefState(many | tags | odd | kept | {"refs/tags/v1": tag}, "refs/heads/main")
    await repository.refs.apply(change(RefState(), full), 0.0)
    # These are loose, one of them packed as well, with a value of long ago.
    second = plain.git(*AUTHOR, "commit-tree", f"{commit}^{{tree}}", "-m", "second").strip()
    loose_too = {"refs/heads/b5": second, "refs/heads/loose/below": second}
    for name, value in loose_too.items():
        plain.git("update-ref", name, value)
    full = RefState({**full.refs, **loose_too}, full.head)
    assert of_listing(await repository.refs.read()) == full
    scripts = Scripts(runner.processes, told)
    watched = Repository(directory=path, object_format="sha1", git=replace(runner, processes=cast(Processes, scripts)))
    await watched.refs.apply(change(full, RefState(kept, "refs/heads/main")), 0.0)
    assert of_listing(await repository.refs.read()) == RefState(kept, "refs/heads/main")
    assert sorted(told) == sorted(f"delete {name}" for name in (*loose_too, "refs/tags/v1"))
    assert loose(path) == [] and plain.git("for-each-ref", "refs/cachew").split()[0] == second
    assert plain.git("rev-parse", "refs/tags/t7^{}").strip() == commit
    plain.git("fsck", "--strict")
    await repository.refs.apply(change(RefState(kept, "refs/heads/main"), full), 0.0)
    assert of_listing(await repository.refs.read()) == full


@pytest_twisted.ensureDeferred
async def test_very_many_kept_tips_expire_in_one_write(runner: GitRunner, tmp_path: Path) -> None:
    """Hidden refs are deleted as the others are."""
    path, told = tmp_path / "repo.git", list[str]()
    _, plain, commit = await made(runner, path)
    hidden = "".join(f"{commit} refs/cachew/1/{number:040x}\n" for number in range(2000))
    (path / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted \n{hidden}")
    scripts = Scripts(runner.processes, told)
    watched = Repository(directory=path, object_format="sha1", git=replace(runner, processes=cast(Processes, scripts)))
    assert await watched.refs.expire(30 * DAY, days=7) == 2000
    assert told == [] and plain.refs() == {}


@pytest_twisted.ensureDeferred
async def test_very_many_refs_of_which_one_is_bad(runner: GitRunner, tmp_path: Path) -> None:
    """A branch that names no commit, or nothing that is here, is refused as git would, and nothing is written."""
    repository, plain, commit = await made(runner, tmp_path / "repo.git")
    tree = plain.git("rev-parse", f"{commit}^{{tree}}").strip()
    many = {f"refs/heads/b{number}": commit for number in range(1000)}
    for bad in (tree, "1" * 40):
        with pytest.raises(ProcessFailed, match="refs/heads/bad"):
            await repository.refs.apply(change(RefState(), RefState(many | {"refs/heads/bad": bad})), 0.0)
        assert of_listing(await repository.refs.read()).refs == {}
    await repository.refs.apply(change(RefState(), RefState(many | {"refs/tags/tree": tree})), 0.0)
    assert len(of_listing(await repository.refs.read()).refs) == 1001


@pytest_twisted.ensureDeferred
async def test_very_many_refs_while_git_holds_the_lock(runner: GitRunner, tmp_path: Path) -> None:
    """Where another process is writing packed-refs the refs come as files, and its lock stays."""
    path = tmp_path / "repo.git"
    repository, _, commit = await made(runner, path)
    (path / "packed-refs.lock").touch()
    many = RefState({f"refs/heads/b{number}": commit for number in range(1000)})
    await repository.refs.apply(change(RefState(), many), 0.0)
    assert of_listing(await repository.refs.read()).refs == many.refs
    assert (path / "packed-refs.lock").exists() and len(loose(path)) == 1000


@pytest_twisted.ensureDeferred
async def test_what_lost_its_ref_stays_for_its_days(runner: GitRunner, tmp_path: Path) -> None:
    """An abandoned commit survives repacks until its days are over, and is then gone from the packs and the graph."""
    repository, plain, first = await made(runner, tmp_path / "repo.git")
    second = plain.git(*AUTHOR, "commit-tree", f"{first}^{{tree}}", "-m", "second").strip()
    before, after = RefState({"refs/heads/main": first}), RefState({"refs/heads/main": second})
    await repository.refs.apply(change(RefState(), before), 0.0)
    await repository.packs.repack(full=True)
    await repository.refs.apply(change(before, after), 10 * DAY)
    await repository.refs.keep([], 10 * DAY)
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
    await repository.refs.apply(change(RefState(), state), 0.0)
    with pytest.raises(ProcessFailed):
        await repository.refs.apply(change(state, RefState()), 0.0)
    await repository.refs.apply(change(state, RefState()), 0.0)
    assert of_listing(await repository.refs.read()).refs == {}


def test_leftovers_and_nothing_else(tmp_path: Path) -> None:
    """Locks and temporary files go; refs, objects and LFS objects stay, whatever their names."""
    stray = [
        "config.lock", "packed-refs.new", "refs/heads/a/main.lock", "objects/pack/tmp_pack_x", "objects/pack/.tmp-1-x",
        "objects/pack/pack-1.keep", "objects/pack/multi-pack-index.lock", "objects/ab/tmp_obj_x",
        "objects/info/commit-graphs/tmp_graph_x",
    ]  # fmt: skip
    real = [
        "config", "packed-refs", "HEAD", "refs/heads/tmp_x", "refs/heads/.tmp-x", "refs/heads/x.keep", "refs/tags/new",
        "objects/pack/pack-1.pack", "objects/pack/pack-1.idx", "objects/ab/" + "c" * 38, "objects/info/packs",
        "lfs/objects/ab/tmp_x", "lfs/x.lock",
    ]  # fmt: skip
    for name in stray + real:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted(real)
    remove_leftovers(tmp_path / "nowhere")


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
    await repository.refs.apply(change(state, away), 10 * DAY)
    assert of_listing(await repository.refs.read()) == away
    assert await repository.disconnected() is None


@pytest_twisted.ensureDeferred
async def test_a_tip_without_its_history(runner: GitRunner, tmp_path: Path) -> None:
    """That a commit is there says nothing of what it reaches."""
    repository, plain, commit = await made(runner, tmp_path / "bare.git")
    assert await repository.history.connected([commit])
    text = f"tree {'1' * 40}\nauthor A <a@example> 0 +0000\ncommitter A <a@example> 0 +0000\n\nm\n"
    broken = plain.git("hash-object", "-t", "commit", "-w", "--stdin", "--literally", stdin=text.encode())
    assert repository.objects.missing([broken]) == []
    assert not await repository.history.connected([commit, broken])
