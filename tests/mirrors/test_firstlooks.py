"""How the mirrors on disk are looked at after a start."""

import errno
from collections.abc import Callable, Container
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.collection import scrub
from cachew.mirrors.firstlooks import FirstLooks
from cachew.mirrors.heldup import LATE
from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirrorrecord import MirrorRecord
from cachew.plumbing.errors import MirrorGone, StorageUnavailable
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, oid
from tests.fakes.settled import failure_of, value_of


class Threads:
    """Runs nothing before it is told to."""

    def __init__(self) -> None:
        self.waiting: list[Callable[[], None]] = []

    async def __call__(self, function: Callable[..., Any], *args: Any) -> Any:
        """Note what is to be run."""
        done: Deferred[Any] = Deferred()
        self.waiting.append(lambda: done.callback(function(*args)))
        return await done


class Found:
    """A mirror.

    :param unreadable: the paths of those for which there is no descriptor.
    :param reading: called while a thread is at it.
    """

    def __init__(self, identity: Identity, unreadable: Container[str], reading: Callable[[Identity], object]) -> None:
        self.identity, self.unreadable, self.reading = identity, unreadable, reading
        self.life = SimpleNamespace(state=MirrorState.READY)

    def look(self, record: MirrorRecord) -> MirrorRecord:
        """See what is there."""
        if self.identity.path == "broken":
            raise RuntimeError("nobody has thought of that")
        self.reading(self.identity)
        if self.identity.path in self.unreadable:
            raise OSError(errno.EMFILE, "Too many open files")
        return record

    async def take_up(self, found: MirrorRecord) -> None:
        """Serve it."""


class OnDisk:
    """So many mirrors on disk, and threads that look at them when the test says so."""

    def __init__(self, count: int) -> None:
        self.identities = [Identity("git.example", f"r{number}") for number in range(count)]
        self.made: list[Identity] = []
        self.adopted: list[Identity] = []
        self.unreadable: set[str] = set()
        self.held_up: dict[str, Callable[[], object]] = {}
        self.threads, self.clock = Threads(), FakeClock()
        self.looks = FirstLooks(
            new=cast(Any, self.new),
            adopt=lambda mirror: self.adopted.append(mirror.identity),
            threads=cast(Any, self.threads),
            reactor=self.clock,
        )
        self.expect(*self.identities)

    def expect(self, *identities: Identity) -> None:
        """Find some on disk."""
        self.looks.expect({one: MirrorRecord(one, "sha1", "instance", "generation") for one in identities})

    def new(self, identity: Identity) -> Found:
        """Make one."""
        self.made.append(identity)
        return Found(identity, self.unreadable, self.read)

    def read(self, identity: Identity) -> None:
        """Have a thread read one, which may take long."""
        if (meanwhile := self.held_up.pop(identity.path, None)) is not None:
            self.clock.advance(LATE)
            assert identity in self.looks.unseen
            self.clock.advance(LATE)
            meanwhile()

    def look(self, identity: Identity, patience: float | None = None) -> Deferred[None]:
        """Ask for one."""
        return Deferred.fromCoroutine(self.looks.look(identity, patience))

    def run(self) -> None:
        """Let the threads do all that they have to, and what comes of it."""
        while self.threads.waiting:
            self.threads.waiting.pop(0)()


def test_some_are_looked_at_while_others_are_put_together() -> None:
    """A thread and the reactor are never both idle; at the end all are there, each once, and who waits goes on."""
    disk = OnDisk(70)
    over = Deferred.fromCoroutine(disk.looks.over())
    looking = Deferred.fromCoroutine(disk.looks.look_through())
    assert (len(disk.threads.waiting), len(disk.made), len(disk.adopted)) == (2, 40, 0)
    disk.threads.waiting.pop(0)()
    assert (len(disk.threads.waiting), len(disk.made), len(disk.adopted)) == (2, 60, 20)
    assert not over.called
    disk.run()
    assert looking.called and over.called and not disk.looks.unseen
    assert sorted(disk.adopted) == sorted(disk.identities)


def test_one_that_is_asked_for_is_looked_at_at_once() -> None:
    """Whoever asks waits for no other mirror; his own is looked at once, however many ask and whoever goes away."""
    disk = OnDisk(70)
    looking = Deferred.fromCoroutine(disk.looks.look_through())
    last, gone, early = disk.look(disk.identities[-1]), disk.look(disk.identities[-1]), disk.look(disk.identities[0])
    gone.cancel()
    assert isinstance(failure_of(gone), CancelledError)
    assert len(disk.threads.waiting) == 3 and not last.called
    disk.threads.waiting.pop(2)()
    assert last.called and disk.adopted == [disk.identities[-1]] and not early.called
    disk.threads.waiting.pop(0)()
    assert early.called and disk.look(disk.identities[0]).called
    disk.run()
    assert looking.called and sorted(disk.adopted) == sorted(disk.identities) == sorted(disk.made)


def test_who_has_gone_leaves_no_look_behind() -> None:
    """A look whose only client leaves goes on: nothing else begins on the mirror while a thread is still at it."""
    disk = OnDisk(1)
    disk.look(disk.identities[0]).addErrback(lambda failure: failure.trap(CancelledError) and None).cancel()
    again = disk.look(disk.identities[0])
    assert len(disk.threads.waiting) == 1 and not again.called
    disk.run()
    assert again.called and disk.made == disk.adopted == disk.identities


def test_some_wait_only_for_a_moment() -> None:
    """Whoever can do without the mirror goes on after his patience, and the look does, too."""
    disk = OnDisk(1)
    waiting = disk.look(disk.identities[0], 0.05)
    disk.clock.advance(0.04)
    assert not waiting.called
    disk.clock.advance(0.02)
    assert waiting.called and disk.identities[0] in disk.looks.unseen
    disk.run()
    assert disk.adopted == disk.identities


def test_what_nobody_has_thought_of_keeps_no_other_back(flush_logged_errors: Any) -> None:
    """A mirror on which a look fails for whatever reason is not served and told of; the others are there."""
    disk = OnDisk(3)
    disk.expect(broken := Identity("git.example", "broken"))
    looking = Deferred.fromCoroutine(disk.looks.look_through())
    disk.run()
    assert looking.called and broken not in disk.adopted and disk.adopted == disk.identities
    assert len(flush_logged_errors(RuntimeError)) == 1


def test_what_there_is_no_descriptor_for_is_looked_at_later() -> None:
    """It is not taken for damaged, nor made anew: who asks for it is told, and the next time it is there."""
    disk = OnDisk(3)
    disk.unreadable = {"r1"}
    looking, over = (Deferred.fromCoroutine(wait) for wait in (disk.looks.look_through(), disk.looks.over()))
    disk.run()
    assert looking.called and not over.called and list(disk.looks.unseen) == [disk.identities[1]]
    asking = disk.look(disk.identities[1])
    disk.run()
    assert isinstance(failure_of(asking), OSError) and disk.identities[1] in disk.looks.unseen
    disk.unreadable.clear()
    looking = Deferred.fromCoroutine(disk.looks.look_through())
    disk.run()
    assert looking.called and over.called and set(disk.adopted) == set(disk.identities)


def test_one_that_the_disk_holds_up_is_left_behind() -> None:
    """Those after it are looked at by another thread, nobody waits for it, and it is there when its look ends."""
    disk = OnDisk(45)
    slow = disk.identities[3]
    looking, over = (Deferred.fromCoroutine(wait) for wait in (disk.looks.look_through(), disk.looks.over()))
    waiting = disk.look(slow)

    def meanwhile() -> None:
        disk.run()
        assert list(disk.looks.unseen) == [slow] and looking.called and over.called
        assert isinstance(failure_of(waiting), StorageUnavailable)
        assert isinstance(failure_of(disk.look(slow)), StorageUnavailable) and disk.look(slow, 5).called

    disk.held_up["r3"] = meanwhile
    first = disk.threads.waiting.pop(0)
    disk.run()
    first()
    assert not disk.looks.unseen and sorted(disk.adopted) == sorted(disk.identities) == sorted(disk.made)
    assert disk.look(slow).called and not disk.clock.getDelayedCalls()


def test_who_goes_on_without_is_not_told_that_the_disk_holds_it_up() -> None:
    """Also when that turns out while he waits: his upstream answers him, as it does who comes a moment later."""
    disk = OnDisk(1)
    Deferred.fromCoroutine(disk.looks.look_through())
    disk.clock.advance(LATE - 1)
    asking = disk.look(disk.identities[0], 5)
    assert not asking.called
    disk.clock.advance(1)
    assert value_of(asking) is None and disk.look(disk.identities[0], 5).called
    disk.run()
    assert disk.adopted == disk.identities and not disk.clock.getDelayedCalls()


def test_a_disk_that_hangs_takes_no_more_threads() -> None:
    """Nobody waits for what it holds up then; when it goes on, the next turn looks at the rest."""
    disk = OnDisk(100)
    looking, over = (Deferred.fromCoroutine(wait) for wait in (disk.looks.look_through(), disk.looks.over()))

    def hanging() -> None:
        # Of those after the first one no thread has come to any.
        assert looking.called and over.called and len(disk.threads.waiting) == 1
        assert isinstance(failure_of(disk.look(disk.identities[-1])), StorageUnavailable)
        assert disk.look(disk.identities[-1], 5).called and Deferred.fromCoroutine(disk.looks.over()).called

    first, disk.held_up["r0"] = disk.threads.waiting
    disk.held_up["r20"] = hanging
    disk.threads.waiting.clear()
    first()
    disk.run()
    assert set(disk.adopted) == {disk.identities[number] for number in (0, 1, 20)}
    again = Deferred.fromCoroutine(disk.looks.look_through())
    disk.run()
    assert again.called and not disk.looks.unseen and set(disk.adopted) == set(disk.identities)


def test_a_server_that_ends_waits_for_no_look_that_hangs() -> None:
    """What comes of it is taken up by nobody."""
    disk = OnDisk(1)
    Deferred.fromCoroutine(disk.looks.look_through())
    disk.held_up["r0"] = lambda: value_of(Deferred.fromCoroutine(disk.looks.stop()))
    disk.run()
    assert disk.adopted == []


@pytest.fixture
def house(tmp_path: Path) -> MirrorHouse:
    """A house that has found a mirror on disk and not looked at it."""
    before = MirrorHouse(tmp_path / "mirrors")
    value_of(before.made())
    (before.root / REPOSITORY.directory_name / "packed-refs.lock").touch()
    house = MirrorHouse(before.root, discovered=False)
    value_of(Deferred.fromCoroutine(house.discovery.discover()))
    return house


def test_a_mirror_is_served_only_after_its_look(house: MirrorHouse) -> None:
    """Nothing is answered from one before, nor is it made anew; afterwards what a killed git has left is gone."""
    lock = house.root / REPOSITORY.directory_name / "packed-refs.lock"
    assert house.mirrors.ready(REPOSITORY) is None and lock.exists()
    house.mirroring.want(REPOSITORY)
    assert house.git.ran == []
    mirror = value_of(house.made())
    assert mirror.ready and house.mirrors.ready(REPOSITORY) is mirror and not lock.exists()
    assert house.git.ran == [] and house.made_of == []


def test_one_that_is_forgotten_goes_though_nobody_has_looked_at_it(house: MirrorHouse) -> None:
    """Forgetting removes it from the disk as any other."""
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert house.left() == [] and not house.mirrors.first_looks.unseen
    assert isinstance(failure_of(Deferred.fromCoroutine(house.mirroring.present(REPOSITORY))), MirrorGone)


def test_a_mirror_whose_instance_ends_during_the_look_is_not_served(house: MirrorHouse) -> None:
    """Whose mirror it is counts when it is taken up, not when a thread began to look."""
    mirror = house.mirrors.new(REPOSITORY)
    found = mirror.look(house.mirrors.first_looks.unseen[REPOSITORY])
    house.standing.is_current = lambda instance: False  # type: ignore[method-assign]
    value_of(Deferred.fromCoroutine(mirror.take_up(found)))
    assert not mirror.ready and mirror.place.found is None


def test_a_mirror_whose_instance_ends_while_git_lists_its_refs_is_not_served(house: MirrorHouse) -> None:
    """As of one with a tag of which git has to say what it leads to."""
    tag = house.root / REPOSITORY.directory_name / "refs/tags/v1"
    tag.parent.mkdir()
    tag.write_text(f"{oid('2')}\n")
    house.git.holding = {"for-each-ref"}
    looking = Deferred.fromCoroutine(house.mirrors.first_looks.look(REPOSITORY))
    assert house.git.held and not looking.called
    house.standing.is_current = lambda instance: False  # type: ignore[method-assign]
    house.git.release()
    assert looking.called and house.mirrors.ready(REPOSITORY) is None
    assert house.mirrors.first_looks.ended == [REPOSITORY]


def test_what_goes_through_all_waits_until_all_are_known(house: MirrorHouse) -> None:
    """Nothing is taken for all mirrors that there are while some were not looked at."""

    async def pace(size: int) -> None:
        sizes.append(size)

    sizes: list[int] = []
    scrubbing = Deferred.fromCoroutine(scrub(house.mirrors, pace))
    assert not scrubbing.called
    value_of(Deferred.fromCoroutine(house.mirrors.first_looks.look_through()))
    assert scrubbing.called
