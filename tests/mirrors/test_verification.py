"""Who waits for a mirror in doubt learns of nothing but its outcome."""

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.mirror import Mirror
from tests.fakes.mirrorgit import MirrorHouse
from tests.fakes.settled import failure_of, value_of
from tests.fakes.systemlimits import no_descriptors


@pytest.mark.parametrize("soon", [False, True])
def test_a_look_that_can_not_be_made_fails_nobody_who_waits(house: MirrorHouse, mirror: Mirror, soon: bool) -> None:
    """It proves nothing: the mirror serves on, and its clients are answered."""
    held = mirror.locks.exclusive()
    value_of(Deferred.fromCoroutine(held.__aenter__()))
    mirror.verification.doubt(serving=False)
    verification = mirror.verification
    waiting = Deferred.fromCoroutine(verification.settled_soon() if soon else verification.settled())
    with no_descriptors():
        value_of(Deferred.fromCoroutine(held.__aexit__(None, None, None)))
    assert value_of(waiting) is None
    assert mirror.ready


def test_who_makes_something_of_it_is_told(house: MirrorHouse, mirror: Mirror) -> None:
    """Nothing is made of what was not read."""
    with no_descriptors():
        proven = Deferred.fromCoroutine(mirror.verification.proven())
    assert isinstance(failure_of(proven), OSError)
    assert value_of(Deferred.fromCoroutine(mirror.verification.proven()))
