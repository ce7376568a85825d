"""The ref gate, with a clock and an upstream that are held still."""

from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.freshness import Answer, ref_gate
from cachew.mirrors.gatelisteners import GateListeners
from cachew.mirrors.identity import Identity
from cachew.mirrors.kinds import EVERYTHING, MIRRORED_KIND, Kind
from cachew.mirrors.listings import Listings
from cachew.mirrors.refknowledge import MirroredListings
from cachew.plumbing.errors import UpstreamRefused, UpstreamTimeout, UpstreamUnreachable
from cachew.plumbing.metrics import Metrics
from cachew.upstream.listing import Capabilities, Listing, RemoteRef
from cachew.upstream.verdictmemory import UpstreamChanges
from tests.fakes.clock import FakeClock
from tests.fakes.hearing import HearsNothing
from tests.fakes.mirrors import mirror_of

REPOSITORY = Identity("git.example", "org/repo")


def listing(**heads: str) -> Listing:
    """Make a listing of heads."""
    return Listing(refs=tuple(RemoteRef(f"refs/heads/{name}", digit * 40) for name, digit in heads.items()))


class HeldUpstream:
    """Notes what it is asked and answers when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Kind, str | None]] = []
        self.waiting: list[Deferred[Listing]] = []
        self.capabilities: Capabilities | None = None

    def of(self, identity: Identity) -> "HeldUpstream":
        return self

    async def list(self, kind: Kind, authorization: str | None, before: Listing | None = None) -> Listing:
        self.asked.append((kind, authorization))
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    def answer(self, result: Listing | Exception) -> None:
        waiting = self.waiting.pop(0)
        if isinstance(result, Exception):
            waiting.errback(result)
        else:
            self.capabilities = Capabilities({}, 2)
            waiting.callback(result)


class Gate:
    """A gate with its surroundings."""

    def __init__(
        self,
        interval: float = 10.0,
        limit: int = 10_000_000,
        instances: Any = None,
        changes: UpstreamChanges | None = None,
    ) -> None:
        self.changes = UpstreamChanges() if changes is None else changes
        self.clock = FakeClock()
        self.clock.advance(1000)
        self.upstream = HeldUpstream()
        self.mirror: Listing | None = None
        self.told: list[Listing] = []
        self.parts: list[tuple[Kind, Listing]] = []
        self.listings = Listings(limit=limit)
        self.verdicts: list[UpstreamRefused | None] = []
        self.freshness = ref_gate(
            remotes=cast(Any, self.upstream),
            clock=self.clock,
            interval=interval,
            metrics=Metrics(),
            mirrored=MirroredListings(ready=lambda identity: mirror_of(self.mirror)),
            listings=self.listings,
            listeners=GateListeners(
                listing=(lambda identity, found, started: self.told.append(found),),
                verdict=lambda identity, authorization, refusal: self.verdicts.append(refusal),
                part=lambda identity, kind, found, started: self.parts.append((kind, found)),
                instances=cast(Any, HearsNothing() if instances is None else instances),
            ),
            changes=self.changes,
        )

    def ask_of(self, path: str) -> "Deferred[Answer]":
        identity = Identity("git.example", path)
        return Deferred.fromCoroutine(self.freshness.answer(identity, HEADS, None))

    def ask(self, *prefixes: str, authorization: str | None = None) -> "Deferred[Answer]":
        return Deferred.fromCoroutine(self.freshness.answer(REPOSITORY, prefixes, authorization))

    def named(self, *names: str) -> "Deferred[Answer]":
        return Deferred.fromCoroutine(self.freshness.named(REPOSITORY, names, None))


def result(deferred: "Deferred[Answer]") -> Answer:
    """Return what a Deferred has fired with."""
    found: list[Answer] = []
    deferred.addCallback(found.append)
    assert found, "no answer yet"
    return found[0]


HEADS = ("HEAD", "refs/heads/", "refs/tags/")


def test_one_request_for_all_within_the_interval() -> None:
    """However many ask at once and within the interval, the upstream is asked once."""
    gate = Gate()
    asked = [gate.ask(*HEADS) for _ in range(100)]
    gate.upstream.answer(listing(main="1"))
    gate.clock.advance(9.9)
    assert {result(one).listing for one in [*asked, gate.ask(*HEADS)]} == {listing(main="1")}
    assert gate.upstream.asked == [(MIRRORED_KIND, None)]
    assert gate.told == [listing(main="1")]


def test_again_after_the_interval() -> None:
    """After the interval, counted from the last request's start, the upstream is asked again."""
    gate = Gate()
    first = gate.ask(*HEADS)
    gate.clock.advance(6)
    gate.upstream.answer(listing(main="1"))
    assert result(first).listing == listing(main="1")
    gate.clock.advance(4)
    second = gate.ask(*HEADS)
    gate.upstream.answer(listing(main="2"))
    assert result(second).listing == listing(main="2")


def test_no_interval_means_asked_after_me() -> None:
    """With an interval of zero nobody gets an answer begun before the question; latecomers share the next."""
    gate = Gate(interval=0)
    early = gate.ask(*HEADS)
    late = [gate.ask(*HEADS) for _ in range(5)]
    gate.upstream.answer(listing(main="1"))
    assert result(early).listing == listing(main="1")
    assert len(gate.upstream.asked) == 2
    gate.upstream.answer(listing(main="2"))
    assert {result(one).listing for one in late} == {listing(main="2")}
    assert len(gate.upstream.asked) == 2


def test_it_knows_why_the_upstream_could_not_be_asked() -> None:
    """The last failure is remembered for those who look after the server, until the upstream answers again."""
    gate = Gate()
    gate.mirror = listing(main="1")
    assert gate.freshness.known.failure(REPOSITORY) is None
    asked = gate.ask(*HEADS)
    gate.upstream.answer(UpstreamUnreachable("https://git.example/", "too slow"))
    assert result(asked).stale
    assert "too slow" in str(gate.freshness.known.failure(REPOSITORY))
    gate.clock.advance(11)
    gate.ask(*HEADS)
    gate.upstream.answer(listing(main="1"))
    assert gate.freshness.known.failure(REPOSITORY) is None


def test_a_push_makes_all_older_answers_void() -> None:
    """After a change is noted, neither a kept listing nor one under way counts."""
    gate = Gate()
    before = gate.ask(*HEADS)
    gate.freshness.changed(REPOSITORY)
    after = gate.ask(*HEADS)
    gate.upstream.answer(listing(main="1"))
    gate.upstream.answer(listing(main="2"))
    assert (result(before).listing, result(after).listing) == (listing(main="1"), listing(main="2"))
    gate.freshness.changed(REPOSITORY)
    gate.ask(*HEADS)
    assert len(gate.upstream.asked) == 3


def test_the_mirror_answers_when_the_upstream_fails() -> None:
    """A failure is remembered for the interval, the mirror's refs are served meanwhile and marked as stale."""
    gate = Gate()
    gate.mirror = listing(main="1")
    first = gate.ask(*HEADS)
    gate.upstream.answer(UpstreamUnreachable("https://git.example/org/repo", "down"))
    assert result(first) == Answer(listing(main="1"), stale=True)
    assert result(gate.ask(*HEADS)).stale
    gate.clock.advance(10.1)
    again = gate.ask(*HEADS)
    gate.upstream.answer(listing(main="2"))
    assert result(again) == Answer(listing(main="2"))


def test_no_mirror_no_answer() -> None:
    """Without a mirror the failure is the answer."""
    gate = Gate()
    asked = gate.ask(*HEADS)
    gate.upstream.answer(UpstreamUnreachable("https://git.example/org/repo", "down"))
    failure: list[Any] = []
    asked.addErrback(failure.append)
    assert failure[0].check(UpstreamUnreachable)


def test_refusals_are_the_clients_own() -> None:
    """A refusal is told to the client whose credential it was, though there is a mirror; others then ask again."""
    gate = Gate()
    gate.mirror = listing(main="1")
    refused = gate.ask(*HEADS, authorization="Basic wrong")
    other = gate.ask(*HEADS, authorization="Basic right")
    gate.upstream.answer(UpstreamRefused("https://git.example/org/repo", status=401))
    failure: list[Any] = []
    refused.addErrback(failure.append)
    assert failure[0].check(UpstreamRefused)
    gate.upstream.answer(listing(main="2"))
    assert result(other) == Answer(listing(main="2"))


def test_a_waiter_may_leave() -> None:
    """A client that goes away takes nothing from the others."""
    gate = Gate()
    leaving, staying = gate.ask(*HEADS), gate.ask(*HEADS)
    leaving.addErrback(lambda failure: None)
    leaving.cancel()
    gate.upstream.answer(listing(main="1"))
    assert result(staying).listing == listing(main="1")


SIX = ("refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")


@pytest.mark.parametrize(("name", "kinds"), [("main", [MIRRORED_KIND]), ("pull/7/head", [MIRRORED_KIND, "own"])])
def test_short_names(name: str, kinds: list[Any]) -> None:
    """A branch's short name is answered by heads and tags; a name that is neither gets a listing of its own kind."""
    gate = Gate()
    gate.mirror = listing(main="1")
    prefixes = (name, *(place.format(name) for place in SIX), "refs/tags/")
    asked = gate.ask(*prefixes)
    gate.upstream.answer(listing(main="1"))
    if len(kinds) == 2:
        gate.upstream.answer(listing(main="1"))
    assert result(asked)
    assert [kind for kind, _ in gate.upstream.asked] == [
        tuple(sorted(set(prefixes))) if kind == "own" else kind for kind in kinds
    ]


def test_everything_answers_all_questions() -> None:
    """A listing of everything is good for heads and tags too."""
    gate = Gate()
    everything = gate.ask()
    gate.upstream.answer(listing(main="1"))
    assert result(everything) == result(gate.ask(*HEADS))
    assert gate.upstream.asked == [(EVERYTHING, None)]


def test_credentials_share_answers() -> None:
    """What one client's credential brought answers all who have been let in."""
    gate = Gate()
    first, second = gate.ask(*HEADS, authorization="Basic one"), gate.ask(*HEADS, authorization="Basic two")
    gate.upstream.answer(listing(main="1"))
    assert result(first) == result(second) == result(gate.ask(*HEADS, authorization="Basic three"))
    assert gate.upstream.asked == [(MIRRORED_KIND, "Basic one")]


def test_a_probe_is_a_ref_check() -> None:
    """Asking whether a credential is good asks with that credential, and brings the refs as well."""
    gate = Gate()
    gate.mirror = listing(main="1")
    good = Deferred.fromCoroutine(gate.freshness.probe(REPOSITORY, "Basic good"))
    bad = Deferred.fromCoroutine(gate.freshness.probe(REPOSITORY, "Basic bad"))
    gate.upstream.answer(listing(main="2"))
    gate.upstream.answer(UpstreamRefused("https://git.example/org/repo", status=404))
    outcomes: list[Any] = []
    good.addBoth(outcomes.append)
    bad.addBoth(outcomes.append)
    assert outcomes[0] is True and outcomes[1].check(UpstreamRefused)
    assert result(gate.ask(*HEADS)).listing == listing(main="2")
    assert len(gate.upstream.asked) == 2


def test_kinds_do_not_contradict_each_other() -> None:
    """A newer listing of heads and tags that differs makes an older listing of everything void, and only then."""
    gate = Gate()
    gate.mirror = listing(main="1")
    for brought, expected in ((listing(main="1"), 1), (listing(main="2"), 2)):
        gate.ask()
        if gate.upstream.waiting:
            gate.upstream.answer(listing(main="1"))
        probe = Deferred.fromCoroutine(gate.freshness.probe(REPOSITORY, None))
        gate.upstream.answer(brought)
        probe.addErrback(lambda failure: None)
        gate.ask()
        assert len([kind for kind, _ in gate.upstream.asked if kind is EVERYTHING]) == expected


def test_an_unchanged_listing_stays_the_same() -> None:
    """A listing that says what the one before said is the one before, so what was made of it need not be made again."""
    gate = Gate(interval=0)
    answers = []
    for _ in range(2):
        asked = gate.ask(*HEADS)
        gate.upstream.answer(listing(main="1"))
        answers.append(result(asked).listing)
    assert answers[0] is answers[1]


def test_made_up_kinds_are_forgotten() -> None:
    """Kinds that clients make up take half of the memory for listings at most, and heads and tags stay."""
    gate = Gate(limit=40_000)
    gate.mirror = listing(main="1", next="2")
    for number in range(20):
        for prefixes in (HEADS, (f"refs/changes/{number}",)):
            asked = gate.ask(*prefixes)
            if gate.upstream.waiting:
                gate.upstream.answer(listing(main="1", next="2"))
            assert result(asked)
    kinds = [kind for kind, _ in gate.upstream.asked]
    assert kinds.count(MIRRORED_KIND) == 1 and len(kinds) == 21
    assert result(gate.ask("refs/changes/19")) and len(gate.upstream.asked) == 21
    gate.ask("refs/changes/2")
    assert len(gate.upstream.asked) == 22
    assert gate.listings.size <= 23_000


def test_listings_of_all_repositories_have_one_budget() -> None:
    """What was used least lately goes first, whoever's it is; it is asked for again when somebody wants it."""
    gate = Gate(limit=100_000)
    large = Listing(tuple(RemoteRef(f"refs/heads/{number}", "1" * 40) for number in range(60)))
    for number in range(5):
        asked = gate.ask_of(f"org/{number}")
        gate.upstream.answer(large)
        assert result(asked).listing == large
        assert gate.listings.size <= 100_000
    assert result(gate.ask_of("org/4")).listing == large and len(gate.upstream.asked) == 5
    gate.ask_of("org/0")
    assert len(gate.upstream.asked) == 6


def test_what_is_forgotten_takes_no_memory() -> None:
    """Nothing that the upstream said of a repository is kept when it is forgotten, nor what is still to come."""
    gate = Gate()
    for prefixes in (HEADS, ("refs/pull/",), ()):
        asked = gate.ask(*prefixes)
        gate.upstream.answer(listing(main="1"))
        result(asked)
    assert len(gate.listings) == 3
    gate.freshness.forget(REPOSITORY)
    assert (len(gate.listings), gate.listings.size) == (0, 0) and gate.freshness.known.listing(REPOSITORY) is None
    late = gate.ask(*HEADS)
    gate.freshness.forget(REPOSITORY)
    gate.upstream.answer(listing(main="1"))
    assert result(late).listing == listing(main="1")
    gate.ask(*HEADS)
    assert len(gate.upstream.asked) == 5


def test_changes_are_not_remembered_for_ever() -> None:
    """A push to each of a thousand repositories leaves a few behind, and what was known of any counts no more."""
    gate = Gate(changes=UpstreamChanges(capacity=10))
    for number in range(1000):
        identity = Identity("git.example", f"org/{number}")
        asked = gate.ask_of(f"org/{number}")
        gate.freshness.changed(identity)
        gate.upstream.answer(listing(main="1"))
        result(asked)
        gate.freshness.changed(identity)
        gate.ask_of(f"org/{number}")
        assert len(gate.upstream.waiting) == 1
        gate.upstream.answer(listing(main="2"))
    assert len(gate.changes) == 10


def test_a_refusal_from_before_a_push_is_no_verdict() -> None:
    """What the upstream refused to a question from before a push is told to nobody who comes after it."""
    gate = Gate()
    early = gate.ask(*HEADS, authorization="mine")
    gate.freshness.changed(REPOSITORY)
    gate.upstream.answer(UpstreamRefused("https://git.example/org/repo", status=404))
    early.addErrback(lambda failure: failure.trap(UpstreamRefused))
    assert gate.verdicts == []
    late = gate.ask(*HEADS, authorization="mine")
    gate.upstream.answer(listing(main="1"))
    assert result(late).listing == listing(main="1") and gate.verdicts == [None]


def test_a_hanging_upstream_is_waited_for_once() -> None:
    """After one time-out the next clients are answered at once, stale and marked, while one probe goes on behind."""
    gate = Gate()
    gate.mirror = listing(main="1")
    first = gate.ask(*HEADS)
    gate.clock.advance(10)
    gate.upstream.answer(UpstreamTimeout("https://git.example/", "no answer"))
    assert result(first) == Answer(listing(main="1"), stale=True)
    assert result(gate.ask(*HEADS)).stale and len(gate.upstream.asked) == 1
    gate.clock.advance(1)
    for prefixes in (HEADS, (), ("refs/pull/",)) * 20:
        assert result(gate.ask(*prefixes)).stale
    assert len(gate.upstream.asked) == 2
    gate.clock.advance(10)
    gate.upstream.answer(UpstreamTimeout("https://git.example/", "no answer"))
    gate.clock.advance(1.9)
    assert result(gate.ask(*HEADS)).stale and len(gate.upstream.asked) == 2
    gate.clock.advance(0.2)
    assert result(gate.ask(*HEADS)).stale and len(gate.upstream.asked) == 3
    gate.upstream.answer(listing(main="2"))
    assert result(gate.ask(*HEADS)) == Answer(listing(main="2"))
    gate.clock.advance(10.5)
    asked = gate.ask(*HEADS)
    gate.upstream.answer(listing(main="3"))
    assert result(asked) == Answer(listing(main="3"))


def test_who_has_pushed_to_an_upstream_that_hung_is_not_told_what_was_before() -> None:
    """It has just answered a push: his next listing is asked for, and only if that hangs too the others don't wait."""
    gate = Gate()
    gate.mirror = listing(main="1")
    gate.ask(*HEADS)
    gate.clock.advance(10)
    gate.upstream.answer(UpstreamTimeout("https://git.example/", "no answer"))
    assert result(gate.ask(*HEADS)).stale
    gate.freshness.changed(REPOSITORY)
    pushed = gate.ask(*HEADS)
    assert not pushed.called
    gate.clock.advance(10)
    gate.upstream.answer(UpstreamTimeout("https://git.example/", "no answer"))
    assert result(pushed).stale and result(gate.ask(*HEADS)).stale
    gate.freshness.changed(REPOSITORY)
    pushed = gate.ask(*HEADS)
    gate.upstream.answer(listing(main="2"))
    assert result(pushed) == Answer(listing(main="2"))


def test_a_hanging_upstream_is_left_alone_for_ten_seconds_at_most() -> None:
    """However long it hangs, what it has when it is back is seen after the usual time."""
    gate = Gate()
    gate.mirror = listing(main="1")
    gate.ask(*HEADS)
    for _ in range(10):
        gate.clock.advance(10)
        gate.upstream.answer(UpstreamTimeout("https://git.example/", "no answer"))
        gate.clock.advance(10)
        assert result(gate.ask(*HEADS)).stale
        assert len(gate.upstream.waiting) == 1


def test_who_must_know_waits_though_the_upstream_hangs() -> None:
    """``ensure-refs`` and whoever else asks for what is there right now gets no old answer for a new one."""
    gate = Gate()
    gate.mirror = listing(main="1")
    gate.ask(*HEADS)
    gate.clock.advance(10)
    gate.upstream.answer(UpstreamTimeout("https://git.example/", "no answer"))
    now = Deferred.fromCoroutine(gate.freshness.refs(REPOSITORY, MIRRORED_KIND, None, interval=0))
    assert not now.called
    gate.upstream.answer(listing(main="2"))
    assert result(now) == Answer(listing(main="2"))


def test_an_upstream_that_fails_at_once_is_asked_as_ever() -> None:
    """Where nobody waits for a failure nobody is told an old one beyond the interval."""
    gate = Gate()
    gate.mirror = listing(main="1")
    asked = gate.ask(*HEADS)
    gate.upstream.answer(UpstreamUnreachable("https://git.example/", "connection refused"))
    assert result(asked).stale
    gate.clock.advance(10)
    asked = gate.ask(*HEADS)
    gate.upstream.answer(listing(main="2"))
    assert result(asked) == Answer(listing(main="2"))
