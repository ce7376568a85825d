"""What upstreams have said of who may read what, and what makes it void."""

from dataclasses import dataclass
from typing import Any

import pytest

from cachew.plumbing.errors import UpstreamBusy, UpstreamError, UpstreamRefused, UpstreamUnreachable
from cachew.upstream.verdictmemory import UpstreamChanges, VerdictMemory, VerdictTerms
from tests.fakes.clock import FakeClock

URL = "https://git.example/r"


def test_a_change_is_one_of_its_repository() -> None:
    """Not what is asked later, nor what was asked of another."""
    changes = UpstreamChanges()
    before = changes.ask()
    assert not changes.void("git.example/org/repo", before)
    changes.note("git.example/org/repo")
    after = changes.ask()
    assert changes.void("git.example/org/repo", before) and not changes.void("git.example/org/repo", after)
    assert not changes.void("git.example/org/other", before)


def test_what_is_forgotten_is_taken_for_changed() -> None:
    """Only the last few are remembered; whatever was asked before the last that is forgotten counts no more."""
    changes = UpstreamChanges(capacity=2)
    before = changes.ask()
    changes.note("git.example/org/first")
    between = changes.ask()
    changes.note("git.example/org/second")
    changes.note("git.example/org/third")
    assert len(changes) == 2
    for repository in ("git.example/org/first", "git.example/org/quiet"):
        assert changes.void(repository, before) and not changes.void(repository, between)


@dataclass(frozen=True)
class Named:
    name: str = "git.example/org/repo"


REPOSITORY, OTHER = Named(), Named("git.example/org/other")
REFUSED = UpstreamRefused(URL, status=401)


class Public:
    """What is known to be public."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def note(self, name: str) -> None:
        self.names.add(name)

    def forget(self, name: str) -> None:
        self.names.discard(name)


class Names:
    """What names stand for: the number of an era, of which only the last counts."""

    def __init__(self) -> None:
        self.number = 1

    def era(self, repository: object, /) -> int:
        return self.number

    def counts(self, repository: object, era: int, /) -> bool:
        return era == self.number

    def is_public(self, repository: object, /) -> bool:
        return False


class World:
    """A memory with its clock and what it is told of changes."""

    def __init__(self) -> None:
        self.clock, self.public, self.names, self.changes = FakeClock(), Public(), Names(), UpstreamChanges()
        self.terms = VerdictTerms(capacity=100)
        public: Any = self.public
        self.memory = VerdictMemory(
            clock=self.clock, public=public, changes=self.changes, terms=self.terms, eras=self.names
        )


@pytest.fixture
def world() -> World:
    return World()


def test_who_was_let_in_is_known_longer_than_he_is_let_in(world: World) -> None:
    """He alone, and only there."""
    world.memory.record_allow(REPOSITORY, "mine")
    assert world.memory.allows(REPOSITORY, "mine") and world.memory.knows(REPOSITORY, "mine")
    for repository, credential in ((REPOSITORY, "other"), (REPOSITORY, None), (OTHER, "mine")):
        assert not world.memory.allows(repository, credential) and not world.memory.knows(repository, credential)
    world.clock.advance(world.terms.allow)
    assert not world.memory.allows(REPOSITORY, "mine") and world.memory.knows(REPOSITORY, "mine")
    world.clock.advance(world.terms.known)
    assert not world.memory.knows(REPOSITORY, "mine")


def test_what_everybody_may_read_any_credential_may(world: World) -> None:
    """It is noted as public, and no more once it was refused to nobody in particular."""
    world.memory.record_allow(REPOSITORY, None)
    assert world.memory.allows(REPOSITORY, "any") and world.public.names == {REPOSITORY.name}
    assert not world.memory.knows(REPOSITORY, "any")
    world.memory.record_deny(REPOSITORY, None, REFUSED, world.changes.ask())
    assert not world.memory.allows(REPOSITORY, "any") and not world.public.names


def test_a_credential_is_none_and_no_credential_another(world: World) -> None:
    """Whatever it says, an empty one too."""
    world.memory.record_allow(REPOSITORY, None)
    world.memory.record_deny(REPOSITORY, "", REFUSED, world.changes.ask())
    world.memory.record_deny(REPOSITORY, "-", REFUSED, world.changes.ask())
    assert world.memory.allows(REPOSITORY, None)
    keys = {world.memory.key(REPOSITORY, credential) for credential in (None, "", "-", "+", "\udcff")}
    assert len(keys) == 5


def test_another_process_can_not_tell_a_credential_by_its_key(world: World) -> None:
    """Its secret is its own."""
    assert world.memory.key(REPOSITORY, "mine") != World().memory.key(REPOSITORY, "mine")


def test_what_a_name_stood_for_before_lets_nobody_in(world: World) -> None:
    """Nor is anybody known there."""
    world.memory.record_allow(REPOSITORY, "mine")
    world.names.number += 1
    assert not world.memory.allows(REPOSITORY, "mine") and not world.memory.knows(REPOSITORY, "mine")


def test_a_refusal_ends_what_was_allowed(world: World) -> None:
    """And is remembered for its time, by who it was said to."""
    world.memory.record_allow(REPOSITORY, "mine")
    world.memory.record_deny(REPOSITORY, "mine", REFUSED, world.changes.ask())
    assert not world.memory.allows(REPOSITORY, "mine") and not world.memory.knows(REPOSITORY, "mine")
    failure = world.memory.failure(REPOSITORY, "mine")
    assert isinstance(failure, UpstreamRefused) and failure.status == 401
    assert world.memory.failure(REPOSITORY, "other") is None and world.memory.failure(REPOSITORY, None) is None
    world.clock.advance(world.terms.deny)
    assert world.memory.failure(REPOSITORY, "mine") is None


def test_a_refusal_that_was_asked_for_before_a_change_counts_for_nothing(world: World) -> None:
    """As before a push, that made a repository of nothing."""
    before = world.changes.ask()
    world.changes.note(REPOSITORY.name)
    world.memory.record_deny(REPOSITORY, "mine", REFUSED, before)
    assert world.memory.failure(REPOSITORY, "mine") is None
    world.memory.record_deny(REPOSITORY, "mine", REFUSED, world.changes.ask())
    assert world.memory.failure(REPOSITORY, "mine") is not None
    world.changes.note(REPOSITORY.name)
    assert world.memory.failure(REPOSITORY, "mine") is None


def test_who_is_let_in_was_not_refused(world: World) -> None:
    """What came last counts."""
    world.memory.record_deny(REPOSITORY, "mine", REFUSED, world.changes.ask())
    world.memory.record_allow(REPOSITORY, "mine")
    assert world.memory.allows(REPOSITORY, "mine") and world.memory.failure(REPOSITORY, "mine") is None


def test_a_failure_takes_nothing_from_who_was_let_in(world: World) -> None:
    """It says nothing of him."""
    world.memory.record_allow(REPOSITORY, "mine")
    world.memory.record_failure(REPOSITORY, "mine", UpstreamUnreachable(URL, "down"), world.changes.ask())
    assert world.memory.allows(REPOSITORY, "mine")


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (UpstreamUnreachable(URL, "down"), 5.0),
        (UpstreamBusy(URL, "busy", status=429, retry_after=3), 3.0),
        (UpstreamBusy(URL, "busy", status=429, retry_after=0), 1.0),
        (UpstreamBusy(URL, "busy", status=429), 1.0),
        (UpstreamBusy(URL, "busy", status=429, retry_after=600), 5.0),
    ],
)
def test_an_upstream_that_fails_is_left_alone_for_a_while(world: World, failure: UpstreamError, seconds: float) -> None:
    """As long as it said, within bounds."""
    world.memory.record_failure(REPOSITORY, "mine", failure, world.changes.ask())
    world.clock.advance(seconds - 0.1)
    assert isinstance(world.memory.failure(REPOSITORY, "mine"), type(failure))
    world.clock.advance(0.1)
    assert world.memory.failure(REPOSITORY, "mine") is None


@pytest.mark.parametrize(("status", "counts"), [(401, True), (403, True), (404, True), (400, False), (500, False)])
def test_of_what_is_said_elsewhere_only_what_is_about_rights_counts(world: World, status: int, counts: bool) -> None:
    """Whoever was served was let in; a refusal for another reason says nothing."""
    world.memory.record(REPOSITORY, "mine", None)
    assert world.memory.allows(REPOSITORY, "mine")
    world.memory.record(REPOSITORY, "mine", UpstreamRefused(URL, status=status))
    assert world.memory.allows(REPOSITORY, "mine") is not counts
    assert (world.memory.failure(REPOSITORY, "mine") is not None) is counts


def test_a_failure_that_is_told_again_is_another_one(world: World) -> None:
    """It holds nothing of who met it first: a traceback's frames hold credentials."""
    try:
        raise UpstreamBusy(URL, "busy", status=429, retry_after=3)
    except UpstreamBusy as failure:
        world.memory.record_failure(REPOSITORY, "mine", failure, world.changes.ask())
        first, second = (world.memory.failure(REPOSITORY, "mine") for _ in range(2))
        assert first is not None and first is not failure and first is not second
        assert first.__traceback__ is None and (str(first), first.args) == (str(failure), failure.args)
        assert isinstance(first, UpstreamBusy) and (first.status, first.retry_after) == (429, 3)


def test_only_so_many_are_remembered(world: World) -> None:
    """Strangers who try names or credentials take no more; nobody is let in for it."""
    for number in range(1000):
        world.memory.record_deny(REPOSITORY, f"guess {number}", REFUSED, world.changes.ask())
    remembered = [world.memory.failure(REPOSITORY, f"guess {number}") is not None for number in range(1000)]
    assert sum(remembered) <= 100 and remembered[-1]
