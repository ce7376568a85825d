"""Which repositories have mirrors that serve."""

from pathlib import Path

from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.mirrors.readiness import ReadyRepositories
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse
from tests.fakes.settled import value_of


def test_they_are_as_they_are_now(tmp_path: Path) -> None:
    """Whatever becomes of a mirror shows at the next look; one that an earlier run has left is one of them."""
    house = MirrorHouse(tmp_path / "mirrors")
    ready = ReadyRepositories(mirrors=house.mirrors, clock=house.clock)
    other = Identity("git.example", "org/other")
    house.mirrors.obtain(other)
    assert list(ready()) == []
    mirror = value_of(house.made())
    assert list(ready()) == [REPOSITORY] and ready() is ready()
    mirror.life.in_doubt = True
    assert list(ready()) == []
    mirror.life.in_doubt = False
    value_of(Deferred.fromCoroutine(house.mirroring.made(other)))
    assert list(ready()) == [other, REPOSITORY]
    again = MirrorHouse(house.root, discovered=False)
    value_of(Deferred.fromCoroutine(again.discovery.discover()))
    left = ReadyRepositories(mirrors=again.mirrors, clock=again.clock)
    assert sorted(left()) == [other, REPOSITORY]
    value_of(Deferred.fromCoroutine(again.mirrors.first_looks.look_through()))
    assert sorted(left()) == [other, REPOSITORY]
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert list(ready()) == [other]


def test_what_nobody_has_told_of_shows_after_a_while(tmp_path: Path) -> None:
    """An instance that ends by itself is no longer one of them some minutes later."""
    house = MirrorHouse(tmp_path / "mirrors")
    ready = ReadyRepositories(mirrors=house.mirrors, clock=house.clock)
    value_of(house.made())
    assert list(ready()) == [REPOSITORY]
    house.standing.is_current = lambda instance: False  # type: ignore[method-assign]
    house.clock.advance(300)
    assert list(ready()) == []
