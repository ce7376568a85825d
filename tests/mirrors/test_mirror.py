"""One mirror's life and its fetches, with a git that the test holds still."""

import shutil
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.instance import Instance
from cachew.mirrors.kinds import Kind
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.errors import (
    NotFound,
    ProcessFailed,
    ProcessTimedOut,
    TooLarge,
    UpstreamError,
    UpstreamUnreachable,
)
from cachew.upstream.listing import Listing
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, listing, oid, on_disk, refused, unreachable
from tests.fakes.settled import failure_of, value_of
from tests.functional.loglines import listening


@pytest.fixture
def mirror(house: MirrorHouse) -> Mirror:
    """A mirror that is ready."""
    mirror = value_of(house.made())
    house.git.ran.clear()
    house.git.scripts.clear()
    house.git.seconds.clear()
    return mirror


def kept(mirror: Mirror) -> list[str]:
    """Return what hidden refs keep alive."""
    return sorted(value for name, value in on_disk(mirror).items() if name.startswith("refs/cachew/"))


# --- coming into being ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["init", "fetch", "symbolic-ref"])
def test_a_clone_that_fails_leaves_nothing(house: MirrorHouse, step: str) -> None:
    """Whichever step fails, nothing is left on disk, and the mirror says why it is not there."""
    house.git.failures[step] = [ProcessFailed(f"git {step}", 128, "fatal: no"), refused("no")]
    assert isinstance(failure_of(house.made()), ProcessFailed)
    mirror = house.mirrors.obtain(REPOSITORY)
    assert mirror.life.state is MirrorState.EMPTY and not mirror.ready and mirror.refs.by_name == {}
    assert "no" in (mirror.life.last_error or "") and house.left() == []


def test_a_first_fetch_has_a_patience_of_its_own(house: MirrorHouse) -> None:
    """The fetch of a clone may take longer than later ones."""
    mirror = value_of(house.made())
    value_of(house.sync(mirror, listing(main="2")))
    assert house.git.seconds == [7200.0, 600.0]


def test_a_clone_that_took_too_long_is_not_tried_another_way(house: MirrorHouse) -> None:
    """After a time-out the same is not begun again by name; nor where nobody answers."""
    for failure in (ProcessTimedOut("git fetch", None, "late"), unreachable()):
        house.git.ran.clear()
        house.git.failures["fetch"] = [failure]
        told = failure_of(house.made())
        assert isinstance(told, UpstreamError) and told.__cause__ is failure
        assert house.git.ran.count("fetch") == 1
        house.clock.advance(10_000)


def test_a_listing_from_before_the_clone_changes_nothing(house: MirrorHouse) -> None:
    """What was asked before the clone asked never takes the mirror back."""
    early = house.clock.seconds()
    house.clock.advance(5)
    house.remote.current = listing(main="2")
    mirror = value_of(house.made())
    value_of(Deferred.fromCoroutine(mirror.updates.sync(listing(main="1"), early)))
    assert mirror.refs.by_name == {"refs/heads/main": oid("2")}


def test_a_mirror_in_the_way_is_replaced(house: MirrorHouse) -> None:
    """What lies at the mirror's place gives way to the new one as a whole."""
    place = house.mirrors.obtain(REPOSITORY).directory
    (place / "old").mkdir(parents=True)
    mirror = value_of(house.made())
    assert mirror.ready and not (place / "old").exists() and len(list(house.left())) == 1


class Seeds:
    """Restores an old mirror, or fails to."""

    def __init__(self, house_of: list[MirrorHouse], outcome: bool | Exception = True) -> None:
        self._house_of, self.outcome = house_of, outcome

    async def __call__(self, instance: Instance, directory: Path) -> bool:
        git = self._house_of[0].git
        git._init(directory)
        (directory / "objects" / "22").mkdir()
        (directory / "objects" / "22" / oid("2")[2:]).touch()
        old = {"refs/heads/gone": "2", "refs/heads/main": "2"}
        (directory / "packed-refs").write_text("".join(f"{oid(digit)} {name}\n" for name, digit in old.items()))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome


def seeded(tmp_path: Path, outcome: bool | Exception) -> MirrorHouse:
    """Return a house with a mirror snapshot."""
    houses: list[MirrorHouse] = []
    houses.append(MirrorHouse(tmp_path / "mirrors", seed=Seeds(houses, outcome)))
    return houses[0]


def test_a_restored_mirror_gets_the_refs_of_today(tmp_path: Path) -> None:
    """What was restored is brought to the upstream's refs; only what is missing is fetched."""
    house = seeded(tmp_path, True)
    house.remote.current = listing(main="2", new="3")
    mirror = value_of(house.made())
    heads = {name: value for name, value in on_disk(mirror).items() if name.startswith("refs/heads/")}
    assert heads == mirror.refs.by_name == {"refs/heads/main": oid("2"), "refs/heads/new": oid("3")}
    assert house.git.scripts == [[oid("3")]] and "init" not in house.git.ran


@pytest.mark.parametrize("outcome", [False, NotFound("the cache is away")])
def test_without_a_seed_it_is_cloned(tmp_path: Path, outcome: bool | Exception) -> None:
    """Where there is no mirror snapshot, or it can't be had, the mirror is cloned, without what was half restored."""
    house = seeded(tmp_path, outcome)
    mirror = value_of(house.made())
    assert mirror.ready and house.git.ran[0] == "init" and "refs/heads/gone" not in on_disk(mirror)


def test_a_seed_of_no_use_is_thrown_away(tmp_path: Path) -> None:
    """When git can't work with what was restored, the mirror is cloned."""
    house = seeded(tmp_path, True)
    house.git.failures["for-each-ref"] = [ProcessFailed("git for-each-ref", 128, "fatal: bad ref")]
    mirror = value_of(house.made())
    assert mirror.ready and on_disk(mirror) == {"refs/heads/main": oid("1")}


# --- one fetch for all ------------------------------------------------------------------------------------------------


def test_all_join_one_fetch(house: MirrorHouse, mirror: Mirror) -> None:
    """Whoever wants objects while a fetch is under way waits for it; what it does not bring is fetched once for all."""
    house.git.holding = {"fetch"}
    first = house.sync(mirror, listing(main="2"))
    wanted = [house.ensure(mirror, oid(digit), client=digit) for digit in "2233"]
    house.git.release()
    house.git.release()
    value_of(first)
    assert [value_of(each) for each in wanted] == [[]] * 4
    assert house.git.scripts == [[oid("2")], [oid("3")]]
    assert mirror.life.state is MirrorState.READY and not mirror.updates.under_way


def test_one_may_leave(house: MirrorHouse, mirror: Mirror) -> None:
    """Whoever leaves takes neither the fetch nor anybody else with him."""
    house.git.holding = {"fetch"}
    first, second = house.ensure(mirror, oid("2")), house.ensure(mirror, oid("2"))
    first.cancel()
    assert isinstance(failure_of(first), CancelledError)
    house.git.release()
    assert value_of(second) == [] and house.git.scripts == [[oid("2")]]


def test_whoever_comes_during_a_fetch_is_not_failed_by_it(house: MirrorHouse, mirror: Mirror) -> None:
    """A fetch that fails is no answer for those who came while it ran: theirs is the next."""
    house.git.holding = {"fetch"}
    first = house.sync(mirror, listing(main="2"))
    second = house.ensure(mirror, oid("3"))
    third = house.sync(mirror, listing(main="4"))
    house.git.release(unreachable())
    assert isinstance(failure_of(first), ProcessFailed)
    house.git.release()
    house.git.release()
    assert value_of(second) == [] and value_of(third) is None
    assert mirror.refs.by_name == {"refs/heads/main": oid("4")}


def test_a_listing_that_can_not_be_followed_keeps_no_ids_away(house: MirrorHouse, mirror: Mirror) -> None:
    """Ids are fetched though the refs that were to be fetched before can't be."""
    house.git.there = {oid("3")}
    house.git.holding = {"fetch"}
    second, third = house.sync(mirror, listing(main="2")), house.ensure(mirror, oid("3"))
    house.git.holding = set()
    house.git.release()
    assert value_of(third) == []
    assert isinstance(failure_of(second), ProcessFailed)
    assert mirror.refs.by_name == {"refs/heads/main": oid("1")} and mirror.life.state is MirrorState.READY


# --- a lane for what is asked for by id -------------------------------------------------------------------------------


def test_ids_never_delay_following_the_upstream(house: MirrorHouse, mirror: Mirror) -> None:
    """While what clients ask for by id takes as long as it will, in all its places, the refs are followed."""
    house.git.holding = {"fetch"}
    asked = [house.ensure(mirror, oid(digit), client=digit) for digit in "6789"]
    house.git.holding = set()
    value_of(house.sync(mirror, listing(main="2")))
    assert mirror.refs.by_name == {"refs/heads/main": oid("2")} and not any(each.called for each in asked)
    for _ in asked:
        house.git.release()
    assert [value_of(each) for each in asked] == [[]] * 4


def test_ids_of_one_client_never_delay_those_of_another(house: MirrorHouse, mirror: Mirror) -> None:
    """A client whose ids take long has one fetch for all that he asks for; another's is fetched meanwhile."""
    house.git.holding = {"fetch"}
    slow = [house.ensure(mirror, oid(digit), client="slow") for digit in "5678"]
    assert len(house.git.held) == 1
    house.git.holding = set()
    assert value_of(house.ensure(mirror, oid("9"), client="quick")) == []
    house.git.release()
    assert [value_of(each) for each in slow] == [[]] * 4
    assert house.git.scripts == [[oid("9")], [oid("5")], [oid("6"), oid("7"), oid("8")]]


LOCKED = "fatal: Unable to create '/mirrors/repo.git/shallow.lock': File exists.\n\nAnother git process seems to run"


@pytest.mark.parametrize("complaint", [LOCKED, "fatal: shallow file has changed since we read it"])
def test_fetches_that_meet_at_the_list_of_cut_commits_all_succeed(
    house: MirrorHouse, mirror: Mirror, complaint: str
) -> None:
    """In a shallow mirror git lets one of two fetches fail; it is done again, first beside others, at last alone."""
    house.git.holding = {"fetch"}
    wanted = house.ensure(mirror, oid("5"))
    house.git.holding = set()
    house.git.failures["fetch"] = [ProcessFailed("git fetch", 128, complaint) for _ in range(2)]
    followed = house.sync(mirror, listing(main="2"))
    assert not followed.called, "it waits for the other"
    house.git.release()
    assert value_of(wanted) == [] and value_of(followed) is None
    assert mirror.refs.by_name == {"refs/heads/main": oid("2")} and not house.git.failures["fetch"]
    assert not house.background.under_way and mirror.life.last_error is None, "nothing is wrong with the mirror"


def test_a_list_of_cut_commits_that_can_not_be_written_is_told(house: MirrorHouse, mirror: Mirror) -> None:
    """Where no other fetch goes on and git fails all the same, it is a failure like any."""
    house.git.failures["fetch"] = [ProcessFailed("git fetch", 128, LOCKED) for _ in range(3)]
    assert value_of(house.ensure(mirror, oid("5"))) == [oid("5")]
    assert not house.git.failures["fetch"]
    assert value_of(house.ensure(mirror, oid("5"))) == []


def test_an_id_that_somebody_has_asked_for_is_fetched_once(house: MirrorHouse, mirror: Mirror) -> None:
    """A hundred clients that want one commit wait for one fetch, and for that of what else they want."""
    house.git.holding = {"fetch"}
    first = [house.ensure(mirror, oid("5"), client=str(number)) for number in range(100)]
    both = house.ensure(mirror, oid("5"), oid("6"), client="both")
    assert mirror.wanted.asked_for(oid("5")) and len(house.git.held) == 2
    house.git.release()
    assert [value_of(each) for each in first] == [[]] * 100 and not both.called
    house.git.release()
    assert value_of(both) == [] and house.git.scripts == [[oid("5")], [oid("6")]]
    assert not mirror.wanted.asked_for(oid("5"))


def test_packs_stay_while_something_comes_by_its_id(house: MirrorHouse, mirror: Mirror) -> None:
    """A repack waits for what comes by id, without keeping the refs from being followed; later ids wait for it."""
    house.git.holding = {"fetch"}
    asked = house.ensure(mirror, oid("5"))
    repack = Deferred.fromCoroutine(mirror.maintenance.repack())
    later = house.ensure(mirror, oid("6"), client="later")
    assert "repack" not in house.git.ran and len(house.git.held) == 1
    house.git.holding = set()
    value_of(house.sync(mirror, listing(main="2")))
    house.git.release()
    assert (value_of(asked), value_of(repack), value_of(later)) == ([], None, [])
    assert house.git.ran.index("repack") > house.git.ran.index("fetch")


def test_a_thousand_ids_that_nobody_has_take_so_many_fetches(house: MirrorHouse, mirror: Mirror) -> None:
    """Ids that git names as bad are left out one by one; after 64 fetches the rest is given up."""
    some = [f"{number:040x}" for number in range(1000)]
    house.git.there = set(some[60:])
    assert value_of(house.ensure(mirror, *some)) == some[:60]
    assert house.git.ran.count("fetch") == 61
    house.git.ran.clear()
    house.git.there = set()
    more = [f"{number:040x}" for number in range(1000, 2000)]
    assert value_of(house.ensure(mirror, *more)) == more
    assert house.git.ran.count("fetch") == 64


def test_a_bad_id_that_git_does_not_name_is_found_by_halves(house: MirrorHouse, mirror: Mirror) -> None:
    """Where a fetch fails without saying for which object, the others come all the same."""
    some = [f"{number:040x}" for number in range(1, 101)]
    house.git.there, house.git.names = set(some) - {some[41]}, False
    assert value_of(house.ensure(mirror, *some)) == [some[41]]
    assert house.git.ran.count("fetch") < 16


def test_one_bad_id_keeps_no_other_away(house: MirrorHouse, mirror: Mirror) -> None:
    """When one of several ids does not exist the others come; where nobody answers they are not tried one by one."""
    house.git.there = {oid("3"), oid("4")}
    assert value_of(house.ensure(mirror, oid("3"), oid("9"), oid("4"))) == [oid("9")]
    assert kept(mirror) == [oid("3"), oid("4")]
    house.git.ran.clear()
    house.git.failures["fetch"] = [unreachable()]
    assert value_of(house.ensure(mirror, oid("5"), oid("6"))) == [oid("5"), oid("6")]
    assert house.git.ran == ["fetch"]


def test_asking_for_what_nobody_has_is_no_error_of_the_mirror(house: MirrorHouse, mirror: Mirror) -> None:
    """That a client wants an id that does not exist is not shown as a failure; that nobody answered is."""
    house.git.there = set()
    assert value_of(house.ensure(mirror, oid("9"))) == [oid("9")]
    assert mirror.life.last_error is None
    house.git.failures["fetch"] = [unreachable()]
    assert value_of(house.ensure(mirror, oid("8"))) == [oid("8")]
    assert "unable to access" in (mirror.life.last_error or "")


def test_tips_that_moved_on(house: MirrorHouse, mirror: Mirror) -> None:
    """What the upstream does not give by its id is fetched by name, and no ref is lost that way."""
    house.git.failures["fetch"] = [refused(oid("2"))]
    value_of(house.sync(mirror, listing(main="2")))
    assert house.git.ran.count("fetch") == 3
    assert mirror.refs.by_name == {"refs/heads/main": oid("2")} and kept(mirror) == [oid("1")]


def test_tips_that_are_still_reached(house: MirrorHouse, mirror: Mirror) -> None:
    """A branch that only moves forward leaves no hidden ref behind."""
    house.git.reached = {oid("1")}
    value_of(house.sync(mirror, listing(main="2")))
    assert mirror.refs.by_name == {"refs/heads/main": oid("2")} and kept(mirror) == []


def test_only_the_newest_listing_counts(house: MirrorHouse, mirror: Mirror) -> None:
    """Listings that come while a fetch runs are followed once, to the newest."""
    house.git.holding = {"fetch"}
    syncs = [house.sync(mirror, listing(main=digit)) for digit in "234"]
    house.git.release()
    house.git.release()
    for sync in syncs:
        value_of(sync)
    assert house.git.scripts == [[oid("2")], [oid("4")]] and mirror.refs.by_name == {"refs/heads/main": oid("4")}


def test_refs_git_can_not_keep_are_left_out(house: MirrorHouse, mirror: Mirror) -> None:
    """An upstream whose listing no repository can have is followed as far as one can."""
    odd = listing("refs/heads/a=2", "refs/heads/a/b=3", "refs/heads/x..y=4", "refs/heads/" + "n" * 260 + "=5", main="1")
    value_of(house.sync(mirror, odd))
    assert mirror.refs.by_name == {"refs/heads/main": oid("1"), "refs/heads/a": oid("2")}
    assert not mirror.refs.behind(odd)


# --- damage and removal -----------------------------------------------------------------------------------------------


def looked(mirror: Mirror) -> Deferred[None]:
    """Have it looked at."""
    return Deferred.fromCoroutine(mirror.verification.look())


def test_many_failures_are_one_check(house: MirrorHouse, mirror: Mirror) -> None:
    """A hundred requests that fail at once cause one check of what the refs reach, and another only after a while."""
    house.git.holding = {"fsck"}
    for _ in range(100):
        mirror.verification.doubt(serving=True)
    assert house.git.ran == ["fsck"] and mirror.ready
    house.git.release()
    mirror.verification.doubt(serving=True)
    assert house.git.ran == ["fsck"] and mirror.ready
    house.clock.advance(601)
    mirror.verification.doubt(serving=True)
    assert house.git.ran == ["fsck", "fsck"]
    house.git.release()


@pytest.mark.parametrize("damage", [ProcessFailed("git fsck", 2, "missing blob"), TooLarge(1)])
def test_what_is_missing_of_a_mirror_has_it_made_anew(house: MirrorHouse, mirror: Mirror, damage: Exception) -> None:
    """A mirror that lacks what its refs reach is removed and made anew."""
    house.git.failures["fsck"] = [damage]
    mirror.verification.doubt(serving=True)
    assert mirror.ready and house.git.ran[:2] == ["fsck", "init"] and len(house.made_of) == 2
    assert house.damaged == [(REPOSITORY, house.clock.seconds())]


@pytest.mark.parametrize(
    "failure",
    [
        ProcessTimedOut("git fsck", None, "late"),
        ProcessFailed("git fsck", None, ""),
        ProcessFailed("git fsck", 127, "Cannot allocate memory"),
        OSError("no more descriptors"),
    ],
)
def test_a_check_that_can_not_be_made_proves_nothing(house: MirrorHouse, mirror: Mirror, failure: Exception) -> None:
    """A check that is killed, late or never starts leaves the mirror as it is."""
    house.git.failures["fsck"] = [failure]
    mirror.verification.doubt(serving=True)
    del house.git.failures["fsck"]
    assert mirror.ready and mirror.directory.exists() and len(house.made_of) == 1


@pytest.mark.parametrize("command", ["update-ref", "for-each-ref", "rev-list"])
def test_whatever_git_fails_at_is_looked_into(house: MirrorHouse, mirror: Mirror, command: str) -> None:
    """Whichever command fails on a mirror, whatever it says: the mirror is checked, and told of if it is damaged."""
    (mirror.directory / "refs/heads").mkdir(parents=True, exist_ok=True)
    (mirror.directory / "refs/heads/empty").touch()
    house.git.failures[command] = [ProcessFailed(f"git {command}", 128, "fatal: unexpected, in any language")]
    outcome = house.sync(mirror, listing(main="2"))
    outcome.addErrback(lambda _: None)
    assert mirror.damage.what == "refs/heads/empty" and mirror.ready
    assert not (mirror.directory / "refs/heads/empty").exists() and not mirror.refs.set_aside


def test_an_upstream_that_fails_takes_no_mirror_out_of_service(house: MirrorHouse, mirror: Mirror) -> None:
    """While a fetch fails again and again the mirror goes on answering, and what its refs reach is not gone through."""
    for _ in range(10):
        house.git.failures["fetch"] = [unreachable()]
        assert isinstance(failure_of(house.sync(mirror, listing(main="2"))), ProcessFailed)
        assert mirror.ready
        house.clock.advance(1000)
    assert "fsck" not in house.git.ran


@pytest.mark.parametrize("what", ["config", "HEAD", "packed-refs", "refs/heads/empty", "refs"])
def test_what_the_server_knows_is_written_anew(house: MirrorHouse, mirror: Mirror, what: str) -> None:
    """Configuration, HEAD and refs with garbage in them are mended without the upstream; kept packs are not used."""
    value_of(house.ensure(mirror, oid("5")))
    path, before, refs = mirror.directory / what, mirror.life.generation, on_disk(mirror)
    if what == "refs":
        path.rmdir()
    else:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(path.read_bytes() + b"\0garbage\n" if path.exists() else b"")
    house.git.ran.clear()
    value_of(looked(mirror))
    value_of(looked(mirror))
    assert on_disk(mirror) == refs and (mirror.directory / "refs/heads").is_dir() and house.git.ran == []
    assert mirror.damage.what == what and mirror.life.generation != before and len(house.damaged) == 1
    again = MirrorHouse(house.root)
    value_of(Deferred.fromCoroutine(again.discovery.discover()))
    value_of(Deferred.fromCoroutine(again.mirrors.first_looks.look_through()))
    found = again.mirrors.find(REPOSITORY)
    assert (
        found is not None
        and found.refs.by_name == mirror.refs.by_name
        and found.life.generation == mirror.life.generation
    )


def test_a_client_waits_for_a_doubt_to_be_settled_but_not_for_long(house: MirrorHouse, mirror: Mirror) -> None:
    """A mirror that is read in no time, as after a crash, sends nobody to its upstream; a large one keeps nobody."""
    held = mirror.locks.exclusive()
    value_of(Deferred.fromCoroutine(held.__aenter__()))
    mirror.verification.doubt(serving=False)
    first = Deferred.fromCoroutine(mirror.verification.settled_soon())
    house.clock.advance(1)
    second = Deferred.fromCoroutine(mirror.verification.settled_soon())
    house.clock.advance(1)
    assert value_of(first) is None and not mirror.ready and not second.called
    value_of(Deferred.fromCoroutine(held.__aexit__(None, None, None)))
    assert value_of(second) is None and mirror.ready
    value_of(Deferred.fromCoroutine(mirror.verification.settled_soon()))


def test_nothing_is_kept_of_one_pack_for_another_while_in_doubt(house: MirrorHouse, mirror: Mirror) -> None:
    """While a mirror is in doubt its kept packs are not served, and those that come meanwhile stay apart."""
    before = mirror.life.pack_source
    held = mirror.locks.exclusive()
    value_of(Deferred.fromCoroutine(held.__aenter__()))
    mirror.verification.doubt(serving=False)
    assert (mirror.ready, mirror.life.condition) == (False, "suspect") and mirror.life.pack_source != before
    value_of(Deferred.fromCoroutine(held.__aexit__(None, None, None)))
    assert (mirror.ready, mirror.life.condition) == (True, "ready") and mirror.life.pack_source == before


def test_what_becomes_of_a_mirror_is_logged(house: MirrorHouse, mirror: Mirror) -> None:
    """A repack says what it brought and how long it took; that a mirror is gone is said when it is."""
    assert repr(mirror) == f"<Mirror {REPOSITORY.name} ready>"
    with listening() as log:
        value_of(Deferred.fromCoroutine(mirror.maintenance.repack()))
        value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert (log.count(f"repacked {REPOSITORY.name}, "), log.count(f"forgot the mirror of {REPOSITORY.name}")) == (1, 1)


def test_what_is_forgotten_is_no_metric_any_more(house: MirrorHouse, mirror: Mirror) -> None:
    """The names in the metrics are those of mirrors that there are."""
    house.metrics.clones.labels(REPOSITORY.name).inc()
    name = {"repository": REPOSITORY.name}
    assert house.metrics.registry.get_sample_value("cachew_clones_total", name) == 1
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert house.metrics.registry.get_sample_value("cachew_clones_total", name) is None


def test_what_is_forgotten_takes_no_memory(house: MirrorHouse, mirror: Mirror) -> None:
    """Nothing of a repository's listing stays, and whoever keeps something else for it is told, mirrored or not."""
    assert mirror.refs.by_name and house.listings.size > 0
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert house.listings.size == 0 and house.forgotten == [REPOSITORY]
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert house.forgotten == [REPOSITORY] * 2


def test_a_mirror_whose_refs_were_put_away(house: MirrorHouse, mirror: Mirror) -> None:
    """Refs that had to make room are the same when they are asked for, and are followed as ever."""
    house.listings.put(REPOSITORY, "other", object(), 2_000_000)
    assert len(house.listings) == 1
    assert mirror.refs.by_name == {"refs/heads/main": oid("1")} and not mirror.refs.behind(listing(main="1"))
    house.listings.put(REPOSITORY, "other", object(), 2_000_000)
    value_of(house.sync(mirror, listing(main="2")))
    assert (
        mirror.refs.by_name
        == {"refs/heads/main": oid("2")}
        == {name: value for name, value in on_disk(mirror).items() if name.startswith("refs/heads/")}
    )


def test_forgetting_waits_for_the_fetch(house: MirrorHouse, mirror: Mirror) -> None:
    """A mirror is removed when its fetch has ended; whoever wanted objects learns that they are missing."""
    house.git.holding = {"fetch"}
    wanted = house.ensure(mirror, oid("2"))
    gone = Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY))
    late = house.ensure(mirror, oid("3"))
    assert mirror.ready
    house.git.release()
    value_of(gone)
    assert value_of(wanted) == [oid("2")] and value_of(late) == [oid("3")]
    assert mirror.life.state is MirrorState.EMPTY and house.left() == []


def test_forgetting_twice_while_it_is_cloned_again(house: MirrorHouse, mirror: Mirror) -> None:
    """Removals and clones that cross each other take their turns."""
    house.git.holding = {"fetch"}
    fetch = house.ensure(mirror, oid("2"))
    gone = [Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)) for _ in range(2)]
    house.git.release()
    for each in gone:
        value_of(each)
    value_of(fetch)
    again = house.made()
    more = Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY))
    house.git.release()
    value_of(more)
    assert isinstance(failure_of(again), UpstreamUnreachable)
    assert mirror.life.state is MirrorState.EMPTY and house.left() == []


def test_a_mirror_whose_directory_has_gone(house: MirrorHouse, mirror: Mirror) -> None:
    """A mirror that somebody has removed by hand can be forgotten and made again."""
    mirror.directory.rename(house.root / "away")
    value_of(Deferred.fromCoroutine(house.mirrors.forget(REPOSITORY)))
    assert value_of(house.made()).ready


# --- upkeep -----------------------------------------------------------------------------------------------------------


def test_indexing_is_not_queued_up(house: MirrorHouse, mirror: Mirror) -> None:
    """While one waits to index the packs, later ones leave it to him; fetches go on meanwhile."""
    house.git.holding = {"multi-pack-index"}
    indexing = [Deferred.fromCoroutine(mirror.maintenance.index_packs()) for _ in range(10)]
    assert value_of(house.ensure(mirror, oid("2"))) == []
    house.git.release()
    house.git.release()
    for each in indexing:
        value_of(each)
    assert house.git.ran.count("multi-pack-index") == 2


def test_whoever_waits_to_index_may_leave(house: MirrorHouse, mirror: Mirror) -> None:
    """A cancelled wait keeps nobody from indexing later."""
    house.git.holding = {"multi-pack-index"}
    first, second = (Deferred.fromCoroutine(mirror.maintenance.index_packs()) for _ in range(2))
    second.cancel()
    assert isinstance(failure_of(second), CancelledError)
    third = Deferred.fromCoroutine(mirror.maintenance.index_packs())
    house.git.release()
    house.git.release()
    value_of(first)
    value_of(third)


def test_small_packs_are_not_joined_while_somebody_copies_them(house: MirrorHouse, mirror: Mirror) -> None:
    """Packs go only while nobody holds the mirror."""
    for number in range(30):
        (mirror.directory / f"objects/pack/pack-{number}.pack").touch()
    held = mirror.locks.exclusive()
    value_of(Deferred.fromCoroutine(held.__aenter__()))
    indexing = Deferred.fromCoroutine(mirror.maintenance.index_packs())
    assert "repack" not in house.git.ran
    value_of(Deferred.fromCoroutine(held.__aexit__(None, None, None)))
    value_of(indexing)
    assert house.git.ran == ["repack", "multi-pack-index", "commit-graph", "commit-graph"]


def test_nothing_is_asked_of_a_mirror_that_is_not_there(house: MirrorHouse) -> None:
    """Without a mirror everything is missing, and nothing is run."""
    mirror = house.mirrors.obtain(REPOSITORY)
    assert value_of(house.ensure(mirror, oid("1"))) == [oid("1")]
    value_of(house.sync(mirror, listing(main="2")))
    value_of(Deferred.fromCoroutine(mirror.maintenance.index_packs()))
    mirror.verification.doubt(serving=False)
    value_of(looked(mirror))
    assert house.git.ran == []
    with pytest.raises(NotFound):
        _ = mirror.place.repository


def test_an_upstream_without_branches(house: MirrorHouse) -> None:
    """A repository without refs is not mirrored; an upstream that fails says so."""
    house.remote.current = Listing(refs=())
    assert isinstance(failure_of(house.made()), NotFound)
    house.clock.advance(10_000)
    house.remote.current = UpstreamUnreachable("http://git.example", "down")
    assert failure_of(house.made()) is house.remote.current and house.left() == []


def test_a_fetch_writes_no_bitmaps(house: MirrorHouse, mirror: Mirror) -> None:
    """After a fetch only the commit-graph grows; bitmaps are written when packs are joined."""
    for loose in (mirror.directory / "objects").glob("??"):
        shutil.rmtree(loose)
    value_of(Deferred.fromCoroutine(mirror.maintenance.index_packs(bitmaps=False)))
    assert house.git.ran == ["commit-graph", "commit-graph"]
    for number in range(30):
        (mirror.directory / f"objects/pack/pack-{number}.pack").touch()
    value_of(Deferred.fromCoroutine(mirror.maintenance.index_packs(bitmaps=False)))
    assert house.git.ran[2:] == ["repack", "multi-pack-index", "commit-graph", "commit-graph"]


# --- some of very many refs -------------------------------------------------------------------------------------------


def sync_part(house: MirrorHouse, mirror: Mirror, kind: Kind, listed: Listing, *, at: float | None = None) -> None:
    """Bring a mirror to what was listed of some refs."""
    started = house.clock.seconds() if at is None else at
    value_of(Deferred.fromCoroutine(mirror.updates.sync_part(mirror.refs.moved(kind, listed), started)))


def test_a_part_moves_its_refs_alone(house: MirrorHouse, mirror: Mirror) -> None:
    """What was listed of some refs is fetched and moved; no ref is listed from the disk, no other touched."""
    value_of(house.sync(mirror, listing(main="1", topic="2")))
    house.git.ran.clear()
    house.clock.advance(1)
    sync_part(house, mirror, ("refs/heads/main",), listing(head=None, main="3"))
    assert mirror.refs.by_name == {"refs/heads/main": oid("3"), "refs/heads/topic": oid("2")}
    assert mirror.refs.head_commit == oid("3") and kept(mirror) == [oid("1")]
    assert "for-each-ref" not in house.git.ran and house.git.scripts[-1] == [oid("3")]
    sync_part(house, mirror, ("refs/heads/topic",), listing(head=None))
    assert (
        mirror.refs.by_name
        == {"refs/heads/main": oid("3")}
        == {name: value for name, value in on_disk(mirror).items() if not name.startswith("refs/cachew/")}
    )


def test_an_older_listing_of_all_undoes_no_part(house: MirrorHouse, mirror: Mirror) -> None:
    """A listing that was asked for before a part brings everything but what that part has told."""
    early = house.clock.seconds()
    house.clock.advance(1)
    sync_part(house, mirror, ("refs/heads/main",), listing(head=None, main="3"))
    value_of(Deferred.fromCoroutine(mirror.updates.sync(listing(main="2", topic="4"), early)))
    assert mirror.refs.by_name == {"refs/heads/main": oid("3"), "refs/heads/topic": oid("4")}
    value_of(house.sync(mirror, listing(main="2", topic="4")))
    assert mirror.refs.by_name["refs/heads/main"] == oid("2")
    sync_part(house, mirror, ("refs/heads/main",), listing(head=None, main="3"), at=early)
    assert mirror.refs.by_name["refs/heads/main"] == oid("2")


def test_a_part_that_cannot_be_had_is_set_aside(house: MirrorHouse, mirror: Mirror) -> None:
    """Its tip is not tried again at once, and what came with it has moved."""
    house.git.there = {oid("4")}
    sync_part(house, mirror, ("refs/heads/",), listing(head=None, main="3", topic="4"))
    assert mirror.refs.by_name == {"refs/heads/main": oid("1"), "refs/heads/topic": oid("4")}
    assert mirror.refs.moved(("refs/heads/main",), listing(head=None, main="3")) == {}
    house.clock.advance(3600)
    house.git.there = None
    sync_part(house, mirror, ("refs/heads/main",), listing(head=None, main="3"))
    assert mirror.refs.by_name["refs/heads/main"] == oid("3") and not mirror.refs.set_aside


def test_what_could_not_be_a_ref_beside_another_is_no_ref_without_its_objects(house: MirrorHouse) -> None:
    """Of ``m`` and ``m/x`` one can be a ref; where it can't be had, no mirror is made with the other unfetched."""
    house.remote.current = listing("refs/heads/m=2", "refs/heads/m/x=3", "refs/heads/m/x/y=4", main="1")
    house.git.there = {oid("1")}
    mirror = value_of(house.made())
    assert on_disk(mirror) == {"refs/heads/main": oid("1")} and "refs/heads/m" in mirror.refs.set_aside.reasons()
