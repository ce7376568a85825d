"""All mirrors: at most one each, made on demand, found again, and failures left alone for a while."""

from itertools import pairwise

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.cloneattempts import AT_ONCE
from cachew.mirrors.collection import scrub
from cachew.mirrors.identity import Grammar, Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirrorrecord import RECORD, MirrorRecord, read
from cachew.plumbing.errors import CorruptObject, MirrorGone, NotFound, ProcessFailed, StorageFull, UpstreamUnreachable
from tests.fakes.archives import trailed
from tests.fakes.instances import only
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, oid, unreachable
from tests.fakes.settled import failure_of, value_of


def discover(house: MirrorHouse) -> None:
    """Find what is on disk, and look at all of it."""
    value_of(Deferred.fromCoroutine(house.discovery.discover()))
    value_of(Deferred.fromCoroutine(house.mirrors.first_looks.look_through()))


def test_one_clone_for_all(house: MirrorHouse) -> None:
    """All who want a repository mirrored while it is being made get the same mirror, which is announced once."""
    house.git.holding = {"fetch"}
    waiting = [house.made() for _ in range(5)]
    house.mirroring.want(REPOSITORY)
    gone = waiting.pop()
    gone.cancel()
    assert isinstance(failure_of(gone), CancelledError)
    house.git.release()
    mirrors = [value_of(each) for each in waiting]
    assert set(mirrors) == {house.mirrors.find(REPOSITORY)} and house.made_of == [REPOSITORY]
    assert house.git.ran.count("init") == 1


@pytest.mark.parametrize("failure", [unreachable(), OSError("no space left on device")])
def test_failures_are_left_alone_for_longer_and_longer(house: MirrorHouse, failure: Exception) -> None:
    """After a failure nobody tries for a while, which grows to ten minutes; a success forgets it all."""
    house.git.failures["fetch"] = [failure] * 9
    tried: list[float] = []
    for _ in range(4000):
        before = house.git.ran.count("fetch")
        waiting = house.made()
        if house.git.ran.count("fetch") > before:
            tried.append(house.clock.seconds())
        if house.mirrors.obtain(REPOSITORY).ready:
            value_of(waiting)
            break
        failure_of(waiting)
        house.clock.advance(1)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert len(tried) == 10 and 5 <= pauses[0] <= 11 and all(300 <= pause <= 601 for pause in pauses[6:])
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert value_of(house.made()).ready


def test_whoever_comes_meanwhile_learns_why(house: MirrorHouse) -> None:
    """Whoever asks while nobody tries is told what the failure was; nothing is asked of the upstream for him."""
    house.git.failures["fetch"] = [unreachable()]
    assert isinstance(failure_of(house.made()), ProcessFailed)
    house.mirroring.want(REPOSITORY)
    refused = failure_of(house.made())
    assert isinstance(refused, UpstreamUnreachable) and "Failed to connect" in str(refused)
    assert house.git.ran.count("fetch") == 1


def test_whoever_needs_a_mirror_in_doubt_waits_for_the_outcome(house: MirrorHouse) -> None:
    """Whoever needs a mirror while it is in doubt gets it when it turns out to be sound, and no clone is begun."""
    mirror = value_of(house.made())
    held = mirror.locks.exclusive()
    value_of(Deferred.fromCoroutine(held.__aenter__()))
    mirror.verification.doubt(serving=False)
    asked = house.made()
    assert not mirror.ready and not asked.called and house.mirrors.ready(REPOSITORY) is None
    value_of(Deferred.fromCoroutine(held.__aexit__(None, None, None)))
    assert value_of(asked) is mirror and mirror.ready and len(house.made_of) == 1


@pytest.mark.parametrize("damaged", [False, True])
def test_only_those_that_serve_are_counted(house: MirrorHouse, damaged: bool) -> None:
    """One in doubt isn't, and is again when it turns out sound or is mended; one that is forgotten or removed isn't."""

    def serving() -> float | None:
        return house.metrics.registry.get_sample_value("cachew_mirrors")

    mirror = value_of(house.made())
    value_of(Deferred.fromCoroutine(house.mirroring.made(Identity("git.example", "org/other"))))
    held = mirror.locks.exclusive()
    value_of(Deferred.fromCoroutine(held.__aenter__()))
    if damaged:
        (mirror.directory / "config").write_bytes(b"\0garbage\n")
    assert serving() == 2
    mirror.verification.doubt(serving=False)
    assert serving() == 1
    value_of(Deferred.fromCoroutine(held.__aexit__(None, None, None)))
    assert serving() == 2 and len(house.damaged) == damaged
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert serving() == 1
    (house.root / Identity("git.example", "org/other").directory_name / RECORD).unlink()
    assert list(house.mirrors) == [] and serving() == 0
    discover(house)
    assert serving() == 0


def test_a_damaged_mirror_is_made_anew_though_nobody_asks(house: MirrorHouse) -> None:
    """A mirror that turns out to be damaged is cloned again at once, and what was made of it is withdrawn.

    From when on is told in the seconds by which what is made of mirrors is dated, not as a time of day.
    """
    house.clock.put_forward(1_700_000_000)
    mirror = value_of(house.made())
    before = mirror.life.generation
    (mirror.directory / "objects/pack").rmdir()
    mirror.verification.doubt(serving=False)
    assert mirror.ready and mirror.life.generation != before and len(house.made_of) == 2
    assert house.damaged == [(REPOSITORY, 1000.0)] and mirror.damage.what == "objects/pack"
    count = house.metrics.registry.get_sample_value
    assert count("cachew_damage_total", {"what": "mirror"}) == 1
    assert count("cachew_mirror_checks_total", {"outcome": "damaged"}) == 1


def test_what_is_damaged_each_time_it_is_made_is_made_more_and_more_seldom(house: MirrorHouse) -> None:
    """A mirror that is damaged again as soon as it was made anew is left alone for a while; who needs it is told."""
    mirror = value_of(house.made())
    for made in (*range(2, AT_ONCE + 2), AT_ONCE + 1, AT_ONCE + 2):
        (mirror.directory / "objects/pack").rmdir()
        mirror.verification.doubt(serving=False)
        assert len(house.made_of) == made
        if not mirror.ready:
            assert "damaged" in str(failure_of(house.made()))
            house.clock.advance(4.9)
            house.mirroring.want(REPOSITORY)
            assert not mirror.ready
            house.clock.advance(20)
            assert value_of(house.made()).ready
    house.clock.advance(61)
    (mirror.directory / "objects/pack").rmdir()
    mirror.verification.doubt(serving=False)
    assert mirror.ready


def test_a_mirror_is_verified_before_something_is_made_of_it(house: MirrorHouse) -> None:
    """What is to be made of a damaged mirror is not made; nor what is made of one that changes meanwhile."""
    mirror = value_of(house.made())
    check = value_of(Deferred.fromCoroutine(mirror.verification.prove()))
    check()
    (mirror.directory / "HEAD").write_text("nonsense")
    with pytest.raises(CorruptObject):
        check()
    assert (mirror.directory / "HEAD").read_text() == "ref: refs/heads/main\n"
    (mirror.directory / "objects/pack").rmdir()
    house.clock.advance(100)
    assert isinstance(failure_of(Deferred.fromCoroutine(mirror.verification.prove())), CorruptObject)
    assert mirror.ready and len(house.made_of) == 2
    value_of(Deferred.fromCoroutine(mirror.verification.prove()))()


@pytest.mark.parametrize("made_anew", [False, True])
def test_what_is_made_of_a_mirror_that_is_forgotten_meanwhile(house: MirrorHouse, made_anew: bool) -> None:
    """It is told that the mirror was forgotten, and not that it is damaged; another one can be waited for."""
    mirror = value_of(house.made())
    check = value_of(Deferred.fromCoroutine(mirror.verification.prove()))
    value_of(Deferred.fromCoroutine(mirror.forget()))
    if made_anew:
        value_of(house.made())
    with pytest.raises(MirrorGone, match="was forgotten meanwhile"):
        check()


def test_a_scrub_finds_what_nobody_asks_for(house: MirrorHouse) -> None:
    """A pack that rots where nobody looks has the mirror made anew; the pace is kept."""
    mirror, read = value_of(house.made()), list[int]()

    async def pace(size: int) -> None:
        read.append(size)

    for suffix in ("pack", "idx"):
        (mirror.directory / f"objects/pack/pack-1.{suffix}").write_bytes(trailed(bytes(12) + trailed(b"")))
    value_of(Deferred.fromCoroutine(scrub(house.mirrors, pace)))
    assert len(house.made_of) == 2 and mirror.ready and read and "pack-1" in (mirror.damage.what or "")
    value_of(Deferred.fromCoroutine(scrub(house.mirrors, pace)))
    assert len(house.made_of) == 2


def test_a_restart(house: MirrorHouse) -> None:
    """What is on disk is found, and only mirrors are left there."""
    value_of(house.made())
    (house.root / ".aside/half.git").mkdir(parents=True)
    (house.root / "git.example/foreign.git").mkdir()
    (house.root / "git.example/file").touch()
    misplaced = house.root / "git.example/other.git"
    misplaced.mkdir()
    MirrorRecord(REPOSITORY, "sha1", only(REPOSITORY).id, "1").write(misplaced)
    again = MirrorHouse(house.root)
    discover(again)
    found = again.mirrors.find(REPOSITORY)
    assert found is not None and found.ready and found.refs.by_name == {"refs/heads/main": oid("1")}
    assert list(again.mirrors) == [found]
    assert not misplaced.exists() and not (house.root / ".aside").exists()


@pytest.mark.parametrize("how", ["removed", "a directory"])
def test_one_broken_mirror_keeps_no_other_from_being_found(house: MirrorHouse, how: str) -> None:
    """A mirror that can't be opened stays unserved until it is made anew, and is no fault; the others are there."""
    value_of(house.made())
    other = value_of(Deferred.fromCoroutine(house.mirroring.made(Identity("git.example", "org/other"))))
    head = other.directory / "HEAD"
    head.unlink()
    if how == "a directory":
        head.mkdir()
    again = MirrorHouse(house.root)
    discover(again)
    assert [mirror.identity for mirror in again.mirrors] == [REPOSITORY]
    assert value_of(Deferred.fromCoroutine(again.mirroring.made(other.identity))).ready


def test_a_directory_is_refused_to_another_repository(house: MirrorHouse) -> None:
    """A directory that says it is another repository's is neither served as one's own nor replaced."""
    theirs = value_of(house.made())
    mine = Identity("git.example", "org/REPO")
    place = house.root / mine.directory_name
    place.symlink_to(theirs.directory)  # as on a file system that ignores case
    assert isinstance(failure_of(Deferred.fromCoroutine(house.mirroring.made(mine))), NotFound)
    assert not house.mirrors.obtain(mine).ready and theirs.ready
    record = read(theirs.directory)
    assert record is not None and record.identity == REPOSITORY


def test_mirrors_with_names_of_other_rules_are_moved(house: MirrorHouse) -> None:
    """What lies where names of earlier versions, or without ignore-case, had it, is found and moved; only one stays."""
    mirror = value_of(house.made())
    other = value_of(Deferred.fromCoroutine(house.mirroring.made(Identity("git.example", "org/.x.lock"))))
    old = house.root / "git.example/org=.x.lock.git"
    other.directory.rename(old)
    shouted = house.root / Identity("git.example", "Org/Repo").directory_name
    mirror.directory.rename(shouted)
    MirrorRecord(Identity("git.example", "Org/Repo"), "sha1", only(REPOSITORY).id, "1").write(shouted)
    again = MirrorHouse(house.root, grammar=Grammar({"git.example": True}))
    discover(again)
    assert {each.identity: each.directory for each in again.mirrors} == {
        REPOSITORY: mirror.directory, other.identity: other.directory
    }  # fmt: skip
    assert not old.exists() and not shouted.exists()
    shouted.mkdir()
    MirrorRecord(Identity("git.example", "Org/Repo"), "sha1", only(REPOSITORY).id, "1").write(shouted)
    last = MirrorHouse(house.root, grammar=Grammar({"git.example": True}))
    discover(last)
    assert len(list(last.mirrors)) == 2 and not shouted.exists()


def test_what_can_not_be_read_is_not_removed(house: MirrorHouse) -> None:
    """Only what is certainly no mirror goes: a record that can't be read just now proves nothing."""
    mirror = value_of(house.made())
    record = mirror.directory / RECORD
    record.unlink()
    record.symlink_to(record)
    again = MirrorHouse(house.root)
    discover(again)
    assert mirror.directory.exists() and again.mirrors.find(REPOSITORY) is None


def test_names_without_mirrors_do_not_pile_up(house: MirrorHouse) -> None:
    """However many names are asked for, only so many empty mirrors are remembered, and none that is there goes."""
    mirror = value_of(house.made())
    for number in range(3000):
        house.mirrors.obtain(Identity("git.example", f"org/{number}"))
    known = [number for number in range(3000) if house.mirrors.find(Identity("git.example", f"org/{number}"))]
    assert len(known) <= 1001 and house.mirrors.find(REPOSITORY) is mirror
    assert list(house.mirrors) == [mirror] and mirror.life.state is MirrorState.READY


def test_nothing_is_mirrored_before_it_is_known_what_is_there(house: MirrorHouse) -> None:
    """While the mirrors on disk are still being looked for, nothing new is made; who waits for one gets it then."""
    value_of(house.made())
    again = MirrorHouse(house.root, discovered=False)
    again.mirroring.want(REPOSITORY)
    waiting = again.made()
    assert again.git.ran == [] and not waiting.called
    value_of(Deferred.fromCoroutine(again.discovery.discover()))
    assert value_of(waiting) is again.mirrors.find(REPOSITORY)


def test_a_full_disk_takes_no_new_mirror(house: MirrorHouse) -> None:
    """With less free space than the operator wants to keep nothing new is mirrored, and that is said."""
    house.free = 999
    for _ in range(2):  # who asks again before it is tried again gets the same answer
        failure = failure_of(house.made())
        assert isinstance(failure, StorageFull) and "999 bytes" in str(failure)
    assert house.left() == []
