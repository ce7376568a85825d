"""What clients were told that refs are."""

from dataclasses import replace
from typing import Any

import pytest

from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import MANY_REFS
from cachew.upstream.listing import Listing
from cachew.web.uploadpack import ToldListings
from tests.fakes.clock import FakeClock
from tests.fakes.gitserving import IDENTITY
from tests.fakes.mirrorgit import listing, oid

MAIN, TOPIC, GONE = "refs/heads/main", "refs/heads/topic", "refs/heads/gone"
NAMES = (MAIN, TOPIC, GONE, "refs/heads/none")
OLD, NEW = listing(main="1", topic="3", gone="4"), listing(main="2", topic="3")


@pytest.fixture
def clock() -> FakeClock:
    """What time it is."""
    return FakeClock()


@pytest.fixture
def told(clock: FakeClock) -> ToldListings:
    """Remembers clients, who are the requests themselves."""
    remembers = ToldListings(clock=clock, client_of=lambda request: request)
    remembers.note("alice", IDENTITY, OLD)
    return remembers


def otherwise(
    told: ToldListings, client: Any = "alice", now: Listing = NEW, names: tuple[str, ...] = NAMES
) -> set[str]:
    """Return what a client was told otherwise than it is now."""
    return set(told.otherwise(client, IDENTITY, names, now))


def test_what_has_moved_or_gone_since(told: ToldListings) -> None:
    """Only what a client wants of what it was told, and only where that is no longer so."""
    assert otherwise(told) == {oid("1"), oid("4")}
    assert otherwise(told, names=(TOPIC, MAIN)) == {oid("1")}
    assert otherwise(told, now=OLD) == otherwise(told, now=listing(main="1", topic="3", gone="4")) == set()


def test_others_were_told_something_else(told: ToldListings) -> None:
    """Neither another client nor another repository is concerned."""
    assert otherwise(told, "bob") == set()
    assert told.otherwise("alice", Identity("git.example", "org/other"), NAMES, NEW) == []


def test_many_share_an_address(told: ToldListings) -> None:
    """The last few listings are remembered."""
    told.note("alice", IDENTITY, NEW)
    told.note("alice", IDENTITY, NEW)
    assert otherwise(told) == {oid("1"), oid("4")}
    for number in "567":
        told.note("alice", IDENTITY, listing(main=number))
    assert otherwise(told) == {oid("5"), oid("6"), oid("7")}


def test_a_moment_later(told: ToldListings, clock: FakeClock) -> None:
    """Each is remembered for ten seconds."""
    clock.advance(6)
    told.note("alice", IDENTITY, listing(main="5"))
    clock.advance(6)
    assert otherwise(told) == {oid("5")}
    clock.advance(6)
    assert otherwise(told) == set()


def test_very_many_names_are_not_gone_through(told: ToldListings) -> None:
    """Nobody was told of so many in a listing that is remembered."""
    assert otherwise(told, names=(MAIN, *(f"refs/heads/b{number}" for number in range(MANY_REFS)))) == set()


def test_very_long_listings_are_not_remembered(told: ToldListings) -> None:
    """They would take more room than they are worth."""
    told.note("bob", IDENTITY, listing(**{f"b{number}": "1" for number in range(MANY_REFS + 1)}))
    assert otherwise(told, "bob", names=("refs/heads/b1",)) == set()


def test_all_listings_together_are_bounded(told: ToldListings) -> None:
    """What was told longest ago goes first, whoever asks for however many."""
    told.note("bob", IDENTITY, listing(main="5"))
    long = listing(**{f"b{number}": "1" for number in range(MANY_REFS - 1)})
    for number in range(90):
        told.note(str(number), IDENTITY, replace(long))
    assert otherwise(told, "bob") == {oid("5")}
    for number in range(10):
        told.note(str(number), IDENTITY, replace(long))
    assert otherwise(told, "bob") == set()
    assert otherwise(told, "9", names=("refs/heads/b1",)) == {oid("1")}
