"""Who waits for a mirror in doubt learns of nothing but its outcome."""

import shutil

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import CorruptObject
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse
from tests.fakes.settled import failure_of, value_of
from tests.fakes.systemlimits import largest_file, no_descriptors


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


def test_what_can_not_be_mended_is_made_anew(house: MirrorHouse, mirror: Mirror) -> None:
    """A mirror that is known to be damaged serves nobody, and what was made of it is withdrawn."""
    (mirror.directory / "config").write_bytes(b"garbage")
    with largest_file(8):
        looking = Deferred.fromCoroutine(mirror.verification.look())
    assert isinstance(failure_of(looking), CorruptObject)
    assert not mirror.ready and [identity for identity, _ in house.damaged] == [REPOSITORY]
    house.clock.advance(1000)
    again = value_of(house.made())
    assert again.ready and b"garbage" not in (again.directory / "config").read_bytes()


def test_what_was_made_of_a_mirror_that_can_not_be_removed_is_withdrawn(house: MirrorHouse, mirror: Mirror) -> None:
    """The disk that lost an object may take no change either."""
    shutil.rmtree(house.root / ".aside")
    (house.root / ".aside").touch()
    losing = Deferred.fromCoroutine(mirror.damage.lose("it lost an object"))
    assert isinstance(failure_of(losing), OSError)
    assert not mirror.ready and [identity for identity, _ in house.damaged] == [REPOSITORY]
