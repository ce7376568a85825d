"""The directory for work in progress."""

import os
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.snapshots.scratch import Scratch
from tests.fakes.disturbance import Steps, nothing_left
from tests.fakes.gitserving import threads_of
from tests.fakes.settled import value_of


async def at_once(function: Callable[..., Any], *args: Any) -> Any:
    """A thread that needs no time."""
    return function(*args)


class Work:
    """Two pieces of work, each with a directory of its own."""

    def __init__(self, steps: Steps, path: Path) -> None:
        self._steps, self._path = steps, path
        self.scratch = Scratch(path=path, threads=threads_of(steps))

    async def _work(self) -> None:
        async with self.scratch.directory(None) as directory:
            (directory / "tree").mkdir()
            (directory / "tree/file").touch()
            await self._steps.reach("work")

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        return [self._work(), self._work()]

    def settle(self) -> None:
        """Nothing takes time."""

    def left(self) -> list[str]:
        return [f"directory {path.name}" for path in self._path.iterdir()]


@pytest.mark.parametrize("slow", [True, False])
def test_nothing_stays_of_work_that_ends_in_whatever_way(tmp_path: Path, slow: bool) -> None:
    """Each has an empty directory of its own, which goes with it, whichever await is disturbed."""
    nothing_left(lambda steps: Work(steps, tmp_path), slow=slow)


def test_what_the_disk_did_not_let_go_goes_with_the_next(tmp_path: Path) -> None:
    """A directory that stayed is removed when the next one is made, or the one after that."""
    removes = False

    async def threads(function: Callable[..., Any], /, *arguments: Any) -> Any:
        return None if "remove" in function.__name__ and not removes else function(*arguments)

    scratch = Scratch(path=tmp_path, threads=threads)

    async def work() -> list[str]:
        async with scratch.directory(None) as directory:
            (directory / "file").touch()
            return [name for name in os.listdir(tmp_path) if name != directory.name]

    for _ in range(2):
        assert value_of(Deferred.fromCoroutine(work())) == []
        assert len(os.listdir(tmp_path)) == 1
    removes = True
    assert value_of(Deferred.fromCoroutine(work())) == [] and os.listdir(tmp_path) == []


def test_names_of_spools_are_new_ones(tmp_path: Path) -> None:
    """No two are the same."""
    scratch = Scratch(path=tmp_path, threads=at_once)
    assert len({scratch.spool() for _ in range(5)}) == 5
