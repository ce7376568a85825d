"""What upstreams have said counts until they change, or something newer proves it wrong."""

from dataclasses import replace

import pytest

from cachew.mirrors.kinds import EVERYTHING, MIRRORED_KIND
from cachew.mirrors.listings import Listings
from cachew.mirrors.refknowledge import KeptOutcomes, RefOutcome
from cachew.plumbing.errors import UpstreamBusy
from cachew.upstream.listing import Listing
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY, listing

HEADS, ALL = (REPOSITORY, MIRRORED_KIND), (REPOSITORY, EVERYTHING)


def keeping() -> tuple[KeptOutcomes, FakeClock]:
    """Return what keeps outcomes for ten seconds, and its clock."""
    clock = FakeClock()
    clock.advance(1000)
    return KeptOutcomes(listings=Listings(limit=1_000_000), clock=clock, interval=10), clock


def taken(kept: KeptOutcomes, found: Listing, question: tuple[object, object] = HEADS) -> RefOutcome:
    """Have an upstream list something."""
    return kept.take(question, kept.begin(None), found)  # type: ignore[arg-type]


def test_an_answer_is_good_for_the_interval() -> None:
    """Counted from the moment at which the upstream was asked; a listing of everything answers for a part."""
    kept, clock = keeping()
    outcome = taken(kept, listing(main="1"), ALL)
    clock.advance(9.9)
    assert kept.answering(HEADS, kept.limit(None), kept.newest) is not None
    assert kept.answering(HEADS, kept.limit(5), kept.newest) is None
    assert kept.age(outcome) == pytest.approx(9.9)
    clock.advance(0.2)
    assert kept.answering(HEADS, kept.limit(None), kept.newest) is None


@pytest.mark.parametrize(("told", "seconds"), [(None, 1.0), (0.0, 1.0), (4.0, 4.0), (60.0, 9.5)])
def test_a_busy_upstream_is_asked_again_when_it_said(told: float | None, seconds: float) -> None:
    """Who comes back after the time that the upstream named, or after a second, is not told the old answer."""
    kept, clock = keeping()
    busy = UpstreamBusy("https://git.example/r", "answered 429", status=429, retry_after=told)
    kept.put(HEADS, replace(kept.begin(None), result=busy, took=0.5))
    clock.advance(seconds + 0.4)
    assert kept.answering(HEADS, kept.limit(None), kept.newest) is not None
    clock.advance(0.2)
    assert kept.answering(HEADS, kept.limit(None), kept.newest) is None


def test_a_change_voids_what_was_asked_before() -> None:
    """Also what is still to come of a question that was asked before; what is asked after it counts."""
    kept, _ = keeping()
    taken(kept, listing(main="1"))
    begun = kept.begin(None)
    kept.changes.note(REPOSITORY.name)
    assert kept.changes.void(REPOSITORY.name, begun.number)
    assert kept.answering(HEADS, kept.limit(None), kept.newest) is None
    kept.take(HEADS, begun, listing(main="2"))
    assert kept.answering(HEADS, kept.limit(None), kept.newest) is None
    taken(kept, listing(main="3"))
    assert kept.answering(HEADS, kept.limit(None), kept.newest) is not None


def test_the_newer_of_two_that_contradict_each_other_stays() -> None:
    """Otherwise clients that ask for different kinds would see different moments."""
    kept, _ = keeping()
    taken(kept, listing(main="1"), ALL)
    taken(kept, listing(main="2"))
    assert kept.get(ALL) is None and kept.listing(HEADS) == listing(main="2")


def test_the_same_listing_is_the_same_object() -> None:
    """What was made of it is still good."""
    kept, _ = keeping()
    first = taken(kept, listing(main="1")).listing
    assert taken(kept, listing(main="1")).listing is first


def test_no_credential_is_kept() -> None:
    """What is kept is everybody's."""
    kept, _ = keeping()
    kept.put(HEADS, RefOutcome(1, 1000, "Basic secret", shown="Basic secret", result=listing(main="1")))
    outcome = kept.get(HEADS)
    assert outcome is not None and (outcome.authorization, outcome.shown) == (None, None)
