"""Git at work on one repository."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.gitwork import GitWork
from cachew.mirrors.ledger import Ledger
from cachew.mirrors.repository import Repository
from cachew.plumbing.child import Command
from cachew.plumbing.errors import CorruptObject, ProcessFailed, ProcessTimedOut
from tests.fakes.inlinethreads import InlineThreads, P, T
from tests.fakes.mirrorgit import FakeGit, git_settings, oid
from tests.fakes.settled import failure_of, value_of


def test_leftovers_stay_while_another_writes(tmp_path: Path) -> None:
    """What a failed command left is removed when no other command writes there: its files look just the same."""
    git = FakeGit()
    fake: Any = git
    threads: Any = InlineThreads()
    runner = GitRunner(processes=fake, commands=git_settings(tmp_path), threads=threads)
    repository = Repository(directory=tmp_path / "repo.git", object_format="sha1", git=runner)
    value_of(Deferred.fromCoroutine(repository.create("http://git.example/org/repo")))
    git.holding = {"fetch", "multi-pack-index"}
    fetch = Deferred.fromCoroutine(repository.intake.fetch_objects("http://git.example/", [oid("1")], {}))
    index = Deferred.fromCoroutine(repository.packs.index())
    temporary = repository.directory / "objects/pack/tmp_pack_x"
    temporary.touch()
    git.held.pop(1).errback(ProcessFailed("git multi-pack-index", 1, "killed"))
    assert isinstance(failure_of(index), ProcessFailed) and temporary.exists()
    git.release()
    value_of(fetch)
    assert not temporary.exists()


class FailingThreads(InlineThreads):
    """Runs blocking work at once, or fails instead."""

    failure: OSError | None = None

    async def __call__(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self.failure is not None:
            raise self.failure
        return await super().__call__(function, *args, **kwargs)


class Worked:
    """A directory in which a fake git works."""

    def __init__(self, directory: Path) -> None:
        self.git, self.told, self.threads = FakeGit(), list[ProcessFailed | CorruptObject](), FailingThreads()
        fake: Any = self.git
        inline: Any = self.threads
        self.runner = GitRunner(processes=fake, commands=git_settings(directory), threads=inline)
        ledger = Ledger(directory=directory, object_format="sha1")
        self.work = GitWork(directory=directory, ledger=ledger, git=self.runner, failed=self.told.append)
        self.command = self.runner.commands.git(directory, "pack-refs", "--all")
        for name in ("config", "HEAD", "packed-refs"):
            (directory / name).write_text(name)

    def write(self) -> Deferred[None]:
        """Run a command that writes."""
        return Deferred.fromCoroutine(self.work.write(self.command, seconds=1.0))


@pytest.fixture
def worked(tmp_path: Path) -> Worked:
    """A directory of its own."""
    return Worked(tmp_path)


@pytest.mark.parametrize(
    ("failure", "heard"),
    [
        (ProcessFailed("git pack-refs", 128, "fatal: bad ref"), True),
        (ProcessFailed("git pack-refs", None, "killed"), False),
        (ProcessFailed("git pack-refs", 127, "no such file"), False),
        (ProcessTimedOut("git pack-refs", None, ""), False),
        (ProcessFailed("git pack-refs", 128, "fatal: shallow file has changed since we read it"), False),
    ],
)
def test_what_is_taken_for_a_sign_of_damage(worked: Worked, failure: ProcessFailed, heard: bool) -> None:
    """Git's own verdict is; that it was killed, could not be started or met another git is not."""
    worked.git.failures["pack-refs"] = [failure]
    assert failure_of(worked.write()) is failure
    assert worked.told == ([failure] if heard else [])


class Watched:
    """Takes note of the room that a command is given."""

    def __init__(self) -> None:
        self.room: Callable[[], bool] | None = None

    async def run(self, command: Command, *, room: Callable[[], bool] | None, **_: Any) -> None:
        """Run at once."""
        self.room = room


@pytest.mark.parametrize("waits", [True, False])
def test_what_comes_from_upstreams_leaves_some_of_the_disk(tmp_path: Path, waits: bool) -> None:
    """It has so much room; what is made of what is here already is looked after by nobody."""
    watched = Watched()
    threads, fake = cast(Any, InlineThreads()), cast(Any, watched)
    runner = GitRunner(processes=fake, commands=git_settings(tmp_path), threads=threads, min_free=1 << 60)
    ledger = Ledger(directory=tmp_path, object_format="sha1")
    work = GitWork(directory=tmp_path, ledger=ledger, git=runner, failed=lambda failure: None)
    command = runner.commands.git(tmp_path, "fetch")
    value_of(Deferred.fromCoroutine(work.write(command, seconds=1.0, waits=waits)))
    assert (watched.room is not None) == waits
    assert watched.room is None or watched.room(), "nothing has been taken yet"


def test_leftovers_that_cannot_be_removed_are_removed_later(worked: Worked, tmp_path: Path) -> None:
    """On a disk that was read-only for a while; what is told is why git failed."""
    failure = ProcessFailed("git pack-refs", 128, "fatal: read-only file system")
    temporary = tmp_path / "objects/pack/tmp_pack_x"
    temporary.mkdir(parents=True)
    worked.git.failures["pack-refs"] = [failure]
    worked.threads.failure = OSError(errno.EROFS, os.strerror(errno.EROFS))
    assert failure_of(worked.write()) is failure and temporary.exists()
    value_of(worked.write())
    assert temporary.exists()
    worked.threads.failure = None
    value_of(worked.write())
    assert not temporary.exists()


def test_what_others_write_is_noticed(worked: Worked, tmp_path: Path) -> None:
    """Whoever writes to the configuration, HEAD or the refs is noticed, but for git itself while it works."""
    assert worked.work.ledger.touched() == ""
    (tmp_path / "HEAD").write_text("another")
    assert worked.work.ledger.touched() == "HEAD"
    worked.work.ledger.plain_files.accept()
    assert worked.work.ledger.touched() == ""
    worked.git.holding = {"pack-refs"}
    under_way = worked.write()
    (tmp_path / "packed-refs").write_text("others")
    assert worked.work.ledger.writers and worked.work.ledger.touched() == ""
    worked.git.release()
    value_of(under_way)
    assert not worked.work.ledger.writers and worked.work.ledger.touched() == ""
    before = worked.work.ledger.plain_files.stamps()
    (tmp_path / "config").write_text("spoilt")
    worked.work.ledger.plain_files.accept(before)
    assert worked.work.ledger.touched() == "config"


def test_others_have_their_turn_while_many_objects_are_looked_up(worked: Worked) -> None:
    """What is missing of very many is told in their order, a thousand at a time."""
    asked: list[int] = []

    class Objects:
        def missing(self, oids: list[str]) -> list[str]:
            asked.append(len(oids))
            return [oid for oid in oids if oid.endswith("7")]

    objects: Any = Objects()
    many = [str(number) for number in range(2500)]
    for oids in (many[:10], many):
        found = value_of(Deferred.fromCoroutine(worked.work.missing(objects, oids)))
        assert found == [oid for oid in oids if oid.endswith("7")]
    assert asked == [10, 1000, 1000, 500]
