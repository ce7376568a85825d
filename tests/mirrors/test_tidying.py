"""Which mirrors are used is remembered, from the first clone on."""

from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.tidying import Tidying
from cachew.plumbing.errors import NotFound
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, listing, oid
from tests.fakes.settled import failure_of, value_of


def test_those_who_come_while_it_is_made_use_it(tmp_path: Path) -> None:
    """Clients of a mirror that is still being made count, those of a repository that nobody mirrors don't."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = Tidying(
        mirrors=house.mirrors,
        file=tmp_path / "used.json",
        threads=cast(Any, InlineThreads()),
        background=house.background,
        clock=house.clock,
        limit=0,
        forget_after=0,
    )
    house.mirrors.obtain(REPOSITORY)
    tidying.used(REPOSITORY)
    assert tidying.requests(REPOSITORY) == 0
    house.git.holding = {"fetch"}
    making = house.made()
    tidying.used(REPOSITORY)
    house.git.release()
    assert value_of(making).ready
    assert tidying.requests(REPOSITORY) == 1
    assert tidying.last_used(REPOSITORY) == house.clock.seconds()


def remembering(house: MirrorHouse, file: Path) -> Tidying:
    """Return what tidies without a limit."""
    return Tidying(
        mirrors=house.mirrors,
        file=file,
        threads=cast(Any, InlineThreads()),
        background=house.background,
        clock=house.clock,
        limit=0,
        forget_after=0,
    )


def test_what_could_not_be_written_down_is_written_down_later(tmp_path: Path) -> None:
    """A disk that is full when something changes is not the end of it, though nothing else changes."""
    house, file = MirrorHouse(tmp_path / "mirrors"), tmp_path / "later" / "used.json"
    value_of(house.made())
    tidying = remembering(house, file)
    tidying.checked(REPOSITORY)
    assert isinstance(failure_of(Deferred.fromCoroutine(tidying.save())), FileNotFoundError)
    file.parent.mkdir()
    value_of(Deferred.fromCoroutine(tidying.save()))
    assert file.exists()


def test_when_an_upstream_was_asked_outlives_a_restart(tmp_path: Path) -> None:
    """After a restart it is known when each mirror was last compared with its upstream, and of none that is gone."""
    house = MirrorHouse(tmp_path / "mirrors")
    value_of(house.made())

    before, after = remembering(house, tmp_path / "used.json"), remembering(house, tmp_path / "used.json")
    before.checked(REPOSITORY)
    before.checked(Identity("git.example", "not/mirrored"))
    value_of(Deferred.fromCoroutine(before.save()))
    asked = house.clock.seconds()
    house.clock.advance(1000)
    value_of(Deferred.fromCoroutine(after.load()))
    assert after.last_checked(REPOSITORY) == asked
    assert after.last_checked(Identity("git.example", "not/mirrored")) is None
    after.forget(REPOSITORY)
    assert after.last_checked(REPOSITORY) is None


def test_what_is_forgotten_is_not_counted_any_more(tmp_path: Path) -> None:
    """Of a repository that is forgotten nothing is known: neither its last use nor how often it was asked for."""
    house = MirrorHouse(tmp_path / "mirrors")
    value_of(house.made())
    tidying = Tidying(
        mirrors=house.mirrors,
        file=tmp_path / "used.json",
        threads=cast(Any, InlineThreads()),
        background=house.background,
        clock=house.clock,
        limit=0,
        forget_after=0,
    )
    tidying.used(REPOSITORY)
    tidying.forget(REPOSITORY)
    assert tidying.last_used(REPOSITORY) is None and tidying.requests(REPOSITORY) == 0


def sized(house: MirrorHouse, name: str, size: int) -> Mirror:
    """Make a mirror whose packs take so many bytes."""
    identity = Identity("git.example", name)
    mirror = value_of(Deferred.fromCoroutine(house.mirrors.made(identity)))
    (mirror.directory / "objects/pack/pack-1.pack").write_bytes(bytes(size))
    return mirror


def limited(house: MirrorHouse, file: Path, limit: int) -> Tidying:
    """Return what keeps a house within its limit."""
    return Tidying(
        mirrors=house.mirrors,
        file=file,
        threads=cast(Any, InlineThreads()),
        background=house.background,
        clock=house.clock,
        limit=limit,
        forget_after=0,
    )


def test_a_limit_is_looked_at_when_a_mirror_has_grown(tmp_path: Path) -> None:
    """A mirror that is made, or fetches, tells so; those used least go at once, and come back when a client asks."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 1000)
    mirrors = []
    for name, size in (("a", 400), ("b", 300), ("c", 200)):
        mirrors.append(sized(house, name, size))
        tidying.used(mirrors[-1].identity)
        house.clock.advance(10)
    assert house.grown == [mirror.identity for mirror in mirrors]
    for identity in house.grown:
        tidying.grown(identity)
    assert [mirror.ready for mirror in mirrors] == [True, True, True]
    tidying.used(mirrors[0].identity)
    (mirrors[2].directory / "objects/pack/pack-2.pack").write_bytes(bytes(150))
    value_of(house.sync(mirrors[2], listing(main="2")))
    assert house.grown[-1] == mirrors[2].identity
    tidying.grown(mirrors[2].identity)
    assert [mirror.ready for mirror in mirrors] == [True, False, True]
    assert isinstance(failure_of(Deferred.fromCoroutine(house.mirrors.present(mirrors[1].identity))), NotFound)
    assert value_of(Deferred.fromCoroutine(house.mirrors.made(mirrors[1].identity))).ready


def test_a_mirror_in_doubt_takes_room_too(tmp_path: Path) -> None:
    """What is in doubt while all mirrors are looked at is counted, and goes when it was used least."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 1000)
    one, two = (sized(house, name, 600) for name in "ab")
    for mirror in (one, two):
        house.clock.advance(10)
        tidying.used(mirror.identity)
    one.life.in_doubt = True
    value_of(Deferred.fromCoroutine(tidying.tidy()))
    assert one.life.state is MirrorState.EMPTY and two.ready


def test_many_that_grow_at_once_are_looked_at_together(tmp_path: Path) -> None:
    """While one look waits for a mirror to go, those that grow meanwhile have one more, and all of them count."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 1000)
    one, two, three = (sized(house, name, 600) for name in "abc")
    for mirror in (one, two, three):
        house.clock.advance(10)
        tidying.used(mirror.identity)
    house.git.holding = {"fetch"}
    asked = house.ensure(one, oid("5"))
    tidying.grown(three.identity)
    for _ in range(100):
        tidying.grown(two.identity)
    assert (one.ready, two.ready, three.ready) == (True, True, True)
    house.git.release()
    assert asked.called
    assert (one.ready, two.ready, three.ready) == (False, False, True)


def test_without_a_limit_nothing_is_measured(tmp_path: Path) -> None:
    """Where mirrors may be as large as they will nobody looks."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 0)
    tidying.grown(sized(house, "a", 10_000).identity)
    assert house.mirrors.ready(Identity("git.example", "a")) is not None
