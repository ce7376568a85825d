"""Refs that are moved in a repository of real git: names of all kinds, and very many at once."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.refs import RefState, change, of_listing
from cachew.mirrors.repository import Repository
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.process import Processes
from cachew.upstream.listing import Listing, RemoteRef
from tests.mirrors.test_repository import AUTHOR, DAY, made


def names(*words: bytes) -> list[str]:
    return [f"refs/heads/{word.decode(errors='surrogateescape')}" for word in words]


@pytest_twisted.ensureDeferred
async def test_odd_names_come_and_go(runner: GitRunner, tmp_path: Path) -> None:
    """Names with any bytes that git allows are written and read back, HEAD's too; directories take a ref's place."""
    repository, _, commit = await made(runner, tmp_path / "repo.git")
    odd = names(b"caf\xe9", "a\u2028b".encode(), "a\u0085b".encode(), b"top", b"q'\"$x", "\u00e9".encode())
    state = RefState(dict.fromkeys(odd, commit), odd[0])
    await repository.ref_updates.apply(change(RefState(), state), 0.0)
    assert of_listing(await repository.refs.read()) == state
    below = RefState(dict.fromkeys(names(b"top/one", b"top/two"), commit), "refs/heads/top/one")
    await repository.ref_updates.apply(change(state, below), 0.0)
    assert of_listing(await repository.refs.read()) == below
    await repository.ref_updates.apply(change(below, RefState(state.refs, commit)), 0.0)
    assert of_listing(await repository.refs.read()) == RefState(state.refs, commit)


@pytest_twisted.ensureDeferred
async def test_new_refs_in_one_file(runner: GitRunner, tmp_path: Path) -> None:
    """A listing written at once is what git reads; a HEAD that git would not take is left alone."""
    repository, plain, commit = await made(runner, tmp_path / "repo.git")
    refs = tuple(RemoteRef(name, commit) for name in names(b"z", b"caf\xe9", b"a/b", b"a.b"))
    await repository.ref_updates.write_new(Listing(refs=(RemoteRef("HEAD", commit, "refs/heads/x..y"), *refs)))
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
    await repository.ref_updates.apply(change(RefState(), few), 0.0)
    odd = names(b"caf\xe9", "a\u2028b".encode(), b"top/below")
    many = {f"refs/heads/b{number}": second for number in range(3000)}
    tags = {f"refs/tags/t{number}": tag for number in range(100)}
    wanted = RefState(many | tags | dict.fromkeys(odd, commit) | {"refs/heads/main": second}, "refs/heads/main")
    await repository.ref_updates.apply(change(few, wanted), 0.0)
    assert of_listing(await repository.refs.read()) == wanted
    assert {found.name for found in loose(path)} <= {"main", "v1", commit, tag}
    assert plain.git("rev-parse", "t99^{}").strip() == commit
    again = RefState(dict.fromkeys(many, commit) | {"refs/heads/main": commit}, "refs/heads/main")
    await repository.ref_updates.apply(change(wanted, again), 0.0)
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
    await repository.ref_updates.apply(change(RefState(), full), 0.0)
    # These are loose, one of them packed as well, with a value of long ago.
    second = plain.git(*AUTHOR, "commit-tree", f"{commit}^{{tree}}", "-m", "second").strip()
    loose_too = {"refs/heads/b5": second, "refs/heads/loose/below": second}
    for name, value in loose_too.items():
        plain.git("update-ref", name, value)
    full = RefState({**full.refs, **loose_too}, full.head)
    assert of_listing(await repository.refs.read()) == full
    scripts = Scripts(runner.processes, told)
    watched = Repository(directory=path, object_format="sha1", git=replace(runner, processes=cast(Processes, scripts)))
    await watched.ref_updates.apply(change(full, RefState(kept, "refs/heads/main")), 0.0)
    assert of_listing(await repository.refs.read()) == RefState(kept, "refs/heads/main")
    assert sorted(told) == sorted(f"delete {name}" for name in (*loose_too, "refs/tags/v1"))
    assert loose(path) == [] and plain.git("for-each-ref", "refs/cachew").split()[0] == second
    assert plain.git("rev-parse", "refs/tags/t7^{}").strip() == commit
    plain.git("fsck", "--strict")
    await repository.ref_updates.apply(change(RefState(kept, "refs/heads/main"), full), 0.0)
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
            await repository.ref_updates.apply(change(RefState(), RefState(many | {"refs/heads/bad": bad})), 0.0)
        assert of_listing(await repository.refs.read()).refs == {}
    await repository.ref_updates.apply(change(RefState(), RefState(many | {"refs/tags/tree": tree})), 0.0)
    assert len(of_listing(await repository.refs.read()).refs) == 1001


@pytest_twisted.ensureDeferred
async def test_very_many_refs_while_git_holds_the_lock(runner: GitRunner, tmp_path: Path) -> None:
    """Where another process is writing packed-refs the refs come as files, and its lock stays."""
    path = tmp_path / "repo.git"
    repository, _, commit = await made(runner, path)
    (path / "packed-refs.lock").touch()
    many = RefState({f"refs/heads/b{number}": commit for number in range(1000)})
    await repository.ref_updates.apply(change(RefState(), many), 0.0)
    assert of_listing(await repository.refs.read()).refs == many.refs
    assert (path / "packed-refs.lock").exists() and len(loose(path)) == 1000
