"""Where a mirror lies, and how another one takes its place."""

from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.commands import CommandSettings, GitCommands
from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.identity import Grammar, Identity
from cachew.mirrors.mirrorrecord import MirrorRecord, read
from cachew.mirrors.mirrorroot import MirrorRoot
from cachew.mirrors.place import MirrorPlace
from cachew.plumbing.errors import NotFound
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.mirrorgit import REPOSITORY, FakeGit, FakeRemote, listing
from tests.fakes.settled import value_of


def place_in(root: Path, identity: Identity = REPOSITORY) -> MirrorPlace:
    """Return the place of a mirror."""
    git = GitRunner(
        processes=cast(Any, FakeGit()),
        commands=GitCommands(CommandSettings(path="/bin", home=root)),
        threads=cast(Any, InlineThreads()),
    )
    return MirrorPlace(
        identity=identity,
        directory=root / "git.example" / "repo.git",
        root=MirrorRoot(path=root, grammar=Grammar({})),
        remote=cast(Any, FakeRemote(listing(main="1"))),
        git=git,
        failed=lambda failure: None,
    )


def made(place: MirrorPlace, name: str) -> Path:
    """Make a directory aside with a file of that name in it."""
    aside = place.aside()
    aside.mkdir(parents=True)
    (aside / name).touch()
    return aside


def test_nothing_is_there_at_first(tmp_path: Path) -> None:
    """There is neither a record nor a repository."""
    place = place_in(tmp_path)
    assert read(place.directory) is None
    with pytest.raises(NotFound):
        _ = place.repository


def test_what_was_made_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    """The old one lies aside afterwards, for the caller to remove."""
    place = place_in(tmp_path)
    for name in ("old", "new"):
        aside = made(place, name)
        place.settle(aside, MirrorRecord(REPOSITORY, "sha1", "instance", name))
    record = read(place.directory)
    assert record is not None and record.generation == "new" and (place.directory / "new").exists()
    assert (aside / "old").exists()
    value_of(Deferred.fromCoroutine(place.discard()))
    assert not place.directory.exists()


def test_another_repositorys_mirror_is_left_where_it_is(tmp_path: Path) -> None:
    """As where a file system ignores case: it is neither taken for one's own nor replaced."""
    theirs = place_in(tmp_path, Identity("git.example", "org/REPO"))
    theirs.settle(made(theirs, "theirs"), MirrorRecord(Identity("git.example", "org/REPO"), "sha1", "", "1"))
    place = place_in(tmp_path)
    with pytest.raises(NotFound):
        place.settle(made(place, "mine"), MirrorRecord(REPOSITORY, "sha1", "", "2"))
    record = read(place.directory)
    assert record is not None and record.generation == "1" and (place.directory / "theirs").exists()
