"""Who may read what, and for how long an upstream's word holds."""

import gc
import json
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.background import Background
from cachew.plumbing.errors import UpstreamBusy, UpstreamRefused, UpstreamUnreachable
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.replica_verdicts import Elsewhere
from cachew.upstream.verdictmemory import UpstreamChanges
from cachew.upstream.verdicts import Verdicts
from tests.fakes.clock import FakeClock
from tests.fakes.inlinethreads import InlineThreads
from tests.fakes.sightings import FakeSightings

URL = "https://git.example/r"
EPOCH = 1_700_000_000.0


@dataclass(frozen=True)
class Repository:
    name: str = "git.example/r"


REPOSITORY = Repository()


class Upstream:
    """Is asked and answers when told to."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.open: list[Deferred[None]] = []

    async def probe(self, repository: Repository, authorization: str | None) -> bool:
        self.asked.append(authorization)
        answer: Deferred[None] = Deferred()
        self.open.append(answer)
        await answer
        return True

    def allow(self) -> None:
        self.open.pop(0).callback(None)

    def refuse(self, status: int = 401) -> None:
        self.open.pop(0).errback(UpstreamRefused(URL, status=status))

    def fail(self) -> None:
        self.open.pop(0).errback(UpstreamUnreachable(URL, "down"))


class World:
    """Verdicts with their clock, their upstream and their file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = FakeClock(now=EPOCH)
        self.upstream = Upstream()
        self.sightings = FakeSightings()
        self.start()

    def start(self) -> None:
        """Start, or start again as after a restart of the process."""
        self.public = PublicRecord(
            path=self.path,
            clock=self.clock,
            grace=3600,
            in_thread=InlineThreads(),
            background=Background(),
            elsewhere=Elsewhere(
                sightings=self.sightings,
                clock=self.clock,
                grace=3600,
                background=Background(),
            ),
        )
        self.public.load()
        self.changes = UpstreamChanges()
        self.verdicts = Verdicts(
            reactor=self.clock,
            clock=self.clock,
            probe=self.upstream.probe,
            public=self.public,
            changes=self.changes,
        )

    def now(self) -> float:
        """Return the time of day."""
        return self.clock.now()

    def another_replica(self) -> None:
        """Start anew, as a replica of which nothing is left but what was told to all."""
        self.path.unlink(missing_ok=True)
        self.start()

    def admit(self, authorization: str | None = None, repository: Repository = REPOSITORY) -> list[Any]:
        """Ask to be let in; the list holds the outcome once there is one: None or the exception."""
        outcome: list[Any] = []
        waiting = Deferred.fromCoroutine(self.verdicts.admit(repository, authorization))
        waiting.addBoth(lambda result: outcome.append(None if result is True else result.value))
        return outcome

    def become_public(self) -> None:
        """Have the upstream serve the repository anonymously."""
        outcome = self.admit()
        self.upstream.allow()
        assert outcome == [None]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "public.json")


def test_allow_holds(world: World) -> None:
    """An allowed credential is not asked about again for a minute, then it is."""
    outcome = world.admit("mine")
    assert not outcome
    world.upstream.allow()
    assert outcome == [None]
    world.clock.advance(59)
    assert world.admit("mine") == [None]
    world.clock.advance(2)
    assert world.admit("mine") == []
    assert world.upstream.asked == ["mine", "mine"]


def test_allow_is_ones_own(world: World) -> None:
    """One credential's permission helps no other, none at all, and no other repository."""
    world.admit("mine")
    world.upstream.allow()
    for authorization, repository in (("other", REPOSITORY), (None, REPOSITORY), ("mine", Repository("git.example/s"))):
        assert world.admit(authorization, repository) == []
    assert world.upstream.asked == ["mine", "other", None, "mine"]


@pytest.mark.parametrize(("told", "seconds"), [(0.0, 1.0), (2.0, 2.0), (60.0, 5.0), (None, 1.0)])
def test_a_busy_upstream_is_asked_again_when_it_said(world: World, told: float | None, seconds: float) -> None:
    """Who comes back after the time that the upstream named is not told the old answer."""
    world.admit("mine")
    world.upstream.open.pop(0).errback(UpstreamBusy(URL, "busy", status=429, retry_after=told))
    world.clock.advance(seconds - 0.1)
    assert isinstance(world.admit("mine")[0], UpstreamBusy)
    assert len(world.upstream.asked) == 1
    world.clock.advance(0.2)
    world.admit("mine")
    assert len(world.upstream.asked) == 2
    world.upstream.allow()


def test_deny_holds(world: World) -> None:
    """A refusal is repeated for a second without asking, then asked again."""
    outcome = world.admit("bad")
    world.upstream.refuse(403)
    assert outcome[0].status == 403
    world.clock.advance(0.9)
    assert world.admit("bad")[0].status == 403
    world.clock.advance(0.2)
    assert world.admit("bad") == []
    assert len(world.upstream.asked) == 2


@pytest.mark.parametrize("authorization", [None, "mine"])
def test_a_denial_does_not_outlive_a_push(world: World, authorization: str | None) -> None:
    """A push or a webhook voids what was refused before, to whomever: the repository may have come into being."""
    outcome = world.admit(authorization)
    world.upstream.refuse(404)
    assert outcome[0].status == 404
    world.changes.note(REPOSITORY.name)
    outcome = world.admit(authorization)
    assert outcome == []
    world.upstream.allow()
    assert outcome == [None]


def test_a_question_from_before_a_push_is_no_answer_after_it(world: World) -> None:
    """Whoever comes after a push shares no question from before, and its refusal is not kept for him."""
    before = world.admit()
    world.changes.note(REPOSITORY.name)
    after = world.admit()
    assert len(world.upstream.asked) == 2
    world.upstream.refuse(404)
    assert before[0].status == 404 and after == []
    late = world.admit()
    assert late == []
    world.upstream.allow()
    assert (after, late) == ([None], [None])


def test_one_clients_refusal_is_nobody_elses(world: World) -> None:
    """Each credential has its own refusal, with the challenge that it got, and none is given to a stranger."""
    outcomes = [world.admit(authorization) for authorization in ("alice", "bob", None)]
    for number, status in enumerate((401, 403, 404)):
        world.upstream.open[number].errback(
            UpstreamRefused(URL, status=status, headers=[(b"WWW-Authenticate", b"Basic realm=%d" % number)])
        )
    found = [(outcome[0].status, outcome[0].headers[0][1]) for outcome in outcomes]
    assert found == [(401, b"Basic realm=0"), (403, b"Basic realm=1"), (404, b"Basic realm=2")]


def test_shared(world: World) -> None:
    """However many ask at once with one credential, the upstream is asked once."""
    outcomes = [world.admit("mine") for _ in range(100)]
    assert world.upstream.asked == ["mine"]
    world.upstream.allow()
    assert all(outcome == [None] for outcome in outcomes)


def test_fails_closed(world: World) -> None:
    """With the upstream down nobody new gets in, and a permission ends with its minute."""
    world.admit("mine")
    world.upstream.allow()
    stranger = world.admit("other")
    world.upstream.fail()
    assert isinstance(stranger[0], UpstreamUnreachable)
    assert world.admit("mine") == [None]
    world.clock.advance(61)
    late = world.admit("mine")
    world.upstream.fail()
    assert isinstance(late[0], UpstreamUnreachable)


def test_public_is_for_all(world: World) -> None:
    """A public repository is served to every credential without asking."""
    world.become_public()
    assert world.admit("whatever") == world.admit(None) == [None]


def test_public_grace_waits_briefly(world: World) -> None:
    """What was public lately is served after 50 ms although the upstream hangs."""
    world.become_public()
    world.clock.advance(61)
    outcome = world.admit()
    world.clock.advance(0.04)
    assert outcome == []
    world.clock.advance(0.02)
    assert outcome == [None]
    world.upstream.allow()
    assert world.admit() == [None] and len(world.upstream.asked) == 2


def test_public_grace_upstream_down(world: World) -> None:
    """What was public lately is served while the upstream is down, and not any longer than the grace."""
    world.become_public()
    world.clock.advance(61)
    outcome = world.admit()
    world.upstream.fail()
    assert outcome == [None]
    assert world.admit() == [None] and len(world.upstream.asked) == 2, "not asked again at once"
    world.clock.advance(3600)
    outcome = world.admit()
    world.upstream.fail()
    assert isinstance(outcome[0], UpstreamUnreachable)


def test_made_private(world: World) -> None:
    """A repository made private is refused as soon as the upstream says so, also to those who came during the check."""
    world.become_public()
    world.clock.advance(61)
    outcome = world.admit()
    world.upstream.refuse(404)
    assert outcome[0].status == 404
    assert world.admit()[0].status == 404
    world.start()
    assert world.admit() == [], "the restarted server asks and waits"


def test_made_private_late(world: World) -> None:
    """The answer counts although nobody waited for it any more."""
    world.become_public()
    world.clock.advance(61)
    assert world.admit() == []
    world.clock.advance(0.06)
    world.upstream.refuse()
    assert world.admit()[0].status == 401


def test_made_private_with_credential(world: World) -> None:
    """When a repository is no longer public, a request's own credential decides."""
    world.become_public()
    world.clock.advance(61)
    outcome = world.admit("mine")
    world.upstream.refuse()
    assert outcome == [] and world.upstream.asked == [None, None, "mine"]
    world.upstream.allow()
    assert outcome == [None]


def test_restart(world: World) -> None:
    """What was public lately is remembered across a restart, in a file that only the server can read."""
    world.become_public()
    assert world.path.stat().st_mode & 0o777 == 0o600
    world.start()
    outcome = world.admit()
    world.clock.advance(0.06)
    assert outcome == [None]


def test_restart_much_later(world: World) -> None:
    """After the grace a remembered repository is like any other."""
    world.become_public()
    world.clock.advance(3601)
    world.start()
    outcome = world.admit()
    world.clock.advance(0.06)
    assert outcome == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"public": 3}', '{"public": {"git.example/r": "x"}}',
                json.dumps({"public": {"git.example/r": EPOCH + 100}})],
)  # fmt: skip
def test_damaged_record(world: World, content: str) -> None:
    """A file that is damaged or speaks of the future makes nothing public."""
    world.path.write_text(content)
    world.start()
    outcome = world.admit()
    world.clock.advance(0.06)
    assert outcome == []


def test_recorded_verdicts(world: World) -> None:
    """What another request learned from the upstream counts as a verdict."""
    world.verdicts.memory.record_allow(REPOSITORY, "mine")
    assert world.verdicts.memory.allows(REPOSITORY, "mine") and not world.verdicts.memory.allows(REPOSITORY, None)
    assert world.admit("mine") == [None]
    world.verdicts.memory.record(REPOSITORY, "mine", UpstreamRefused(URL, status=401))
    assert world.admit("mine")[0].status == 401
    assert world.upstream.asked == []


def test_waiter_leaves(world: World) -> None:
    """A client that leaves does not end the check for the others."""
    waiting = Deferred.fromCoroutine(world.verdicts.admit(REPOSITORY, "mine"))
    other = world.admit("mine")
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    world.upstream.allow()
    assert other == [None]


def test_no_credential_kept(world: World) -> None:
    """Nothing that is remembered holds a credential, whether it was allowed, refused or could not be asked about."""
    for answer in (world.upstream.allow, world.upstream.refuse, world.upstream.fail):
        world.admit(f"Basic c2VjcmV0{answer.__name__}")
        answer()
    world.upstream.asked.clear()
    seen: set[int] = set()
    waiting: list[Any] = [world.verdicts]
    while waiting:
        one = waiting.pop()
        assert not (isinstance(one, str) and "c2VjcmV0" in one)
        if id(one) not in seen and not isinstance(one, type | FunctionType | ModuleType):
            seen.add(id(one))
            waiting += gc.get_referents(one)


def test_unwritable_record(world: World, flush_logged_errors: Any) -> None:
    """A record that can't be written doesn't keep anybody out."""
    world.path = world.path.parent / "missing" / "public.json"
    world.start()
    world.become_public()
    assert world.admit() == [None]
    flush_logged_errors()


@pytest.mark.parametrize("down", [True, False])
def test_a_new_replica_knows_what_is_public(world: World, down: bool) -> None:
    """What another replica saw to be public within the grace is served while the upstream hangs, or is down."""
    world.become_public()
    world.another_replica()
    outcome = world.admit()
    if down:
        world.upstream.fail()
    world.clock.advance(0.05)
    assert outcome == [None]
    assert not world.verdicts.memory.allows(REPOSITORY, None)


def test_a_new_replica_is_told_by_the_upstream_first(world: World) -> None:
    """The upstream's refusal counts more than what another replica saw before, here and for those to come."""
    world.become_public()
    world.another_replica()
    outcome = world.admit()
    world.upstream.refuse(404)
    assert outcome[0].status == 404
    assert not world.sightings.moments
    world.sightings.moments[REPOSITORY.name] = world.now()
    world.clock.advance(6)
    asking = world.admit()
    world.clock.advance(1)
    assert asking == [], "it was refused to this replica itself"


def test_old_sightings_count_for_nothing(world: World) -> None:
    """What was public longer ago than the grace, or will be, is not known to be so now."""
    for at in (world.now() - 3601, world.now() + 10):
        world.sightings.moments[REPOSITORY.name] = at
        world.another_replica()
        outcome = world.admit()
        world.clock.advance(1)
        assert outcome == []
        world.upstream.fail()
        assert isinstance(outcome[0], UpstreamUnreachable)


def test_a_clock_that_is_put_back_keeps_nothing_from_the_others(world: World) -> None:
    """They are told again after a tenth of the grace, as ever."""
    world.become_public()
    world.sightings.moments.clear()
    world.clock.put_forward(-7200)
    world.clock.advance(361)
    world.become_public()
    assert world.sightings.moments == {REPOSITORY.name: world.now()}


def test_the_others_are_asked_now_and_then(world: World) -> None:
    """However many clients ask for what nobody has seen to be public, it is looked up once in ten seconds."""
    outcomes = [world.admit(f"credential {n}") for n in range(20)]
    assert (outcomes, world.sightings.looks) == ([[]] * 20, 1)
    world.clock.advance(11)
    world.admit("another")
    assert world.sightings.looks == 2


def test_without_records_it_is_as_before(world: World) -> None:
    """While what was told can't be read, the upstream alone decides; what can't be told is no failure."""
    world.sightings.down = True
    outcome = world.admit("mine")
    world.upstream.allow()
    assert outcome == [None]
    world.become_public()
    assert not world.sightings.moments
