"""Which mirrors are used is remembered, from the first clone on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred

from cachew.mirrors.identity import Identity
from cachew.mirrors.leftovers import remove_tree
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.mirrors.quota import MirrorBounds
from cachew.mirrors.tidying import Tidying
from cachew.mirrors.usage import MirrorUsage
from cachew.plumbing.errors import NotFound
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, listing, oid
from tests.fakes.settled import failure_of, value_of


class Keeping:
    """What keeps a house of mirrors: who uses them, and which go."""

    def __init__(self, house: MirrorHouse, file: Path, limit: int = 0, threads: Any = None) -> None:
        threads = threads or cast(Any, InlineThreads())
        self.usage = MirrorUsage(mirrors=house.mirrors, file=file, threads=threads, clock=house.clock)
        self.tidying = Tidying(
            mirrors=house.mirrors,
            succession=house.succession,
            usage=self.usage,
            threads=threads,
            background=house.background,
            clock=house.clock,
            bounds=MirrorBounds(limit=limit),
        )


def test_those_who_come_while_it_is_made_use_it(tmp_path: Path) -> None:
    """Clients of a mirror that is still being made count, those of a repository that nobody mirrors don't."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = Keeping(house, tmp_path / "used.json")
    house.mirrors.obtain(REPOSITORY)
    tidying.usage.used(REPOSITORY)
    assert tidying.usage.requests(REPOSITORY) == 0
    house.git.holding = {"fetch"}
    making = house.made()
    tidying.usage.used(REPOSITORY)
    house.git.release()
    assert value_of(making).ready
    assert tidying.usage.requests(REPOSITORY) == 1
    assert tidying.usage.last_used(REPOSITORY) == house.clock.seconds()


def remembering(house: MirrorHouse, file: Path) -> Keeping:
    """Return what tidies without a limit."""
    return Keeping(house, file)


def test_what_could_not_be_written_down_is_written_down_later(tmp_path: Path) -> None:
    """A disk that is full when something changes is not the end of it, though nothing else changes."""
    house, file = MirrorHouse(tmp_path / "mirrors"), tmp_path / "later" / "used.json"
    value_of(house.made())
    tidying = remembering(house, file)
    tidying.usage.checked(REPOSITORY)
    assert isinstance(failure_of(Deferred.fromCoroutine(tidying.usage.save())), FileNotFoundError)
    file.parent.mkdir()
    value_of(Deferred.fromCoroutine(tidying.usage.save()))
    assert file.exists()


def test_when_an_upstream_was_asked_outlives_a_restart(tmp_path: Path) -> None:
    """After a restart it is known when each mirror was last compared with its upstream, and of none that is gone."""
    house = MirrorHouse(tmp_path / "mirrors")
    value_of(house.made())

    before, after = remembering(house, tmp_path / "used.json"), remembering(house, tmp_path / "used.json")
    before.usage.checked(REPOSITORY)
    before.usage.checked(Identity("git.example", "not/mirrored"))
    value_of(Deferred.fromCoroutine(before.usage.save()))
    asked = house.clock.seconds()
    house.clock.advance(1000)
    value_of(Deferred.fromCoroutine(after.usage.load()))
    assert after.usage.last_checked(REPOSITORY) == asked
    assert after.usage.last_checked(Identity("git.example", "not/mirrored")) is None
    after.usage.forget(REPOSITORY)
    assert after.usage.last_checked(REPOSITORY) is None


def test_what_is_forgotten_is_not_counted_any_more(tmp_path: Path) -> None:
    """Of a repository that is forgotten nothing is known: neither its last use nor how often it was asked for."""
    house = MirrorHouse(tmp_path / "mirrors")
    value_of(house.made())
    tidying = Keeping(house, tmp_path / "used.json")
    tidying.usage.used(REPOSITORY)
    tidying.usage.forget(REPOSITORY)
    assert tidying.usage.last_used(REPOSITORY) is None and tidying.usage.requests(REPOSITORY) == 0


def test_what_is_remembered_is_of_mirrors_that_nobody_has_looked_at_too(tmp_path: Path) -> None:
    """After a start nothing is taken for superfluous before all mirrors on disk are among those that there are."""
    house, file = MirrorHouse(tmp_path / "mirrors"), tmp_path / "used.json"
    value_of(house.made())
    before = remembering(house, file)
    before.usage.used(REPOSITORY)
    value_of(Deferred.fromCoroutine(before.tidying.tidy()))
    again = MirrorHouse(house.root, discovered=False)
    value_of(Deferred.fromCoroutine(again.discovery.discover()))
    keeping = remembering(again, file)
    value_of(Deferred.fromCoroutine(keeping.usage.load()))
    tidying = Deferred.fromCoroutine(keeping.tidying.tidy())
    assert not tidying.called
    value_of(Deferred.fromCoroutine(again.mirrors.first_looks.look_through()))
    assert tidying.called and keeping.usage.last_used(REPOSITORY) is not None


def test_what_the_disk_holds_up_stays_remembered(tmp_path: Path) -> None:
    """A mirror that was not looked at when all others were tidied is not taken for one that is gone."""
    house, file, slow = MirrorHouse(tmp_path / "mirrors"), tmp_path / "used.json", Identity("git.example", "slow")
    value_of(house.made())
    file.write_text(f'{{"{slow.name}": 7.0, "git.example/gone": 8.0}}')

    async def threads(function: Callable[..., Any], *args: Any) -> Any:
        house.mirrors.first_looks.expect({slow: MirrorRecord(slow, "sha1", "instance", "generation")})
        return function(*args)

    keeping = Keeping(house, file, threads=threads)
    value_of(Deferred.fromCoroutine(keeping.usage.load()))
    house.mirrors.first_looks.unseen.clear()
    value_of(Deferred.fromCoroutine(keeping.tidying.tidy()))
    assert [keeping.usage.last_used(one) for one in (slow, Identity("git.example", "gone"))] == [7.0, None]


def sized(house: MirrorHouse, name: str, size: int) -> Mirror:
    """Make a mirror whose packs take so many bytes."""
    identity = Identity("git.example", name)
    mirror = value_of(Deferred.fromCoroutine(house.mirroring.made(identity)))
    (mirror.directory / "objects/pack/pack-1.pack").write_bytes(bytes(size))
    return mirror


def limited(house: MirrorHouse, file: Path, limit: int) -> Keeping:
    """Return what keeps a house within its limit."""
    return Keeping(house, file, limit)


def test_a_limit_is_looked_at_when_a_mirror_has_grown(tmp_path: Path) -> None:
    """A mirror that is made, or fetches, tells so; those used least go at once, and come back when a client asks."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 1000)
    mirrors = []
    for name, size in (("a", 400), ("b", 300), ("c", 200)):
        mirrors.append(sized(house, name, size))
        tidying.usage.used(mirrors[-1].identity)
        house.clock.advance(10)
    assert house.grown == [mirror.identity for mirror in mirrors]
    for identity in house.grown:
        tidying.tidying.grown(identity)
    assert [mirror.ready for mirror in mirrors] == [True, True, True]
    tidying.usage.used(mirrors[0].identity)
    (mirrors[2].directory / "objects/pack/pack-2.pack").write_bytes(bytes(150))
    value_of(house.sync(mirrors[2], listing(main="2")))
    assert house.grown[-1] == mirrors[2].identity
    tidying.tidying.grown(mirrors[2].identity)
    assert [mirror.ready for mirror in mirrors] == [True, False, True]
    assert isinstance(failure_of(Deferred.fromCoroutine(house.mirroring.present(mirrors[1].identity))), NotFound)
    assert value_of(Deferred.fromCoroutine(house.mirroring.made(mirrors[1].identity))).ready


def test_a_mirror_in_doubt_takes_room_too(tmp_path: Path) -> None:
    """What is in doubt while all mirrors are looked at is counted, and goes when it was used least."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 1000)
    one, two = (sized(house, name, 600) for name in "ab")
    for mirror in (one, two):
        house.clock.advance(10)
        tidying.usage.used(mirror.identity)
    one.life.in_doubt = True
    value_of(Deferred.fromCoroutine(tidying.tidying.tidy()))
    assert one.life.state is MirrorState.EMPTY and two.ready


def test_many_that_grow_at_once_are_looked_at_together(tmp_path: Path) -> None:
    """While one look waits for a mirror to go, those that grow meanwhile have one more, and all of them count."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 1000)
    one, two, three = (sized(house, name, 600) for name in "abc")
    for mirror in (one, two, three):
        house.clock.advance(10)
        tidying.usage.used(mirror.identity)
    house.git.holding = {"fetch"}
    asked = house.ensure(one, oid("5"))
    tidying.tidying.grown(three.identity)
    for _ in range(100):
        tidying.tidying.grown(two.identity)
    assert (one.ready, two.ready, three.ready) == (True, True, True)
    house.git.release()
    assert asked.called
    assert (one.ready, two.ready, three.ready) == (False, False, True)


def test_a_mirror_that_somebody_has_removed_is_let_go(tmp_path: Path) -> None:
    """It is none of those that there are any more, though nobody asks for it; and keeps no other from it."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 1000)
    one, two, three = (sized(house, name, 600) for name in "abc")
    for mirror in (one, two, three):
        house.clock.advance(10)
        tidying.usage.used(mirror.identity)
    remove_tree(two.directory)
    value_of(Deferred.fromCoroutine(tidying.tidying.tidy()))
    assert house.mirrors.known() == [three]


def test_without_a_limit_nothing_is_measured(tmp_path: Path) -> None:
    """Where mirrors may be as large as they will nobody looks."""
    house = MirrorHouse(tmp_path / "mirrors")
    tidying = limited(house, tmp_path / "used.json", 0)
    tidying.tidying.grown(sized(house, "a", 10_000).identity)
    assert house.mirrors.ready(Identity("git.example", "a")) is not None
