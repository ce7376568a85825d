"""Which instance a name stands for now, with upstreams, replicas and the clock in the test's hand."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.badhours import BadHours
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance, Verdict
from cachew.mirrors.instancejournal import InstanceJournal
from cachew.mirrors.instances import Beginnings, Instances
from cachew.mirrors.sharedinstances import SharedInstances
from cachew.mirrors.voices import Voices
from cachew.plumbing.allowance import Allowance
from cachew.plumbing.background import Background
from cachew.plumbing.errors import StorageUnavailable
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.upstream.listing import Listing
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.mirrorgit import REPOSITORY, listing
from tests.fakes.records import UnreliableRecords
from tests.fakes.settled import failure_of, result_of, value_of

OWN, ALICE, BOB = "the server's", "alice's", "bob's"
OTHERS = [Identity("git.example", f"org/{number}") for number in range(20)]


class World:
    """One server's knowledge.

    :ivar public: the repositories that the upstream serves to everybody.
    :ivar mirrored: what the refs of the mirror have; None without a mirror.
    :ivar known: whose credentials were let in before.
    :ivar ended: the instances that were given up.
    """

    def __init__(self, path: Path, records: UnreliableRecords | None = None, clock: FakeClock | None = None) -> None:
        self.clock, self.path = clock or FakeClock(), path
        self.public: dict[Identity, Listing] = {}
        self.mirrored: Listing | None = None
        self.known: set[str | None] = set()
        self.ended_ones: list[Instance] = []
        self.records = records
        self.number = 0
        self.instances = self.start()

    def start(self) -> Instances:
        """Start, or start again."""
        ids = iter(f"{self.path.name}{number}" for number in range(1000))
        made = Instances(
            journal=InstanceJournal(path=self.path, in_thread=InlineThreads()),
            shared=None if self.records is None else SharedInstances(records=self.records, reactor=self.clock),
            voices=Voices(
                remotes=cast(Any, self),
                verdicts=lambda: cast(Any, self),
                begin=self.find_out_whether_public,
                bad_hours=BadHours(clock=self.clock),
            ),
            kept=self,
            beginnings=Beginnings(
                unique=lambda: f"{next(ids)}{self.number}",
                new_ones=Allowance(clock=self.clock, per_minute=10),
                clock=self.clock,
            ),
            reactor=self.clock,
            background=Background(),
        )
        value_of(Deferred.fromCoroutine(made.load()))
        self.instances = made
        return made

    async def authorization(self, identity: Identity) -> str | None:
        """Return the server's own credential."""
        return OWN

    @property
    def memory(self) -> "World":
        """It is what upstreams said, too."""
        return self

    def knows(self, identity: Identity, credential: str | None) -> bool:
        """Say whether a credential was let in before."""
        return credential in self.known

    def allows(self, identity: Identity, credential: str | None) -> bool:
        """Say that the answer was heard."""
        return False

    async def find_out_whether_public(self, identity: Identity) -> None:
        """Ask the upstream as nobody."""
        self.number += 1
        if identity in self.public:
            await self.instances.listed(identity, None, self.public[identity], self.number)
        else:
            await self.instances.refused(identity, None, 401, self.number)

    def shares(self, instance: Instance, listed: Listing) -> bool | None:
        """Say whether the mirror has anything that is listed."""
        return None if self.mirrored is None else not self.mirrored.oids().isdisjoint(listed.oids())

    def ended(self, instance: Instance) -> None:
        """Note it."""
        self.ended_ones.append(instance)

    def listed(
        self, credential: str | None, found: Listing, identity: Identity = REPOSITORY, number: int | None = None
    ) -> Deferred[Verdict]:
        """Have an upstream list something."""
        self.number += 1
        if credential is None:
            self.public[identity] = found
        return Deferred.fromCoroutine(
            self.instances.listed(identity, credential, found, self.number if number is None else number)
        )

    def hears(self, credential: str | None, found: Listing, identity: Identity = REPOSITORY) -> Verdict:
        """Have an upstream list something, and return what that means."""
        return value_of(self.listed(credential, found, identity))

    def refused(self, credential: str | None, status: int = 404, identity: Identity = REPOSITORY) -> None:
        """Have an upstream refuse somebody."""
        self.number += 1
        if credential is None:
            self.public.pop(identity, None)
        value_of(Deferred.fromCoroutine(self.instances.refused(identity, credential, status, self.number)))

    def end(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.instances.end(REPOSITORY))

    @property
    def id(self) -> str | None:
        """The present instance's id."""
        return self.id_of(REPOSITORY)

    def id_of(self, identity: Identity) -> str | None:
        found = self.instances.current(identity)
        return None if found is None else found.id


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "instances")


OLD, NEXT, OTHER = listing(main="1", stable="2"), listing(main="3", stable="2"), listing(main="8", stable="9")


def test_who_was_let_in_before_anything_was_listed_is_asked_about_anew(world: World) -> None:
    """That an upstream tells somebody what it speaks is no right to what another one's credential brings."""
    before = world.instances.era(REPOSITORY)
    assert world.instances.counts(REPOSITORY, before) and world.hears(ALICE, OLD) is Verdict.GOES_ON
    assert not world.instances.counts(REPOSITORY, before)
    assert world.instances.counts(REPOSITORY, world.instances.era(REPOSITORY))


def test_an_instance_goes_on_while_it_is_the_same(world: World) -> None:
    """Pushes, further readers and a restart begin nothing."""
    assert world.hears(OWN, OLD) is Verdict.GOES_ON
    first = world.id
    assert world.hears(ALICE, NEXT) is world.hears(OWN, NEXT) is Verdict.GOES_ON
    world.start()
    assert world.hears(BOB, NEXT) is Verdict.GOES_ON and world.id == first and not world.ended_ones


def test_what_is_public_begins_as_such_whoever_asks_first(world: World) -> None:
    """Whether everybody may read is asked before anything is kept, so a token shown first costs no second instance."""
    world.public[REPOSITORY] = OLD
    assert world.hears(ALICE, OLD) is Verdict.PRIVATELY
    first = world.id
    assert world.instances.is_public(REPOSITORY)
    assert world.hears(None, NEXT) is Verdict.GOES_ON and world.id == first


def test_a_private_one_that_is_published_is_another(world: World) -> None:
    """Nothing that was kept of a private repository is anybody's once it is public, though its history is the same."""
    world.hears(OWN, OLD)
    first, era = world.id, world.instances.era(REPOSITORY)
    assert world.hears(None, OLD) is Verdict.GOES_ON and world.id != first
    assert [one.id for one in world.ended_ones] == [first] and not world.instances.counts(REPOSITORY, era)


def test_public_then_private_then_public(world: World) -> None:
    """What was kept while it was private belongs to an instance of its own, and so does what came after."""
    world.hears(None, OLD)
    first = world.id
    world.refused(None, 401)
    assert not world.instances.is_public(REPOSITORY)
    world.hears(OWN, OLD)
    second = world.id
    world.hears(None, OLD)
    assert len({first, second, world.id}) == 3


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_the_servers_own_refusal_ends_an_instance(world: World, status: int) -> None:
    """What the upstream serves after it has refused the server's credential is another one, also after a restart."""
    world.hears(OWN, OLD)
    first = world.id
    world.refused(OWN, status)
    world.start()
    assert world.hears(ALICE, OLD) is Verdict.GOES_ON and world.id != first


def test_a_servers_busy_hour_ends_nothing(world: World) -> None:
    """429 is no refusal."""
    world.hears(OWN, OLD)
    first = world.id
    world.refused(OWN, 429)
    assert world.hears(OWN, OLD) is Verdict.GOES_ON and world.id == first


def test_another_format_or_nothing_at_all_is_another(world: World) -> None:
    """A repository of the other object format, and one that is empty now, shares nothing with what was there."""
    world.hears(OWN, OLD)
    first = world.id
    sha256 = Listing(refs=OTHER.refs, object_format="sha256")
    assert world.hears(OWN, sha256) is Verdict.GOES_ON and world.id != first
    second = world.id
    world.hears(OWN, Listing(refs=()))
    assert world.id != second


def test_the_name_of_what_has_moved_is_taken(world: World) -> None:
    """A repository that moved is the same; one that is found at the old name afterwards is not, whatever it shares."""
    world.hears(OWN, OLD)
    first = world.id
    moved = Listing(refs=OLD.refs, base="https://git.example/org/moved")
    assert world.hears(OWN, moved) is Verdict.GOES_ON and world.id == first
    world.start()
    world.hears(OWN, OLD)
    assert world.id != first


def test_a_doubt_voids_private_rights_until_a_fetch_has_told(world: World) -> None:
    """While it isn't known what a listing without anything known is, nobody gets what is kept of a private one."""
    world.mirrored = OLD
    world.hears(OWN, OLD)
    first, before = world.instances.current(REPOSITORY), world.instances.era(REPOSITORY)
    assert first is not None
    assert world.hears(OWN, OTHER) is Verdict.DOUBT
    during = world.instances.era(REPOSITORY)
    assert world.instances.readable(REPOSITORY) is None and not world.instances.counts(REPOSITORY, before)
    waiting = Deferred.fromCoroutine(world.instances.settled(REPOSITORY, 30))
    assert world.hears(ALICE, OTHER) is Verdict.DOUBT and not waiting.called
    value_of(Deferred.fromCoroutine(world.instances.compared(first, OTHER, related=True)))
    value_of(waiting)
    assert world.instances.readable(REPOSITORY) == first
    assert world.instances.counts(REPOSITORY, before) and world.instances.counts(REPOSITORY, during)


def test_a_doubt_that_turns_out_to_be_right(world: World) -> None:
    """Rights that were asked for during the doubt are to the new instance, those from before to nothing."""
    world.mirrored = OLD
    world.hears(OWN, OLD)
    first, before = world.instances.current(REPOSITORY), world.instances.era(REPOSITORY)
    assert first is not None
    world.hears(OWN, OTHER)
    during = world.instances.era(REPOSITORY)
    value_of(Deferred.fromCoroutine(world.instances.compared(first, OTHER, related=False)))
    assert world.ended_ones == [first] and world.id not in (None, first.id)
    assert not world.instances.counts(REPOSITORY, before) and world.instances.counts(REPOSITORY, during)


def test_a_doubt_that_nobody_settles_is_waited_for_by_nobody(world: World) -> None:
    """When the fetch that would tell has failed, clients are answered by the upstream at once, until the next one."""
    world.mirrored = OLD
    world.hears(OWN, OLD)
    first = world.instances.current(REPOSITORY)
    assert first is not None and world.hears(OWN, OTHER) is Verdict.DOUBT
    waiting = Deferred.fromCoroutine(world.instances.settled(REPOSITORY, 30))
    world.instances.undecided(first)
    value_of(waiting)
    value_of(Deferred.fromCoroutine(world.instances.settled(REPOSITORY, 30)))
    assert world.instances.readable(REPOSITORY) is None
    assert world.hears(OWN, OTHER) is Verdict.DOUBT
    assert not Deferred.fromCoroutine(world.instances.settled(REPOSITORY, 30)).called
    world.clock.advance(30)


@pytest.mark.parametrize("found", [OTHER, listing(main="6", stable="7")])
def test_a_mirror_that_goes_away_settles_no_doubt(world: World, found: Listing) -> None:
    """Who waits for the fetch that would tell goes on as soon as there is no mirror to fetch into."""
    world.mirrored = OLD
    world.hears(OWN, OLD)
    world.hears(OWN, OTHER)
    waiting = Deferred.fromCoroutine(world.instances.settled(REPOSITORY, 30))
    world.mirrored = None
    assert not waiting.called and world.hears(OWN, found) is Verdict.DOUBT
    value_of(waiting)


def test_where_a_client_is_redirected_is_its_own_matter(world: World) -> None:
    """One client's redirect neither moves the repository nor makes the next one's address a name that was taken."""
    world.hears(OWN, OLD)
    first = world.id
    moved = Listing(refs=OLD.refs, base="https://git.example/org/moved")
    for credential, found in ((ALICE, moved), (BOB, OLD), (OWN, OLD), (ALICE, moved), (OWN, OLD)):
        assert world.hears(credential, found) is Verdict.GOES_ON and world.id == first


def test_a_public_one_is_served_while_it_is_in_doubt(world: World) -> None:
    """What everybody may have waits for no fetch."""
    world.mirrored = OLD
    world.hears(None, OLD)
    assert world.hears(None, OTHER) is Verdict.DOUBT
    assert world.instances.readable(REPOSITORY) is not None


def test_what_nobody_can_fetch_is_decided_at_once(world: World) -> None:
    """Where the server has no credential no fetch can tell, and what a listing shares nothing with has ended."""
    world.hears(ALICE, OLD)
    first = world.id
    assert world.hears(ALICE, OTHER) is Verdict.GOES_ON and world.id != first
    second = world.id
    world.known.add(BOB)
    world.refused(BOB)
    world.hears(ALICE, OTHER)
    assert world.id != second


def test_an_answer_from_before_changes_nothing(world: World) -> None:
    """What the upstream says in answer to a question from before the present instance began is not believed."""
    world.hears(OWN, OLD)
    world.hears(None, OLD)
    second = world.id
    assert value_of(world.listed(ALICE, OTHER, number=1)) is Verdict.LATE and world.id == second


def test_a_part_is_believed_where_nothing_follows_from_it(world: World) -> None:
    """A listing of some refs is of the present instance when it shares something with it, and all is as it was."""
    found = listing(main="1", topic="2")
    world.hears(None, found)

    def believed(credential: str | None, part: Listing) -> bool:
        world.number += 1
        hearing = world.instances.listed_in_part(REPOSITORY, credential, part, world.number)
        return value_of(Deferred.fromCoroutine(hearing))

    topic = listing(head=None, topic="2")
    assert believed(None, topic)
    assert not believed(None, listing(head=None, topic="9"))
    assert not believed(OWN, topic) and not believed(ALICE, topic)
    world.refused(None)
    assert not believed(None, topic)
    assert world.hears(None, found) is Verdict.GOES_ON or world.id is not None


def believes(world: World, credential: str | None, part: Listing) -> bool:
    """Have an upstream list some refs, and return whether they are taken for the present instance's."""
    world.number += 1
    return value_of(Deferred.fromCoroutine(world.instances.listed_in_part(REPOSITORY, credential, part, world.number)))


def test_a_part_is_believed_of_who_is_new(world: World) -> None:
    """One more who may read a private repository has not all of it listed; what shares nothing with it is listed."""
    world.hears(ALICE, OLD)
    assert believes(world, BOB, listing(head=None, stable="2")) and not believes(world, BOB, OTHER)
    assert not believes(world, None, OLD), "that it is everybody's now is another matter"


def test_a_part_of_who_is_new_is_held_against_what_the_replicas_know(tmp_path: Path) -> None:
    """As all refs would be: nothing is believed while the store fails, and nothing of what has ended."""
    records, one, two = replicas(tmp_path)
    one.hears(OWN, OLD)
    two.hears(OWN, OLD)
    one.refused(OWN)
    one.hears(OWN, OTHER)
    records.down = True
    assert not believes(two, BOB, OLD)
    records.down = False
    assert not believes(two, BOB, OLD) and two.id == one.id and believes(two, BOB, OTHER)


def test_forget_ends_an_instance(world: World) -> None:
    """Nothing is left to serve, also after a restart, and the next listing begins another."""
    world.hears(OWN, OLD)
    first = world.id
    value_of(world.end())
    assert world.id is None and world.start().current(REPOSITORY) is None
    world.hears(OWN, OLD)
    assert world.id not in (None, first)


def test_a_bad_hour_of_the_host_ends_nothing(world: World) -> None:
    """When all repositories of a host are refused and then are there again, the same as before, all instances go on."""
    for identity in OTHERS:
        world.hears(OWN, OLD, identity)
    before = [world.id_of(identity) for identity in OTHERS]
    for identity in OTHERS:
        world.refused(OWN, 404, identity)
    world.start()
    assert {world.hears(OWN, NEXT, identity) for identity in OTHERS} == {Verdict.GOES_ON}
    assert [world.id_of(identity) for identity in OTHERS] == before and not world.ended_ones


def test_few_instances_begin_in_a_minute(world: World) -> None:
    """However many repositories of a host become others at once, most wait unserved until it is their turn."""
    for identity in OTHERS:
        world.hears(OWN, OLD, identity)
    verdicts = [world.hears(None, OLD, identity) for identity in OTHERS]
    assert verdicts.count(Verdict.GOES_ON) == 10 and verdicts.count(Verdict.ASIDE) == 10
    assert sum(world.id_of(identity) is None for identity in OTHERS) == 10 and len(world.ended_ones) == 20
    world.clock.advance(61)
    assert {world.hears(None, OLD, identity) for identity in OTHERS} == {Verdict.GOES_ON}


def test_a_damaged_file_makes_everything_void(world: World) -> None:
    """Who can't read a line does not know whose it was; what a crash has cut off was never served by."""
    world.hears(OWN, OLD)
    first = world.id
    with world.path.open("ab") as file:
        file.write(b'["git.example/org/x", {"id": "cut o')
    world.start()
    assert world.id == first
    lines = world.path.read_bytes()
    world.path.write_bytes(lines.replace(b'"id"', b'"i\x00"') + json.dumps(["x", {}]).encode() + b"\n")
    world.start()
    assert world.id is None


def replicas(tmp_path: Path) -> tuple[UnreliableRecords, World, World]:
    """Return two replicas with one store."""
    records, clock = UnreliableRecords(MemoryRecords()), FakeClock()
    return records, World(tmp_path / "one", records, clock), World(tmp_path / "two", records, clock)


def test_replicas_have_one_instance(tmp_path: Path) -> None:
    """Whoever begins an instance begins it for all; one that is asked for learns soon that it has ended."""
    _, one, two = replicas(tmp_path)
    one.hears(OWN, OLD)
    two.hears(OWN, OLD)
    assert one.id == two.id
    one.hears(None, OLD)
    assert two.id != one.id
    two.clock.advance(2)
    value_of(Deferred.fromCoroutine(two.instances.look(REPOSITORY)))
    assert two.id == one.id and len(two.ended_ones) == 1


def test_a_new_right_is_one_to_what_the_replicas_know(tmp_path: Path) -> None:
    """Who gets in here for the first time is never let at what another replica knows to have ended."""
    _, one, two = replicas(tmp_path)
    one.hears(OWN, OLD)
    two.hears(OWN, OLD)
    first = two.id
    one.refused(OWN)
    one.hears(OWN, OLD)
    assert two.id == first != one.id, "nobody has asked since"
    assert two.hears(BOB, OLD) is Verdict.GOES_ON and two.id == one.id


def test_a_store_that_fails_lets_nobody_new_at_what_is_kept(tmp_path: Path) -> None:
    """Who has a right already keeps it; who is new is answered by the upstream until the store answers."""
    records, one, two = replicas(tmp_path)
    one.hears(OWN, OLD)
    two.hears(OWN, OLD)
    records.down = True
    two.known.add(ALICE)
    assert two.hears(ALICE, OLD) is two.hears(OWN, OLD) is Verdict.GOES_ON
    assert two.hears(BOB, OLD) is two.hears(None, OLD) is Verdict.ASIDE
    records.down = False
    assert two.hears(BOB, OLD) is Verdict.GOES_ON and two.id == one.id


def test_a_store_that_can_only_be_read_is_told_as_what_is_in_the_way(tmp_path: Path) -> None:
    """It is known there what nobody has told yet, and can't be told."""
    fresh = World(tmp_path / "fresh", UnreliableRecords(MemoryRecords()))
    assert fresh.records is not None
    fresh.records.read_only = True
    assert fresh.hears(OWN, OLD) is Verdict.ASIDE
    assert str(result_of(fresh.instances.trouble(REPOSITORY))) == "read only"
    fresh.records.read_only = False
    assert fresh.hears(OWN, OLD) is Verdict.GOES_ON and result_of(fresh.instances.trouble(REPOSITORY)) is None


def test_what_a_fetch_has_shown_to_be_another_one(tmp_path: Path) -> None:
    """Though it is public, and the store fails in which its end would be written down, nothing of it is served."""
    records, one, _ = replicas(tmp_path)
    one.mirrored = OLD
    one.hears(None, OLD)
    first = one.instances.current(REPOSITORY)
    assert first is not None and one.hears(None, OTHER) is Verdict.DOUBT
    records.down = True
    comparing = Deferred.fromCoroutine(one.instances.compared(first, OTHER, related=False))
    assert isinstance(failure_of(comparing), StorageUnavailable)
    one.instances.undecided(first)
    assert one.instances.readable(REPOSITORY) is None and one.instances.readable_to_all(REPOSITORY) is None
    for found in (OTHER, listing(main="6", stable="7"), OTHER):
        assert one.hears(None, found) is Verdict.DOUBT and one.instances.readable(REPOSITORY) is None
    records.down = False
    value_of(Deferred.fromCoroutine(one.instances.compared(first, OTHER, related=False)))
    assert one.instances.readable(REPOSITORY) not in (None, first)


@pytest.mark.parametrize("credential", [None, OWN])
def test_a_refusal_voids_what_was_allowed_before(tmp_path: Path, credential: str | None) -> None:
    """Once anybody was refused who used to be served, everybody's right is asked for again, on every replica."""
    _, one, two = replicas(tmp_path)
    one.hears(credential, OLD)
    two.hears(credential, OLD)
    eras = [world.instances.era(REPOSITORY) for world in (one, two)]
    one.refused(credential)
    assert not one.instances.counts(REPOSITORY, eras[0]) and two.instances.counts(REPOSITORY, eras[1])
    two.clock.advance(2)
    value_of(Deferred.fromCoroutine(two.instances.look(REPOSITORY)))
    assert not two.instances.counts(REPOSITORY, eras[1]) and one.id == two.id


def test_a_bad_hour_voids_no_rights(world: World) -> None:
    """Where a host refuses everything, who was let in a moment ago is let in for as long as that counts."""
    for identity in OTHERS[:5]:
        world.hears(OWN, OLD, identity)
    eras = [world.instances.era(identity) for identity in OTHERS[:5]]
    for identity in OTHERS[:5]:
        world.refused(OWN, 404, identity)
    counts = [world.instances.counts(identity, era) for identity, era in zip(OTHERS[:5], eras, strict=True)]
    assert counts == [False, False, True, True, True]


def test_forget_outlasts_a_store_that_fails(tmp_path: Path) -> None:
    """What was forgotten while the store could not be reached does not come back with it."""
    records, one, two = replicas(tmp_path)
    one.hears(OWN, OLD)
    two.hears(OWN, OLD)
    first = one.id
    records.down = True
    assert isinstance(failure_of(one.end()), StorageUnavailable) and one.id is None
    records.down = False
    one.clock.advance(2)
    for replica in (one, two):
        value_of(Deferred.fromCoroutine(replica.instances.look(REPOSITORY)))
    assert one.id is two.id is None
    two.hears(OWN, OLD)
    assert two.id not in (None, first)


@pytest.mark.parametrize(("credential", "seconds"), [(OWN, 2.0), (None, 0.05)])
def test_the_first_look_after_a_start(tmp_path: Path, credential: str | None, seconds: float) -> None:
    """What was private when the server stopped may have ended since; who asks for it first waits for that, not long."""
    records, one, _ = replicas(tmp_path)
    one.hears(credential, OLD)
    one.start()
    records.silent = True
    looking = Deferred.fromCoroutine(one.instances.look(REPOSITORY))
    one.clock.advance(seconds - 0.01)
    assert not looking.called
    one.clock.advance(0.01)
    value_of(looking)


def test_later_looks_are_hardly_waited_for(tmp_path: Path) -> None:
    """Where the others' word was heard since the start, a store that hangs keeps nobody waiting."""
    records, one, _ = replicas(tmp_path)
    one.hears(OWN, OLD)
    one.clock.advance(2)
    records.silent = True
    looking = Deferred.fromCoroutine(one.instances.look(REPOSITORY))
    one.clock.advance(0.05)
    value_of(looking)
