"""The state directory that is removed under a running server."""

import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.server.statelock import StateInUse, StateLock
from cachew.server.statewatch import DIRECTORIES, StateWatch
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of


def look(watch: StateWatch) -> str:
    value_of(Deferred.fromCoroutine(watch.look()))
    return watch.trouble


def watching(state: Path, lock: StateLock, restored: list[int]) -> StateWatch:
    return StateWatch(state=state, lock=lock, restore=lambda: restored.append(1), threads=cast(Any, InlineThreads()))


def test_what_is_removed_is_made_again(tmp_path: Path) -> None:
    """A missing directory, or all of them, is there again after a look, and the state directory is locked anew."""
    state, restored = tmp_path / "state", list[int]()
    lock = StateLock(state)
    watch = watching(state, lock, restored)
    assert look(watch) == ""
    shutil.rmtree(state / "packs")
    assert look(watch) == "" and (state / "packs").is_dir()
    shutil.rmtree(state)
    assert look(watch) == "" and len(restored) == 3
    assert all((state / name).is_dir() for name in DIRECTORIES)
    with pytest.raises(StateInUse):
        StateLock(state)
    lock.release()


def test_what_can_not_be_made_again_is_told(tmp_path: Path) -> None:
    """While the directory can't be made, or another server has taken it, readiness has the reason; then it is over."""
    parent = tmp_path / "parent"
    state, restored = parent / "state", list[int]()
    lock = StateLock(state)
    watch = watching(state, lock, restored)
    shutil.rmtree(parent)
    parent.write_text("in the way")
    assert "can't be made again: Not a directory" in look(watch)
    parent.unlink()
    other = StateLock(state)
    assert "in use by another cachew" in look(watch) and not restored
    other.release()
    assert look(watch) == "" and restored
    lock.release()
