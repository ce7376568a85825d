"""What replicas find out and tell each other."""

from typing import Any

from twisted.internet.defer import Deferred

from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.notes import Notes
from tests.fakes.settled import value_of


def read(notes: Notes, name: str) -> dict[str, Any]:
    return value_of(Deferred.fromCoroutine(notes.read(name)))


def write(notes: Notes, name: str, **found: str) -> None:
    value_of(Deferred.fromCoroutine(notes.write(name, found)))


def test_the_newest_words_count_and_the_others_stay() -> None:
    """Whichever replica wrote them."""
    records = MemoryRecords()
    here, there = (Notes(what="spellings", records=records) for _ in range(2))
    assert read(here, "git.example/org/repo") == {}
    write(here, "git.example/org/repo", git=".git", lfs="")
    write(there, "git.example/org/repo", git="")
    assert read(here, "git.example/org/repo") == {"git": "", "lfs": ""}


def test_each_thing_has_its_own() -> None:
    """Whatever its name is made of, and what the notes are about."""
    records = MemoryRecords()
    notes, others = Notes(what="spellings", records=records), Notes(what="formats", records=records)
    names = ["git.example/org/repo", "git.example/org/Repo", "git.example/org/My Project", "ä", "../x", "x" * 900]
    for name in names:
        write(notes, name, git=name)
    assert [read(notes, name) for name in names] == [{"git": name} for name in names]
    assert not any(read(others, name) for name in names)
