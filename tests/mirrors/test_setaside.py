"""One odd object or ref keeps no other ref back: what can't be had is set aside with its reason and tried again."""

from pathlib import Path

import pytest
from twisted.logger import capturedLogs, formatEvent

from cachew.mirrors.mirror import Mirror
from cachew.mirrors.setaside import SetAside
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.metrics import Metrics
from cachew.upstream.listing import Listing, RemoteRef
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY, MirrorHouse, listing, oid, on_disk, refused
from tests.fakes.settled import failure_of, value_of

CORRUPT = "remote: fatal: empty filename in tree entry\nerror: git upload-pack: git-pack-objects died with error."


@pytest.fixture
def house(tmp_path: Path) -> MirrorHouse:
    """A house without mirrors, whose upstream can't send what has the id 9, whatever it is asked for beside it."""
    house = MirrorHouse(tmp_path / "mirrors")
    house.git.spoilt[oid("9")] = ProcessFailed("git fetch", 128, CORRUPT)
    return house


@pytest.fixture
def mirror(house: MirrorHouse) -> Mirror:
    """A mirror that is ready."""
    mirror = value_of(house.made())
    house.git.ran.clear()
    return mirror


def heads(mirror: Mirror) -> dict[str, str]:
    """Return the branches on disk by their short names, with the digits of their ids."""
    refs = on_disk(mirror)
    return {name.removeprefix("refs/heads/"): refs[name][0] for name in refs if name.startswith("refs/heads/")}


def test_a_bad_tip_is_found_by_halves_and_set_aside(house: MirrorHouse, mirror: Mirror) -> None:
    """Of many new tips one can't be had: all the others come, and why it doesn't is told."""
    target = listing(main="2", a="3", b="4", bad="9", c="5", d="6", e="7")
    value_of(house.sync(mirror, target))
    assert heads(mirror) == {"main": "2", "a": "3", "b": "4", "c": "5", "d": "6", "e": "7"}
    assert mirror.refs.by_name == {f"refs/heads/{name}": oid(digit) for name, digit in heads(mirror).items()}
    assert list(mirror.refs.set_aside.reasons()) == ["refs/heads/bad"]
    assert "empty filename in tree entry" in mirror.refs.set_aside.reasons()["refs/heads/bad"]
    assert house.git.ran.count("fetch") <= 8


def test_a_bad_tip_stays_where_the_mirror_has_it(house: MirrorHouse, mirror: Mirror) -> None:
    """The branch itself is neither moved nor deleted, and a stale listing has what the mirror has."""
    value_of(house.sync(mirror, listing(main="2", bad="3")))
    value_of(house.sync(mirror, listing(main="4", bad="9")))
    assert heads(mirror) == {"main": "4", "bad": "3"}
    assert mirror.refs.listing.by_name["refs/heads/bad"].oid == oid("3")
    value_of(house.sync(mirror, listing(main="4")))
    assert heads(mirror) == {"main": "4"} and not mirror.refs.set_aside


def test_head_at_a_bad_tip(house: MirrorHouse, mirror: Mirror) -> None:
    """HEAD has what its branch has in the mirror."""
    value_of(house.sync(mirror, listing(main="9", other="3")))
    assert mirror.refs.head_commit == oid("1") and mirror.refs.listing.head_oid == oid("1")
    assert heads(mirror) == {"main": "1", "other": "3"}


def test_a_tip_that_is_set_aside_costs_nothing(house: MirrorHouse, mirror: Mirror) -> None:
    """Ref checks find the mirror where it should be, and who wants the tip is told at once that it is missing."""
    target = listing(main="2", bad="9")
    value_of(house.sync(mirror, target))
    house.git.ran.clear()
    assert not mirror.refs.behind(target)
    value_of(house.sync(mirror, target))
    assert value_of(house.ensure(mirror, oid("9"))) == [oid("9")]
    assert house.git.ran == []


def test_a_tip_whose_history_did_not_come_is_missing(house: MirrorHouse, mirror: Mirror) -> None:
    """A fetch that failed may have left the tip alone: whoever wants it is not served from the mirror."""
    value_of(house.sync(mirror, listing(main="2", bad="9")))
    place = mirror.directory / "objects" / "99"
    place.mkdir()
    (place / oid("9")[2:]).touch()
    assert mirror.objects.missing([oid("9"), oid("2")]) == [oid("9")]


def test_it_is_tried_again_later_and_more_seldom(house: MirrorHouse, mirror: Mirror) -> None:
    """After a minute, then after two; once it can be had, it is followed."""
    target = listing(main="2", bad="9")
    value_of(house.sync(mirror, target))
    house.clock.advance(60)
    assert mirror.refs.behind(target)
    assert isinstance(failure_of(house.sync(mirror, target)), ProcessFailed)
    house.clock.advance(60)
    assert not mirror.refs.behind(target)
    house.clock.advance(60)
    house.git.spoilt.clear()
    value_of(house.sync(mirror, target))
    assert heads(mirror) == {"main": "2", "bad": "9"} and not mirror.refs.set_aside


def test_what_another_server_of_the_host_may_have_is_tried_again_soon(house: MirrorHouse, mirror: Mirror) -> None:
    """A host's servers are not always in step: "not our ref" of what was just listed is good for a second, then two."""
    house.git.spoilt[oid("9")] = refused(oid("9"))
    target = listing(main="2", new="9")
    value_of(house.sync(mirror, target))
    assert not mirror.refs.behind(target)
    house.clock.advance(1)
    assert mirror.refs.behind(target)
    failure_of(house.sync(mirror, target))
    house.clock.advance(1.5)
    assert not mirror.refs.behind(target)
    house.git.spoilt.clear()
    house.clock.advance(0.5)
    value_of(house.sync(mirror, target))
    assert heads(mirror) == {"main": "2", "new": "9"} and not mirror.refs.set_aside


def test_a_tip_that_moves_on_is_tried_at_once(house: MirrorHouse, mirror: Mirror) -> None:
    """What is set aside is a ref at an id, not the ref."""
    value_of(house.sync(mirror, listing(main="2", bad="9")))
    value_of(house.sync(mirror, listing(main="2", bad="8")))
    assert heads(mirror) == {"main": "2", "bad": "8"} and not mirror.refs.set_aside


def test_a_new_mirror_is_made_without_it(house: MirrorHouse) -> None:
    """After ``forget``, and the first time, the mirror is made of what can be had."""
    house.remote.current = listing("refs/tags/v1=9", main="1", bad="9", other="3")
    mirror = value_of(house.made())
    assert heads(mirror) == {"main": "1", "other": "3"}
    assert set(mirror.refs.set_aside.reasons()) == {"refs/heads/bad", "refs/tags/v1"}
    assert not mirror.refs.behind(house.remote.current)


def test_a_mirror_of_nothing_is_not_made(house: MirrorHouse) -> None:
    """Where no tip can be had, the failure is that of the repository."""
    house.remote.current = listing(main="9")
    assert isinstance(failure_of(house.made()), ProcessFailed)
    assert not house.mirrors.obtain(REPOSITORY).ready and house.left() == []


@pytest.mark.parametrize(
    "stderr",
    ["error: RPC failed; curl 18 transfer closed with outstanding read data remaining", "fatal: unable to access 'x'"],
)
def test_a_connection_that_breaks_is_no_bad_tip(house: MirrorHouse, mirror: Mirror, stderr: str) -> None:
    """The next fetch tries everything again; nothing is fetched by halves."""
    house.git.failures["fetch"] = [ProcessFailed("git fetch", 128, stderr)]
    assert isinstance(failure_of(house.sync(mirror, listing(main="2", a="3"))), ProcessFailed)
    assert house.git.ran.count("fetch") == 1 and not mirror.refs.set_aside
    assert mirror.refs.behind(listing(main="2", a="3"))


def test_an_upstream_of_which_nothing_can_be_had_is_left_alone_soon(house: MirrorHouse, mirror: Mirror) -> None:
    """A broken upstream with a thousand new tips costs a dozen requests, not two thousand."""
    tips = {f"b{number}": f"{number:040x}" for number in range(16, 1016)}
    house.git.spoilt = {value: ProcessFailed("git fetch", 128, CORRUPT) for value in tips.values()}
    branches = (RemoteRef(f"refs/heads/{name}", value) for name, value in tips.items())
    target = Listing(refs=(*listing(main="1").refs, *branches))
    assert isinstance(failure_of(house.sync(mirror, target)), ProcessFailed)
    assert house.git.ran.count("fetch") <= 14
    assert len(mirror.refs.set_aside) == 1000


def test_a_ref_that_git_does_not_move_keeps_no_other_back(house: MirrorHouse, mirror: Mirror) -> None:
    """When the transaction of all refs fails, it is made of halves."""
    house.git.unmovable = "refs/heads/odd"
    value_of(house.sync(mirror, listing(main="2", a="3", odd="4", b="5")))
    assert heads(mirror) == {"main": "2", "a": "3", "b": "5"}
    assert list(mirror.refs.set_aside.reasons()) == ["refs/heads/odd"]


def test_of_very_many_some_are_told() -> None:
    """The log and the pages name some refs and say how many there are: an upstream may list what it has none of."""
    metrics = Metrics()
    aside = SetAside(identity=REPOSITORY, clock=FakeClock(), metrics=metrics)
    failure = ProcessFailed("git fetch", 128, CORRUPT)
    with capturedLogs() as events:
        aside.note({(f"refs/heads/{number}", oid("9")): failure for number in range(50_000)})
    assert len(aside) == 50_000 and len(aside.reasons()) == 20
    lines = [formatEvent(event) for event in events]
    assert len(lines) == 21 and lines[-1] == "git.example/org/repo: 49980 more refs are not followed for now"
    assert metrics.registry.get_sample_value("cachew_refs_set_aside_total") == 50_000
