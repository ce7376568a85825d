"""A file that follows what is known."""

import json
from pathlib import Path
from typing import Any

import pytest

from cachew.plumbing.background import Background
from cachew.plumbing.keptdocument import KeptDocument
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads


class Known:
    """Something that is remembered in a directory which need not be there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.names: list[str] = []
        self.told: list[str] = []
        self.clock = FakeClock()
        threads: Any = InlineThreads()
        self.document = KeptDocument(
            path=directory / "names.json",
            what="names",
            content=lambda: list(self.names),
            in_thread=threads,
            background=Background(),
            clock=self.clock,
        )
        log: Any = self
        self.document.log = log

    def error(self, text: str, **fields: object) -> None:
        """Take what is told."""
        self.told.append(text.format(**fields))

    def learn(self, name: str) -> None:
        """Know one more."""
        self.names.append(name)
        self.document.follow()

    def written(self) -> object:
        """Return what the file says."""
        return json.loads((self.directory / "names.json").read_text())


@pytest.fixture
def known(tmp_path: Path) -> Known:
    """Nothing yet, where there is no directory."""
    return Known(tmp_path / "later")


def test_what_cannot_be_written_is_told_once_and_tried_again(known: Known) -> None:
    """However much changes on a full disk, it is tried every ten seconds; afterwards all of it is there."""
    for name in "abc":
        known.learn(name)
        assert known.document.behind
    assert len(known.told) == 1 and known.told[0].startswith("can't remember names: ")
    known.clock.advance(11)
    known.learn("d")
    assert len(known.told) == 1
    known.directory.mkdir()
    known.learn("e")
    assert not known.document.path.exists()
    known.clock.advance(11)
    known.document.follow()
    assert known.written() == ["a", "b", "c", "d", "e"] and not known.document.behind
    known.document.path.unlink()
    known.directory.rmdir()
    known.learn("f")
    assert len(known.told) == 2


def test_what_changes_while_it_is_written_is_written_too(known: Known) -> None:
    """Nobody writes beside another."""
    known.directory.mkdir()
    known.learn("a")
    changes = iter(["b", "c"])

    def content() -> list[str]:
        if name := next(changes, ""):
            known.learn(name)
        return list(known.names)

    known.document._content = content
    known.document.follow()
    assert known.written() == ["a", "b", "c"]
