"""Bad hours of hosts: a refusal of everything says little about any one repository."""

import pytest

from cachew.mirrors.badhours import SEVERAL, BadHours
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Voice
from tests.fakes.clock import FakeClock

SOME = [Identity("git.example", f"org/{number}") for number in range(SEVERAL)]
OTHER = Identity("other.example", "org/repo")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def hours(clock: FakeClock) -> BadHours:
    return BadHours(clock=clock)


def test_several_refusals_in_a_row_are_a_bad_hour(hours: BadHours) -> None:
    """The one that makes them several names all of them; before that each stands for itself."""
    found = [hours.refused(identity, Voice.OWN) for identity in SOME]
    assert found == [[], [], SOME]


def test_one_repository_that_is_refused_again_and_again_is_one(hours: BadHours) -> None:
    """Its own refusals are about itself."""
    assert not any(hours.refused(SOME[0], Voice.OWN) for _ in range(5))


def test_other_hosts_and_voices_do_not_count(hours: BadHours) -> None:
    """What another host refuses, or this one to somebody else, says nothing."""
    hours.refused(SOME[0], Voice.OWN)
    hours.refused(OTHER, Voice.OWN)
    hours.refused(SOME[1], Voice.ANONYMOUS)
    assert hours.refused(SOME[2], Voice.OWN) == []


def test_one_that_is_served_ends_it(hours: BadHours) -> None:
    """A host that serves anything to this voice is well."""
    for identity in SOME[:-1]:
        hours.refused(identity, Voice.OWN)
    hours.served(SOME[0], Voice.OWN)
    assert hours.refused(SOME[-1], Voice.OWN) == []


def test_what_is_long_ago_does_not_count(hours: BadHours, clock: FakeClock) -> None:
    """Refusals that lie ten minutes apart have nothing to do with each other."""
    for identity in SOME[:-1]:
        hours.refused(identity, Voice.OWN)
    clock.advance(601)
    assert hours.refused(SOME[-1], Voice.OWN) == []
