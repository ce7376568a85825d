"""What clients were told that refs are."""

import gc
from dataclasses import replace

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


class Connection:
    """A client's."""


ALICE, BOB = Connection(), Connection()


@pytest.fixture
def clock() -> FakeClock:
    """What time it is."""
    return FakeClock()


@pytest.fixture
def told(clock: FakeClock) -> ToldListings:
    """Remembers what Alice was told."""
    remembers = ToldListings(clock=clock, client_of=lambda request: "192.0.2.1")
    remembers.note(ALICE, IDENTITY, OLD)
    return remembers


def otherwise(
    told: ToldListings,
    connection: Connection | None = ALICE,
    now: Listing = NEW,
    names: tuple[str, ...] = NAMES,
) -> set[str]:
    """Return what a client was told otherwise than it is now."""
    return set(told.otherwise(connection, IDENTITY, names, now))


def test_what_has_moved_or_gone_since(told: ToldListings) -> None:
    """Only what a client wants of what it was told, and only where that is no longer so."""
    assert otherwise(told) == {oid("1"), oid("4")}
    assert otherwise(told, names=(TOPIC, MAIN)) == {oid("1")}
    assert otherwise(told, now=OLD) == otherwise(told, now=listing(main="1", topic="3", gone="4")) == set()
    told.forget(ALICE)
    assert otherwise(told) == set()


def test_others_were_told_something_else(told: ToldListings) -> None:
    """Neither another client nor another repository is concerned."""
    assert otherwise(told, BOB) == set()
    assert told.otherwise(ALICE, Identity("git.example", "org/other"), NAMES, NEW) == []


def test_what_is_told_last_counts(told: ToldListings) -> None:
    """Git asks for what it was told in the same process, over the same connection."""
    told.note(ALICE, IDENTITY, listing(main="5", topic="3"))
    assert otherwise(told) == {oid("5")}
    told.note(ALICE, IDENTITY, NEW)
    assert otherwise(told) == set()


def test_a_connection_that_ends(told: ToldListings) -> None:
    """Nothing is remembered of it."""
    told.note(None, IDENTITY, OLD)
    told.forget(None)
    assert otherwise(told, None) == set()
    ended = Connection()
    told.note(ended, IDENTITY, OLD)
    del ended
    gc.collect()
    assert otherwise(told) == {oid("1"), oid("4")} and len(told) == 1


def test_a_moment_later(told: ToldListings, clock: FakeClock) -> None:
    """Each is remembered for ten seconds."""
    clock.advance(6)
    told.note(BOB, IDENTITY, listing(main="5"))
    clock.advance(6)
    assert otherwise(told) == set() and otherwise(told, BOB) == {oid("5")}
    clock.advance(6)
    assert otherwise(told, BOB) == set()


def test_very_many_names_are_not_gone_through(told: ToldListings) -> None:
    """Nobody was told of so many in a listing that is remembered."""
    assert otherwise(told, names=(MAIN, *(f"refs/heads/b{number}" for number in range(MANY_REFS)))) == set()


def test_very_long_listings_are_not_remembered(told: ToldListings) -> None:
    """They would take more room than they are worth."""
    told.note(BOB, IDENTITY, listing(**{f"b{number}": "1" for number in range(MANY_REFS + 1)}))
    assert otherwise(told, BOB, names=("refs/heads/b1",)) == set()


def test_all_listings_together_are_bounded(told: ToldListings) -> None:
    """What was told longest ago goes first, whoever asks for however many."""
    told.note(BOB, IDENTITY, listing(main="5"))
    long = listing(**{f"b{number}": "1" for number in range(MANY_REFS - 1)})
    others = [Connection() for _ in range(100)]
    for other in others[:90]:
        told.note(other, IDENTITY, replace(long))
    assert otherwise(told, BOB) == {oid("5")}
    for other in others[90:]:
        told.note(other, IDENTITY, replace(long))
    assert otherwise(told, BOB) == set()
    assert otherwise(told, others[-1], names=("refs/heads/b1",)) == {oid("1")}
