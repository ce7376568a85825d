"""What is at hand of upstreams' refs is the newest of it, and nobody is asked."""

from dataclasses import replace

import pytest

from cachew.mirrors.kinds import EVERYTHING, MIRRORED_KIND, Kind
from cachew.mirrors.knownrefs import KnownRefs
from cachew.mirrors.listings import Listings
from cachew.mirrors.refknowledge import KeptOutcomes
from cachew.plumbing.errors import UpstreamUnreachable
from cachew.upstream.listing import Listing
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY, listing, oid

DOWN = UpstreamUnreachable("https://git.example/org/repo", "is down")
PART = ("refs/heads/",)


class World:
    """What upstreams have said, one answer a second."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.clock.advance(1000)
        self.kept = KeptOutcomes(listings=Listings(limit=1_000_000), clock=self.clock, interval=10)
        self.known = KnownRefs(kept=self.kept, clock=self.clock)

    def said(self, kind: Kind, result: Listing | UpstreamUnreachable) -> None:
        """Have an upstream answer a question, or fail to."""
        self.clock.advance(1)
        begun, question = self.kept.begin(None), (REPOSITORY, kind)
        if isinstance(result, Listing):
            self.kept.take(question, begun, result)
        else:
            self.kept.put(question, replace(begun, result=result))


def test_nothing_is_known_of_who_was_never_asked() -> None:
    """Nor did he fail."""
    known = World().known
    assert known.listing(REPOSITORY) is None
    assert known.failure(REPOSITORY) is None
    assert known.checked(REPOSITORY, 5.0) is None
    assert not known.asked_within(REPOSITORY, 1e9)
    assert set(known.unlisted(REPOSITORY, [oid("1")])) == {oid("1")}


@pytest.mark.parametrize(("first", "second"), [(MIRRORED_KIND, EVERYTHING), (EVERYTHING, MIRRORED_KIND)])
def test_the_newer_of_two_listings_counts(first: Kind, second: Kind) -> None:
    """Whichever it is of."""
    world = World()
    world.said(first, listing(main="1"))
    world.said(second, listing(main="2"))
    assert world.known.listing(REPOSITORY) == listing(main="2")
    world.clock.advance(7)
    assert world.known.checked(REPOSITORY, 100.0) == 93.0


@pytest.mark.parametrize(("failed", "listed"), [(MIRRORED_KIND, EVERYTHING), (EVERYTHING, MIRRORED_KIND)])
@pytest.mark.parametrize("failed_first", [True, False])
def test_a_question_that_failed_hides_no_answer_to_the_other(failed: Kind, listed: Kind, failed_first: bool) -> None:
    """What was listed is at hand, and why the last question came to nothing, if it did."""
    world = World()
    if failed_first:
        world.said(failed, DOWN)
    world.said(listed, listing(main="1"))
    if not failed_first:
        world.said(failed, DOWN)
    assert world.known.listing(REPOSITORY) == listing(main="1")
    assert world.known.checked(REPOSITORY, 100.0) == (100.0 if failed_first else 99.0)
    assert world.known.failure(REPOSITORY) is (None if failed_first else DOWN)


def test_a_part_is_enough_for_who_wants_no_more() -> None:
    """The newest that has all below a prefix; no other is."""
    world = World()
    world.said(PART, listing(main="1"))
    assert world.known.listing(REPOSITORY) is None
    assert world.known.listing(REPOSITORY, "refs/heads/main") is not None
    assert world.known.listing(REPOSITORY, "refs/tags/v1") is None
    world.said(MIRRORED_KIND, listing(main="2"))
    assert world.known.listing(REPOSITORY, "refs/heads/main") == listing(main="2")


def test_ids_are_looked_for_in_all_that_is_at_hand() -> None:
    """Whatever it is of, however old."""
    world = World()
    world.said(PART, listing("refs/heads/x=3", main="1"))
    world.said(MIRRORED_KIND, listing("refs/heads/x=3", main="1"))
    world.said(EVERYTHING, listing("refs/heads/x=3", "refs/pull/1/head=4", main="1"))
    assert set(world.known.unlisted(REPOSITORY, [oid(digit) for digit in "12345"])) == {oid("2"), oid("5")}


def test_who_was_asked_lately() -> None:
    """For whatever tells of his heads and tags; a failure is a question, too."""
    for kind in (MIRRORED_KIND, EVERYTHING, PART):
        world = World()
        world.said(kind, DOWN)
        world.clock.advance(5)
        assert world.known.asked_within(REPOSITORY, 5)
        assert not world.known.asked_within(REPOSITORY, 4.9)
