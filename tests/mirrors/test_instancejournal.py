"""The file in which a server keeps what it knows of instances."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.instance import InstanceState, Trouble, Voice
from cachew.mirrors.instancejournal import InstanceJournal
from cachew.mirrors.writteninstances import WrittenInstances
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.settled import value_of

NAME = "git.example/org/repo"
STATE = InstanceState(
    "1" * 32, frozenset({Voice.ANONYMOUS, Voice.OWN}), "sha256", ("a", "b"), Trouble.REFUSED, "x", 5.5
)


def journal(path: Path) -> InstanceJournal:
    """Return the journal in a file."""
    return InstanceJournal(path=path / "instances.jsonl", in_thread=InlineThreads())


def loaded(path: Path) -> dict[str, InstanceState]:
    """Return what a server that starts knows."""
    return value_of(Deferred.fromCoroutine(journal(path).load()))


def test_all_that_is_known_is_known_after_a_restart(tmp_path: Path) -> None:
    """Whatever the repository's name, and also that an instance has ended."""
    names = {NAME: STATE, "git.example/a%20b/%2Dc/\u00e4": InstanceState(), "git.example:8443/x/y": STATE}
    for name, state in names.items():
        value_of(Deferred.fromCoroutine(journal(tmp_path).note(name, state)))
    assert loaded(tmp_path) == names and loaded(tmp_path) == names


@pytest.mark.parametrize(
    "name",
    ["", "repo", "git.example//repo", "git.example/org/../repo", "git.example/%", "git.example/a%2fb", "a\ud800/b"],
)
@pytest.mark.parametrize("place", [0, 1])
def test_a_line_of_no_repository_may_have_been_about_any(tmp_path: Path, name: str, place: int) -> None:
    """Nothing is known then, and the server starts: an instance that has ended might come back otherwise."""
    lines = [json.dumps([NAME, STATE.fields()])] * 2
    lines.insert(place, json.dumps([name, STATE.fields()]))
    (tmp_path / "instances.jsonl").write_text("".join(f"{line}\n" for line in lines))
    written = WrittenInstances(
        journal=journal(tmp_path),
        shared=None,
        kept=cast(Any, None),
        reactor=FakeClock(),
    )
    value_of(Deferred.fromCoroutine(written.load()))
    assert not (tmp_path / "instances.jsonl").read_bytes() and loaded(tmp_path) == {}


@pytest.mark.parametrize(
    "change",
    [{"voices": ["nobody"]}, {"voices": "own"}, {"trouble": "some"}, {"tips": 5}, {"began": "today"}, {"id": ...}],
)
def test_a_state_that_is_none(tmp_path: Path, change: dict[str, Any]) -> None:
    """What lacks a field, or has another in its place, is damaged."""
    fields = {name: value for name, value in (STATE.fields() | change).items() if value is not ...}
    (tmp_path / "instances.jsonl").write_text(f"{json.dumps([NAME, fields])}\n")
    assert loaded(tmp_path) == {}
