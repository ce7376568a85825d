"""What refs were that have just gone."""

import pytest

from cachew.mirrors.gonerefs import GoneRefs
from cachew.mirrors.kinds import MANY_REFS
from cachew.upstream.listing import RemoteRef
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import listing, oid

MAIN, TOPIC = "refs/heads/main", "refs/heads/topic"
NOW = listing(main="2")


@pytest.fixture
def clock() -> FakeClock:
    """What time it is."""
    return FakeClock()


@pytest.fixture
def gone(clock: FakeClock) -> GoneRefs:
    """A branch has just gone, and another moved."""
    refs = GoneRefs(clock=clock)
    refs.note(listing(main="1", topic="3"), NOW)
    return refs


def test_a_branch_that_has_just_gone(gone: GoneRefs) -> None:
    """For ten seconds it is what it was, to those only who want it by its name; all others are as they are listed."""
    assert gone.completed(NOW, [MAIN, TOPIC, "refs/heads/none"], {}).by_name == {
        **NOW.by_name,
        TOPIC: RemoteRef(TOPIC, oid("3")),
    }
    assert gone.completed(NOW, [MAIN], {}) is NOW
    gone.clear()
    assert gone.completed(NOW, [TOPIC], {}) is NOW


def test_a_branch_that_has_gone_long_ago(gone: GoneRefs, clock: FakeClock) -> None:
    """It is no more."""
    clock.advance(11)
    assert gone.completed(NOW, [TOPIC], {}) is NOW


def test_a_branch_that_the_mirror_still_has(gone: GoneRefs) -> None:
    """It goes from the mirror after it has gone from the listing."""
    found = gone.completed(NOW, [TOPIC, "refs/heads/late"], {"refs/heads/late": oid("4"), MAIN: oid("1")})
    assert {name: ref.oid for name, ref in found.by_name.items() if name != "HEAD"} == {
        MAIN: oid("2"),
        TOPIC: oid("3"),
        "refs/heads/late": oid("4"),
    }


def test_a_branch_that_is_there_again(gone: GoneRefs) -> None:
    """It is what it is now."""
    again = listing(main="2", topic="5")
    assert gone.completed(again, [TOPIC], {}) is again


def test_very_many_refs_are_not_compared(clock: FakeClock) -> None:
    """That would take longer than it helps."""
    refs = GoneRefs(clock=clock)
    many = listing(**{f"b{number}": "1" for number in range(MANY_REFS + 1)})
    refs.note(many, NOW)
    assert refs.completed(NOW, ["refs/heads/b1"], {}) is NOW
    assert refs.completed(NOW, list(many.by_name), {"refs/heads/b1": oid("1")}) is NOW
