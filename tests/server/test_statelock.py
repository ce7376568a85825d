"""A state directory has one server, and nothing of a killed one goes on working in it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cachew.server.statelock import MARK, StateInUse, StateLock


@pytest.fixture
def occupation(tmp_path: Path) -> Iterator[StateLock]:
    occupation = StateLock(tmp_path / "deep" / "state")
    yield occupation
    occupation.release()


def sleeper(mark: dict[str, str]) -> subprocess.Popen[bytes]:
    """A child of a server that has been killed since."""
    return subprocess.Popen(["sleep", "60"], env={"PATH": os.environ["PATH"], **mark})


def test_a_second_server_is_refused(occupation: StateLock, tmp_path: Path) -> None:
    """Who comes second is told, and may have the directory when the first one has gone."""
    with pytest.raises(StateInUse, match="deep/state is in use by another cachew"):
        StateLock(tmp_path / "deep" / "state")
    occupation.release()
    StateLock(tmp_path / "deep" / "state").release()


def test_other_directories_are_free(occupation: StateLock, tmp_path: Path) -> None:
    """Servers with states of their own know nothing of each other."""
    other = StateLock(tmp_path / "other")
    assert other.mark.keys() == occupation.mark.keys()
    assert other.mark != occupation.mark
    other.release()


def test_the_children_of_a_killed_server_are_ended(occupation: StateLock) -> None:
    """Whoever carries the mark of this directory ends, nobody else does."""
    ours, other = sleeper(occupation.mark), sleeper({MARK: "1:1"})
    try:
        occupation.end_leftovers()
        assert ours.wait(timeout=10) == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
