"""What is made of a state directory before anything else, and what begins when the server is ready."""

import gc
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.server.startup import look_through, make_directories
from cachew.server.statewatch import DIRECTORIES
from tests.fakes.settled import value_of


def test_what_a_killed_server_was_writing_is_removed(tmp_path: Path) -> None:
    """Spools, whatever somebody has put there, and files that had not got their names yet; nothing that users keep."""
    make_directories(tmp_path)
    (tmp_path / "spools/answer").touch()
    (tmp_path / "spools/directory/within").mkdir(parents=True)
    (tmp_path / ".public.json.k3x9.unfinished").touch()
    (tmp_path / ".notes").touch()
    make_directories(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted((".notes", *filter(None, DIRECTORIES)))
    assert not list((tmp_path / "spools").iterdir())


def test_what_requests_leave_is_collected_while_mirrors_are_looked_at() -> None:
    """Only what all mirrors are made of is not gone through again and again, until their looks are over."""

    async def look() -> None:
        assert gc.isenabled() and gc.get_threshold()[:2] == before[:2] and gc.get_threshold()[2] > 1_000_000

    before = gc.get_threshold()
    looks = SimpleNamespace(unseen={"one": None}, look_through=look)
    mirrors = SimpleNamespace(first_looks=looks, known=list)
    value_of(Deferred.fromCoroutine(look_through(cast(Any, mirrors))))
    assert gc.get_threshold() == before
