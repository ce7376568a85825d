"""Git at work for bundles: what it is told, what it is ended for, and what its answers mean; git is played."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.child import Command, Completed
from cachew.plumbing.errors import ProcessFailed, Superseded
from cachew.plumbing.streams import PushSource, read_all
from cachew.snapshots.bundlecommands import BundleCommands
from tests.fakes.instances import only
from tests.fakes.mirrorgit import git_settings
from tests.fakes.settled import failure_of, result_of, value_of

REPOSITORY = Identity("git.example", "org/repo")


class World:
    """A mirror, and a git that writes what a test pushes."""

    def __init__(self, directory: Path) -> None:
        self.mirror = cast(Any, SimpleNamespace(directory=directory, instance=only(REPOSITORY)))
        self.stdout = PushSource(stop=self._stop)
        self.stopped = self.waited = 0
        self.exit: Deferred[None] | None = None
        self.stdin = b""
        self.ran: list[tuple[str, ...]] = []
        self.says = Completed(0, None, b"", b"")
        self.begun: list[Mapping[str, str]] = []
        self.taken: list[bytes] = []
        self.commands = BundleCommands(processes=cast(Any, self), commands=git_settings(directory))

    def _stop(self) -> None:
        self.stopped += 1

    def start(self, command: Command, *, stdin: Any) -> Any:
        """Play git."""
        self.ran.append(command.argv)
        self.stdin = result_of(read_all(stdin, 1 << 20))
        return SimpleNamespace(stdout=self.stdout, wait=self._wait)

    async def _wait(self) -> None:
        self.waited += 1
        if self.exit is not None:
            await self.exit

    async def run(self, command: Command, *, stdin: bytes = b"", check: bool = True, **_: Any) -> Completed:
        """Play git."""
        self.ran.append(command.argv)
        self.stdin = stdin
        if check and self.says.code:
            raise ProcessFailed("git", self.says.code, "")
        return self.says

    async def _begin(self, headers: Mapping[str, str]) -> Any:
        self.begun.append(headers)

        async def sink(data: bytes) -> None:
            self.taken.append(bytes(data))

        return sink

    def write(self) -> Deferred[None]:
        return Deferred.fromCoroutine(
            self.commands.write(self.mirror, only(REPOSITORY), ["refs/heads/r\udcc3v", "^abc"], self._begin)
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_bundle_is_passed_on_as_git_writes_it(world: World) -> None:
    """Revisions of any bytes go by its input; it is announced when the first bytes are there, and reaped."""
    writing = world.write()
    assert world.begun == []
    world.stdout.data(b"# v2 git bundle\n")
    assert world.begun == [{"Content-Type": "application/x-git-bundle"}]
    world.stdout.data(b"PACK")
    world.stdout.finish()
    assert value_of(writing) is None
    assert b"".join(world.taken) == b"# v2 git bundle\nPACK"
    assert world.stdin == b"refs/heads/r\xc3v\n^abc\n"
    assert world.waited == 1


def test_who_leaves_ends_git_and_waits_for_its_end(world: World) -> None:
    """Nothing of it goes on in a mirror that may be removed."""
    world.exit = Deferred()
    writing = world.write()
    world.stdout.data(b"# v2")
    writing.cancel()
    assert world.stopped == 1
    ends: list[Any] = []
    writing.addBoth(ends.append)
    assert ends == []
    world.exit.callback(None)
    assert ends[0].check(CancelledError)


def test_a_git_that_fails_is_told(world: World) -> None:
    """Whatever it has written."""
    writing = world.write()
    world.stdout.data(b"# v2")
    world.stdout.fail(ProcessFailed("git bundle", 128, "no"))
    assert isinstance(failure_of(writing), ProcessFailed)
    assert world.waited == 1


def test_nothing_is_begun_of_another_repository(world: World) -> None:
    """Which the mirror may have become when git has opened it."""
    writing = world.write()
    world.mirror.instance = Instance(REPOSITORY, "1" * 32)
    world.stdout.data(b"# v2")
    assert isinstance(failure_of(writing), Superseded)
    assert world.begun == []
    assert (world.stopped, world.waited) == (1, 1)


@pytest.mark.parametrize(("said", "there"), [(b"1234\n", True), (b"", False)])
def test_whether_there_is_anything_in_it(world: World, said: bytes, there: bool) -> None:
    """Git makes no empty bundle."""
    world.says = Completed(0, None, said, b"")
    assert result_of(world.commands.holds_anything(world.mirror, ["HEAD", "^abc"])) is there
    assert world.stdin == b"HEAD\n^abc\n"


def test_whether_a_history_is_cut(world: World, tmp_path: Path) -> None:
    """Only where any is; git isn't asked otherwise."""
    assert not result_of(world.commands.is_cut(world.mirror, ["HEAD"]))
    assert world.ran == []
    (tmp_path / "shallow").write_bytes(b"aaa\nbbb\n")
    for said, cut in ((b"ccc\nbbb\n", True), (b"ccc\n", False), (b"", False)):
        world.says = Completed(0, None, said, b"")
        assert result_of(world.commands.is_cut(world.mirror, ["HEAD"])) is cut
    assert "--max-parents=0" in world.ran[-1]


def test_what_head_is(world: World) -> None:
    """And the branch that it names, whatever its bytes; a detached one names none."""
    world.says = Completed(0, None, b"refs/heads/r\xc3v\n", b"")
    assert result_of(world.commands.head_names(world.mirror)) == ["HEAD", "refs/heads/r\udcc3v"]
    world.says = Completed(1, None, b"", b"")
    assert result_of(world.commands.head_names(world.mirror)) == ["HEAD"]


@pytest.mark.parametrize(("code", "so"), [(0, True), (1, False), (128, False), (None, False)])
def test_questions_that_git_answers_by_its_exit(world: World, code: int | None, so: bool) -> None:
    """One that was ended is no yes."""
    world.says = Completed(code, None, b"", b"")
    assert result_of(world.commands.knows(world.mirror, "abc")) is so
    assert result_of(world.commands.contains(world.mirror, "abc", "def")) is so
    assert world.ran[1][-3:] == ("--is-ancestor", "def", "abc")
