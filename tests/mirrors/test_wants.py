"""How wanted objects come into a mirror, with an upstream and a git that are held still."""

import errno
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.mirrors.freshness import ref_gate
from cachew.mirrors.gatelisteners import GateListeners
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import Kind, bounded
from cachew.mirrors.refknowledge import MirroredListings
from cachew.mirrors.wants import MOST_IDS, Asker, Ensured, Supply
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.errors import ProcessFailed, TooMany, TooOften, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.upstream.listing import Listing, RemoteRef
from tests.fakes.hearing import HearsNothing
from tests.fakes.mirrorgit import MirrorHouse, listing, oid
from tests.fakes.settled import failure_of, value_of


class Upstream:
    """Lists what the house's remote says, and remembers what was asked."""

    def __init__(self, house: MirrorHouse) -> None:
        self._house = house
        self.asked: list[Kind] = []

    def of(self, identity: Identity) -> "Upstream":
        return self

    async def list(self, kind: Kind, authorization: str | None, before: Listing | None = None) -> Listing:
        self.asked.append(kind)
        return (await self._house.remote.list_refs()).filtered(kind)


class Shop:
    """A mirror, the gate before it and what supplies it."""

    def __init__(self, root: Path) -> None:
        self.house = MirrorHouse(root)
        self.upstream = Upstream(self.house)
        self.mirror = value_of(self.house.made())
        self.freshness = ref_gate(
            remotes=cast(Any, self.upstream),
            clock=self.house.clock,
            interval=10,
            metrics=Metrics(),
            mirrored=MirroredListings(ready=lambda identity: self.mirror if self.mirror.life.ready else None),
            listings=self.house.listings,
            listeners=GateListeners(instances=cast(Any, HearsNothing()), listing=(self._listed,)),
        )
        self.supply = Supply(
            freshness=self.freshness,
            reactor=self.house.clock,
            wait=30,
            allowance=Allowance(clock=self.house.clock, per_minute=1500),
        )
        self.house.clock.advance(60)

    def _listed(self, identity: Identity, listed: Listing, started: float) -> None:
        if self.mirror.refs.behind(listed):
            self.house.background.start(self.mirror.updates.sync(listed, started), "fetch")

    def missing(self, *oids: str, client: str = "10.0.0.1") -> Deferred[list[str]]:
        return Deferred.fromCoroutine(self.supply.missing(self.mirror, oids, Asker(client)))

    def base(self, *oids: str) -> Deferred[None]:
        return Deferred.fromCoroutine(self.supply.bring_base(self.mirror, oids, Asker("10.0.0.1")))

    def ensure(self, refs: dict[str, str], *commits: str, client: str = "10.0.0.1") -> Deferred[Ensured]:
        return Deferred.fromCoroutine(self.supply.ensure(self.mirror, refs, commits, Asker(client)))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A shop with a mirror of one branch."""
    return Shop(tmp_path / "mirrors")


def fetches(mirror_house: MirrorHouse) -> list[list[str]]:
    """Return what has been fetched since the clone."""
    return mirror_house.git.scripts[1:]


def test_what_is_there_costs_nothing(shop: Shop) -> None:
    """Objects that the mirror has are not asked for."""
    assert value_of(shop.missing(oid("1"))) == [] and shop.upstream.asked == [] and fetches(shop.house) == []


def test_a_new_tip_costs_one_listing_and_one_fetch(shop: Shop) -> None:
    """A hundred clients that want what has just been pushed cost one listing and one fetch."""
    shop.house.remote.current = listing(main="2")
    shop.house.git.holding = {"fetch"}
    waiting = [shop.missing(oid("2")) for _ in range(100)]
    shop.house.git.release()
    assert [value_of(each) for each in waiting] == [[]] * 100
    assert len(shop.upstream.asked) == 1 and fetches(shop.house) == [[oid("2")]]


def test_patience_ends(shop: Shop) -> None:
    """After the wait the client is told what is missing, and the fetch goes on for the others."""
    shop.house.git.holding = {"fetch"}
    waiting = shop.missing(oid("3"))
    shop.house.clock.advance(31)
    assert value_of(waiting) == [oid("3")] and shop.mirror.wanted.asked_for(oid("3"))
    shop.house.git.release()
    assert value_of(shop.missing(oid("3"))) == []


def test_who_is_patient_waits_for_what_is_listed(shop: Shop) -> None:
    """As long as the mirror is brought to where that is; for what no ref leads to he waits no longer than others."""
    shop.house.remote.current = listing(main="2")
    shop.house.git.holding = {"fetch"}
    asker = Asker("10.0.0.1")
    listed, absent = (
        Deferred.fromCoroutine(shop.supply.missing(shop.mirror, [oid(name)], asker, patient=True)) for name in "29"
    )
    shop.house.clock.advance(31)
    assert value_of(absent) == [oid("9")] and not listed.called
    shop.house.clock.advance(31)
    assert not listed.called
    shop.house.git.release()
    assert value_of(listed) == []


def test_a_client_that_leaves(shop: Shop) -> None:
    """Its leaving ends neither the fetch nor leaves a timer."""
    shop.house.git.holding = {"fetch"}
    waiting = shop.missing(oid("3"))
    waiting.cancel()
    assert isinstance(failure_of(waiting), CancelledError)
    assert shop.mirror.wanted.asked_for(oid("3")) and not shop.house.clock.getDelayedCalls()
    shop.house.git.release()


def test_a_mirror_that_goes_meanwhile(shop: Shop) -> None:
    """Whoever waits for a mirror that is removed learns that all is missing, and no more."""
    shop.house.git.holding = {"fetch"}
    waiting, late = shop.missing(oid("3")), shop.missing(oid("4"))
    gone = Deferred.fromCoroutine(shop.house.mirrors.forget(shop.mirror.identity))
    shop.house.git.release()
    value_of(gone)
    assert value_of(waiting) == [oid("3")] and value_of(late) == [oid("4")]


def test_ensuring_what_is_there(shop: Shop) -> None:
    """Refs that the mirror has as wanted are answered without asking."""
    assert value_of(shop.ensure({"refs/heads/main": oid("1")}, oid("1"))) == Ensured({"refs/heads/main": oid("1")})
    assert shop.upstream.asked == []


def test_an_id_of_another_format_is_of_no_object(shop: Shop) -> None:
    """Nobody is asked for it, and who asks for others besides gets these."""
    shop.house.remote.current = listing(main="2")
    foreign = "2" * 64
    ensured = value_of(shop.ensure({"refs/heads/main": ""}, foreign))
    assert ensured == Ensured({"refs/heads/main": oid("2")}, (foreign,), True)
    assert fetches(shop.house) == [[oid("2")]]
    assert value_of(shop.missing(foreign)) == [foreign] and fetches(shop.house) == [[oid("2")]]


def test_ensuring_what_is_new(shop: Shop) -> None:
    """Anything else is asked once, fetched, and answered as the upstream has it; what is nowhere is named."""
    shop.house.remote.current = listing(main="2", new="3")
    shop.house.git.there = {oid("2"), oid("3")}
    refs = {"refs/heads/main": oid("2"), "refs/heads/new": oid("3"), "refs/heads/none": ""}
    answer = value_of(shop.ensure(refs, oid("9")))
    assert answer == Ensured(
        {"refs/heads/main": oid("2"), "refs/heads/new": oid("3"), "refs/heads/none": ""}, (oid("9"),), True
    )
    assert len(shop.upstream.asked) == 1


def test_a_ref_that_may_be_anywhere_is_where_the_upstream_has_it(shop: Shop) -> None:
    """Within the interval nobody is asked again; a push voids that, though the mirror has not followed yet."""
    anywhere = {"refs/heads/main": ""}
    assert value_of(shop.ensure(anywhere)) == Ensured({"refs/heads/main": oid("1")})
    assert value_of(shop.ensure(anywhere)).fetched is False and len(shop.upstream.asked) == 1
    shop.house.remote.current = listing(main="2")
    assert value_of(shop.ensure(anywhere)).refs == {"refs/heads/main": oid("1")}
    shop.freshness.changed(shop.mirror.identity)
    assert value_of(shop.ensure(anywhere)) == Ensured({"refs/heads/main": oid("2")}, (), True)
    assert shop.mirror.refs.by_name == {"refs/heads/main": oid("2")}
    assert value_of(shop.ensure(anywhere)).fetched is False and len(shop.upstream.asked) == 2
    shop.house.remote.current = listing(other="2")
    shop.freshness.changed(shop.mirror.identity)
    assert value_of(shop.ensure(anywhere)) == Ensured({"refs/heads/main": ""}, (), True)


def test_ensuring_what_is_just_being_moved(shop: Shop) -> None:
    """Who has been told where a ref is finds it there the next time too, though its objects had come before."""
    shop.house.remote.current = listing(main="2")
    shop.house.git.holding = {"update-ref"}
    fetching = shop.missing(oid("2"))
    ensured = shop.ensure({"refs/heads/main": oid("2")})
    assert shop.mirror.objects.missing([oid("2")]) == [] and not ensured.called
    shop.house.git.holding = set()
    shop.house.git.release()
    assert value_of(fetching) == [] and value_of(ensured).refs == {"refs/heads/main": oid("2")}
    assert shop.mirror.refs.by_name == {"refs/heads/main": oid("2")}


def test_ensuring_other_refs(shop: Shop) -> None:
    """Refs that are neither heads nor tags are looked up by their names."""
    shop.house.remote.current = listing("refs/pull/7/head=7", "refs/pull/7/header=8", main="1")
    answer = value_of(shop.ensure({"refs/pull/7/head": ""}))
    assert answer == Ensured({"refs/pull/7/head": oid("7")}, (), True)
    assert shop.upstream.asked[1:] == [("refs/pull/7/head",)]
    assert shop.mirror.objects.missing([oid("7")]) == []


def test_ensuring_without_an_upstream(shop: Shop) -> None:
    """An upstream that does not answer is a failure, though there is a mirror."""
    shop.house.remote.current = UpstreamUnreachable("http://git.example", "down")
    assert isinstance(failure_of(shop.ensure({"refs/heads/new": ""})), UpstreamUnreachable)
    assert value_of(shop.missing(oid("5"))) == [] and value_of(shop.ensure({"refs/heads/main": ""})).fetched is False


def test_what_a_client_has_is_brought_where_the_mirror_knows_none_of_it(shop: Shop) -> None:
    """Of what it names first, which is its newest, so much that what it wants can be sent as what is new to it."""
    had = ids(6, 100)
    value_of(shop.base(*had, oid("1")))
    value_of(shop.base())
    assert fetches(shop.house) == []
    value_of(shop.base(*had))
    assert fetches(shop.house) == [had[:4]]
    value_of(shop.base(*had))
    assert len(fetches(shop.house)) == 1 and shop.mirror.objects.missing(had) == had[4:]


def test_what_only_a_client_has_keeps_it_waiting_for_no_longer_than_it_takes_to_ask(shop: Shop) -> None:
    """The upstream need not have it either, nor answer soon, nor at all; neither is any of it the client's trouble."""
    shop.house.git.there = set()
    value_of(shop.base(*ids(3)))
    shop.house.git.holding = {"fetch"}
    slow = shop.base(*ids(3))
    shop.house.clock.advance(4)
    assert not slow.called
    shop.house.clock.advance(2)
    assert value_of(slow) is None
    shop.house.git.release(ProcessFailed("git fetch", 128, "fatal: unable to access"))
    shop.house.git.holding = set()
    shop.house.clock.advance(60)
    shop.house.remote.current = UpstreamUnreachable("http://git.example", "down")
    assert value_of(shop.missing(oid("5"))) == [oid("5")]
    before = len(fetches(shop.house))
    assert value_of(shop.base(*ids(3))) is None and len(fetches(shop.house)) == before


def test_what_a_client_has_fails_nothing_where_the_disk_fails(shop: Shop) -> None:
    """What it wants is there all the same."""
    shop.house.git.holding = {"fetch"}
    tried = shop.base(*ids(3))
    shop.house.git.release(OSError(errno.EMFILE, "Too many open files"))
    assert value_of(tried) is None


def test_what_a_client_has_counts_as_what_it_asks_for_by_ids(shop: Shop) -> None:
    """Beyond what one client may ask for nothing is tried."""
    shop.house.git.there = set()
    value_of(shop.missing(*ids(1000)))
    value_of(shop.missing(*ids(500, 1000)))
    before = len(fetches(shop.house))
    assert value_of(shop.base(*ids(1, 2000))) is None and len(fetches(shop.house)) == before


def ids(count: int, start: int = 0) -> list[str]:
    """Return ids that nobody has."""
    return [f"{number:040x}" for number in range(start + 1, start + count + 1)]


def test_more_ids_than_one_request_may_ask_for_are_refused(shop: Shop) -> None:
    """A fetch of 1,001 ids that no ref leads to is asked of nobody, and nobody waits for it."""
    shop.house.git.there = set()
    refused = failure_of(shop.missing(*ids(MOST_IDS + 1)))
    assert isinstance(refused, TooMany) and "no more than 1000 objects" in str(refused)
    assert fetches(shop.house) == []
    value_of(shop.missing(*ids(MOST_IDS)))
    assert fetches(shop.house)[0] == ids(MOST_IDS)


def test_any_number_of_what_is_listed_is_asked_for(shop: Shop) -> None:
    """Ids that some listing has are no more than a client may ask for, of whatever refs it is; they take no lane."""
    many = ids(MOST_IDS + 1)
    pulls = Listing(tuple(RemoteRef(f"refs/pull/{number}/head", oid) for number, oid in enumerate(many)))
    shop.house.remote.current = pulls
    shop.house.git.there = set()
    kind = bounded(["refs/pull/"])
    assert kind is not None
    value_of(Deferred.fromCoroutine(shop.freshness.refs(shop.mirror.identity, kind, None)))
    shop.house.remote.current = listing(main="1")
    assert value_of(shop.missing(*many)) == many and fetches(shop.house) == []


def test_ids_that_are_there_are_looked_up_first_and_cost_nothing(shop: Shop) -> None:
    """Of the ids that a client asks for only those count that neither the mirror has nor the upstream lists."""
    shop.house.remote.current = listing(main="2", new="3")
    shop.house.git.there = {oid("2"), oid("3")}
    for _ in range(2000):
        assert value_of(shop.missing(oid("1"))) == []
    assert value_of(shop.missing(oid("1"), oid("2"), oid("3"))) == []
    assert value_of(shop.missing(*ids(1000))) != []
    assert len(fetches(shop.house)) > 1


def test_one_client_asks_for_so_many_ids_in_a_minute(shop: Shop) -> None:
    """Beyond that nothing is fetched for it, and ``ensure-refs`` says when to come back; others go on."""
    shop.house.git.there = set()
    value_of(shop.missing(*ids(1000)))
    before = len(fetches(shop.house))
    assert value_of(shop.missing(*ids(501, 1000))) == ids(501, 1000) and len(fetches(shop.house)) == before
    refused = failure_of(shop.ensure({}, *ids(800, 1000)))
    assert isinstance(refused, TooOften) and refused.retry_after == pytest.approx(12)
    assert "10.0.0.1" in str(refused) and len(fetches(shop.house)) == before
    assert value_of(shop.ensure({}, *ids(800, 1000), client="10.0.0.2")).missing_commits == tuple(ids(800, 1000))
    shop.house.clock.advance(12)
    assert value_of(shop.ensure({}, *ids(800, 2000))).missing_commits == tuple(ids(800, 2000))


@pytest.mark.no_cover
def test_what_others_have_asked_for_already_is_not_counted(shop: Shop) -> None:
    """A hundred builds behind one address that want the same commit cost one id and one fetch."""
    shop.house.git.holding = {"fetch"}
    waiting = [shop.missing(*ids(1000)) for _ in range(100)]
    shop.house.git.release()
    assert [value_of(each) for each in waiting] == [[]] * 100 and len(fetches(shop.house)) == 1
    value_of(shop.missing(*ids(1)))


def test_very_many_ids_are_looked_up_in_turns(shop: Shop) -> None:
    """The reactor goes on to others while a hundred thousand ids are looked up."""
    shop.house.git.there = set()
    many = ids(100_000)
    waiting = shop.missing(*many)
    assert not waiting.called
    shop.house.clock.pump([0] * 60)
    assert isinstance(failure_of(waiting), TooMany) and fetches(shop.house) == []


def test_a_flood_of_ids_is_refused_after_the_first_that_are_too_many(shop: Shop) -> None:
    """Of millions of ids that no listing has no more are held against listings than a request may ask for."""
    value_of(shop.missing(oid("2")))
    endless = shop.freshness.known.unlisted(shop.mirror.identity, (f"{number:040x}" for number in count(100)))
    assert len(list(islice(endless, MOST_IDS))) == MOST_IDS
    assert list(shop.freshness.known.unlisted(shop.mirror.identity, [oid("1"), oid("7")])) == [oid("7")]
