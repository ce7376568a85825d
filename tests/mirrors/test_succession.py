"""The mirror of an ended instance serves nobody, is of use to the next one, and goes when no next one comes."""

from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.upstream.listing import Listing
from tests.fakes.instances import only
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, listing, unreachable
from tests.fakes.settled import failure_of, result_of, value_of

LEFT = 3600.0


def remove_left(house: MirrorHouse) -> None:
    """Have removed what is of no use any more."""
    result_of(house.succession.remove_left())


def test_whose_refs_are_known(house: MirrorHouse, mirror: Mirror) -> None:
    """Of another instance, or where there is no mirror, nothing can be said."""
    shares = house.succession.shares
    assert shares(mirror.life.instance, listing(main="1")) is True
    assert shares(mirror.life.instance, listing(main="2")) is False
    assert shares(mirror.life.instance, Listing(refs=())) is False
    assert shares(Instance(REPOSITORY, "another"), listing(main="1")) is None
    assert shares(only(Identity("git.example", "other")), listing(main="1")) is None


def test_an_ended_instance_serves_nobody(house: MirrorHouse, mirror: Mirror) -> None:
    """Its directory stays for the next one, which may be made at once."""
    house.succession.ended(mirror.life.instance)
    assert not mirror.ready
    assert house.mirrors.ready(REPOSITORY) is None
    assert mirror.directory.exists()
    after = value_of(house.made())
    assert after is not mirror
    assert after.ready
    house.clock.advance(LEFT)
    remove_left(house)
    assert after.ready and after.directory.exists()


def test_the_end_of_another_instance_ends_no_mirror(house: MirrorHouse, mirror: Mirror) -> None:
    """As of one that was here before."""
    house.succession.ended(Instance(REPOSITORY, "another"))
    house.succession.ended(only(Identity("git.example", "other")))
    assert mirror.ready
    house.clock.advance(LEFT)
    remove_left(house)
    assert mirror.ready


def test_what_nobody_has_made_use_of_goes_after_a_while(house: MirrorHouse, mirror: Mirror) -> None:
    """And is kept as long."""
    house.succession.ended(mirror.life.instance)
    house.clock.advance(LEFT - 1)
    remove_left(house)
    assert mirror.directory.exists()
    house.clock.advance(1)
    remove_left(house)
    assert not mirror.directory.exists()
    assert house.left() == []


def test_an_attempt_that_fails_does_not_keep_it(house: MirrorHouse, mirror: Mirror) -> None:
    """While somebody tries to make the next one nothing is taken from him; when he has failed it goes."""
    house.succession.ended(mirror.life.instance)
    house.git.holding = {"fetch"}
    attempt = house.made()
    house.clock.advance(LEFT)
    assert [mirror.life.state for mirror in house.mirrors] == [MirrorState.CLONING]
    remove_left(house)
    assert mirror.directory.exists()
    while house.git.held:
        house.git.release(unreachable())
    failure_of(attempt)
    assert list(house.mirrors) == []
    remove_left(house)
    assert not mirror.directory.exists()


def test_names_that_pile_up_do_not_keep_it(house: MirrorHouse, mirror: Mirror) -> None:
    """The next one's place may be forgotten among the names of a thousand that never became mirrors."""
    house.succession.ended(mirror.life.instance)
    for number in range(1100):
        house.mirrors.obtain(Identity("git.example", f"org/{number}"))
    house.clock.advance(LEFT)
    remove_left(house)
    assert not mirror.directory.exists()


def test_one_that_was_forgotten_is_forgotten_once(house: MirrorHouse, mirror: Mirror) -> None:
    """Whoever had it forgotten meanwhile has had all of it removed."""
    house.succession.ended(mirror.life.instance)
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert not mirror.directory.exists()
    house.clock.advance(LEFT)
    remove_left(house)
    remove_left(house)
    assert house.left() == []


def test_what_an_earlier_run_has_left_goes_after_a_while(house: MirrorHouse, mirror: Mirror) -> None:
    """A restart makes it no more useful."""
    MirrorRecord(REPOSITORY, "sha1", "1" * 32, mirror.life.generation).write(mirror.directory)
    again = MirrorHouse(house.root)
    value_of(Deferred.fromCoroutine(again.discovery.discover()))
    value_of(Deferred.fromCoroutine(again.mirrors.first_looks.look_through()))
    assert again.mirrors.ready(REPOSITORY) is None
    remove_left(again)
    again.clock.advance(LEFT)
    assert mirror.directory.exists()
    remove_left(again)
    assert not mirror.directory.exists()


def test_what_is_still_good_after_a_restart_stays(house: MirrorHouse, mirror: Mirror) -> None:
    """However long nobody asks for it."""
    again = MirrorHouse(house.root)
    value_of(Deferred.fromCoroutine(again.discovery.discover()))
    value_of(Deferred.fromCoroutine(again.mirrors.first_looks.look_through()))
    for _ in range(3):
        remove_left(again)
        again.clock.advance(LEFT)
    assert again.mirrors.ready(REPOSITORY) is not None
