"""The ref gate of repositories with very many refs: nobody waits for all of them who asks for one."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.freshness import Answer
from cachew.mirrors.instance import Verdict
from cachew.mirrors.kinds import EVERYTHING, LEAST, MANY_REFS, MIRRORED_KIND, NOTHING, Kind
from cachew.plumbing.errors import UpstreamRefused, UpstreamTimeout
from cachew.upstream.listing import Listing, RemoteRef
from tests.fakes.hearing import HearsNothing
from tests.fakes.settled import failure_of
from tests.mirrors.test_freshness import HEADS, REPOSITORY, Gate, result
from tests.mirrors.test_kinds import places

MAIN = ("refs/heads/main",)
MANY = tuple(RemoteRef(f"refs/heads/b{number:05}", f"{number:040x}") for number in range(MANY_REFS))
LAST = tuple(ref.name for ref in MANY[-3:])


def head(digit: str) -> Listing:
    """Make a listing of one head."""
    return Listing(refs=(RemoteRef("refs/heads/main", digit * 40),))


def whole(digit: str) -> Listing:
    """Make a listing of all heads."""
    return Listing(refs=(*MANY, *head(digit).refs))


class Recognition:
    """Takes what has a ref of the mirror for part of it."""

    def __init__(self, mirror: Listing) -> None:
        self._mirror = mirror

    async def listed(self, *_: object) -> Verdict:
        return Verdict.GOES_ON

    async def listed_in_part(self, identity: object, credential: object, listed: Listing, number: int) -> bool:
        return not self._mirror.oids().isdisjoint(listed.oids())

    async def refused(self, *_: object) -> None:
        """Take no notice."""

    def knows(self, *_: object) -> bool:
        return True


class Newcomer(HearsNothing):
    """Has never heard of a repository until it was listed."""

    def __init__(self) -> None:
        self.listings: list[Listing] = []

    async def listed(self, identity: object, credential: object, listed: Listing, number: int) -> Verdict:
        self.listings.append(listed)
        return Verdict.GOES_ON

    async def listed_in_part(self, *_: object) -> bool:
        return self.knows()

    def knows(self, *_: object) -> bool:
        return bool(self.listings)


@pytest.fixture
def gate() -> Gate:
    """A gate before a mirror with very many refs."""
    made = Gate()
    made.mirror = whole("1")
    return made


@pytest.fixture
def wary() -> Gate:
    """One that may be before another repository."""
    recognition = Recognition(whole("1"))
    made = Gate(instances=recognition)
    made.mirror = whole("1")
    return made


def kinds(gate: Gate) -> list[Kind]:
    """Return what the upstream was asked for."""
    return [kind for kind, _ in gate.upstream.asked]


def test_the_upstream_is_asked_for_what_the_client_asks_for(gate: Gate) -> None:
    """One branch costs the listing of one branch; equal questions within the interval share it."""
    asked = [gate.ask(*MAIN) for _ in range(50)]
    gate.upstream.answer(head("2"))
    gate.clock.advance(9.9)
    assert {result(one) for one in [*asked, gate.ask(*MAIN)]} == {Answer(head("2"))}
    assert kinds(gate) == [MAIN] and gate.told == [] and gate.parts == [(MAIN, head("2"))]
    gate.ask("refs/heads/b00001", *places("topic"))
    assert set(kinds(gate)[1] or ()) == {"refs/heads/b00001", *places("topic")[:-1]}


def test_who_asks_for_all_gets_all_and_others_what_is_there(gate: Gate) -> None:
    """A listing of all heads and tags that is fresh enough answers questions for some of them, too."""
    asked = gate.ask(*HEADS)
    gate.upstream.answer(whole("2"))
    assert result(asked) == result(gate.ask(*MAIN)) == result(gate.ask(*places("main"))) == Answer(whole("2"))
    assert kinds(gate) == [MIRRORED_KIND]


def test_what_refs_are_is_told_by_what_was_listed_for_the_same_client(gate: Gate) -> None:
    """Who was told of a branch in all of git's places, and wants it by its full name, costs no request of his own."""
    asked = gate.ask(*places("main"))
    gate.upstream.answer(head("2"))
    assert result(gate.named(*MAIN)) == result(asked) == Answer(head("2"))
    gate.named("refs/heads/main", "refs/heads/b00001")
    assert set(kinds(gate)[-1] or ()) == {"refs/heads/main", "refs/heads/b00001"}
    gate.clock.advance(10)
    gate.named(*MAIN)
    assert kinds(gate)[-1] == MAIN and len(kinds(gate)) == 3


def test_what_a_push_has_moved_is_not_told_by_what_was_listed_before(gate: Gate) -> None:
    """Neither what is void nor what failed tells what a ref is."""
    gate.ask(*places("main"))
    gate.upstream.answer(head("2"))
    gate.freshness.changed(REPOSITORY)
    named = gate.named(*MAIN)
    gate.upstream.answer(head("3"))
    assert result(named) == Answer(head("3"))


def test_what_a_part_proves_wrong_is_asked_for_again(gate: Gate) -> None:
    """Nobody sees an older state of a ref after a newer one was seen, whatever else he asks for."""
    first = gate.ask("refs/heads/main", "refs/heads/b00001")
    gate.upstream.answer(Listing(refs=(MANY[1], *head("1").refs)))
    assert result(first).listing.by_name["refs/heads/main"].oid == "1" * 40
    gate.ask(*MAIN)
    gate.upstream.answer(head("2"))
    again = gate.ask("refs/heads/main", "refs/heads/b00001")
    gate.upstream.answer(Listing(refs=(MANY[1], *head("2").refs)))
    assert result(again).listing.by_name["refs/heads/main"].oid == "2" * 40


def test_all_is_learnt_now_and_then(gate: Gate) -> None:
    """After ten minutes in which nobody asked for all heads and tags, they are asked for behind."""
    for _ in range(2):
        gate.ask(*MAIN)
        gate.upstream.answer(head("1"))
        gate.clock.advance(599)
    assert MIRRORED_KIND not in kinds(gate)
    gate.clock.advance(1)
    gate.ask(*MAIN)
    gate.upstream.answer(head("1"))
    assert kinds(gate)[-1] == MIRRORED_KIND
    gate.upstream.answer(whole("3"))
    assert gate.told == [whole("3")]


def test_a_part_that_shows_nothing_known_is_recognised_by_a_few_others(wary: Gate) -> None:
    """Where all that was asked for has moved, a few refs that seldom do tell that it is the same repository."""
    asked = wary.ask(*MAIN)
    wary.upstream.answer(head("2"))
    assert kinds(wary) == [MAIN, (*LAST, "refs/heads/main")]
    wary.upstream.answer(Listing(refs=MANY[-3:]))
    assert result(asked) == Answer(head("2")) and len(wary.upstream.asked) == 2


def test_who_was_needed_to_recognise_a_part_is_asked_for_along_with_the_next(wary: Gate) -> None:
    """A branch that moves again and again costs one request each time, until it is found where it was."""
    asked = wary.ask(*MAIN)
    wary.upstream.answer(head("2"))
    wary.upstream.answer(Listing(refs=MANY[-3:]))
    for moved in ("3", "1"):
        wary.clock.advance(10)
        asked = wary.ask(*MAIN)
        assert kinds(wary)[-1] == (*MAIN, *LAST)
        wary.upstream.answer(Listing(refs=(*MANY[-3:], *head(moved).refs)))
        assert result(asked) == Answer(head(moved)) and wary.parts[-1] == (MAIN, head(moved))
    wary.clock.advance(10)
    wary.ask(*MAIN)
    assert kinds(wary)[-1] == MAIN


def test_who_is_asked_for_along_may_have_gone(wary: Gate) -> None:
    """A part that nothing else shows to be of the same repository is judged by all heads and tags then, too."""
    wary.ask(*MAIN)
    wary.upstream.answer(head("2"))
    wary.upstream.answer(Listing(refs=MANY[-3:]))
    wary.clock.advance(10)
    asked = wary.ask(*MAIN)
    wary.upstream.answer(head("3"))
    assert kinds(wary)[-1] == MIRRORED_KIND
    wary.upstream.answer(whole("4"))
    assert result(asked) == Answer(head("4"))


def test_a_part_of_what_has_few_refs_by_the_time_of_the_answer_is_judged_like_another(wary: Gate) -> None:
    """Neither are others told than were asked for, nor is what belongs to another repository taken for this one's."""
    wary.ask(*MAIN)
    wary.upstream.answer(head("2"))
    wary.upstream.answer(Listing(refs=MANY[-3:]))
    for answered, told in ((Listing(refs=(*MANY[-3:], *head("3").refs)), head("3")), (head("4"), None)):
        wary.mirror = whole("1")
        wary.clock.advance(10)
        asked = wary.ask(*MAIN)
        wary.mirror = head("1")
        wary.upstream.answer(answered)
        assert (result(asked).listing if asked.called else None) == told
    assert kinds(wary)[-1] == MIRRORED_KIND


def test_what_is_not_recognised_is_judged_by_all_heads_and_tags(wary: Gate) -> None:
    """A part may belong to another repository; then all are listed, and the answer is of that listing."""
    asked = wary.ask(*MAIN, "refs/pull/7/head")
    pull = RemoteRef("refs/pull/7/head", "7" * 40)
    wary.upstream.answer(Listing(refs=(*head("2").refs, pull)))
    wary.upstream.answer(Listing(refs=()))
    assert kinds(wary)[-1] == MIRRORED_KIND
    wary.upstream.answer(head("3"))
    assert result(asked).listing.refs == (*head("3").refs, pull)
    assert wary.told == [head("3")]


def test_a_right_is_asked_for_with_the_least_listing(gate: Gate) -> None:
    """To learn whether a credential may read, very many refs are not listed."""
    probe = Deferred.fromCoroutine(gate.freshness.probe(REPOSITORY, "mine"))
    gate.upstream.answer(Listing(refs=(replace(MANY[0], name="HEAD"),)))
    assert gate.upstream.asked == [(LEAST, "mine")] and gate.verdicts == [None]
    assert probe.called and gate.freshness.known.asked_within(REPOSITORY, 10)


def test_of_what_is_not_mirrored_no_more_is_listed_than_the_client_asks_for() -> None:
    """How many refs it has is not known; by its HEAD it is recognised the next time."""
    newcomer = Newcomer()
    gate = Gate(instances=newcomer)
    asked = [gate.ask(*MAIN) for _ in range(50)]
    gate.upstream.answer(head("1"))
    assert {result(one) for one in [*asked, gate.ask(*MAIN)]} == {Answer(head("1"))}
    assert kinds(gate) == [("HEAD", *MAIN)] and newcomer.listings == [head("1")] and gate.verdicts == [None]
    gate.ask("refs/heads/topic")
    assert kinds(gate)[1:] == [("HEAD", "refs/heads/topic")]
    gate.ask(*HEADS)
    assert kinds(gate)[2:] == [MIRRORED_KIND]


def test_who_finds_nothing_in_what_is_not_mirrored_is_told_by_all_heads_and_tags() -> None:
    """A repository is not recognised by what isn't there."""
    newcomer = Newcomer()
    gate = Gate(instances=newcomer)
    asked = gate.ask(*MAIN)
    gate.upstream.answer(Listing(refs=()))
    gate.upstream.answer(whole("1"))
    assert result(asked).listing == head("1") and newcomer.listings == [whole("1")]


def test_a_right_to_what_is_not_known_is_asked_for_without_refs() -> None:
    """That it tells somebody what it speaks shows that an upstream lets him read."""
    gate = Gate(instances=Newcomer())
    probe = Deferred.fromCoroutine(gate.freshness.probe(REPOSITORY, "Basic one"))
    gate.upstream.answer(Listing(refs=()))
    assert kinds(gate) == [NOTHING] and probe.result is True
    assert gate.freshness.known.asked_within(REPOSITORY, 1) and not gate.freshness.known.asked_within(REPOSITORY, -1)


def rights(gate: Gate, *credentials: str) -> list["Deferred[bool]"]:
    """Have it asked for the right of each."""
    return [Deferred.fromCoroutine(gate.freshness.probe(REPOSITORY, one)) for one in credentials]


def test_what_an_upstream_speaks_is_asked_once_for_all() -> None:
    """Of many who come at once to what is not known one has it asked, and the others are asked about with refs."""
    newcomer = Newcomer()
    gate = Gate(instances=newcomer)
    first, *others = rights(gate, "Basic one", "Basic two", "Basic three")
    assert gate.upstream.asked == [(NOTHING, "Basic one")]
    gate.upstream.answer(Listing(refs=()))
    assert first.result is True
    assert gate.upstream.asked[1:] == [(LEAST, "Basic two"), (LEAST, "Basic three")]
    gate.upstream.answer(head("1"))
    gate.upstream.answer(head("1"))
    assert [one.result for one in others] == [True, True] and newcomer.listings == [head("1")]


@pytest.mark.parametrize(("seconds", "kind"), [(9, LEAST), (11, NOTHING)])
def test_what_an_upstream_speaks_is_believed_for_the_interval(seconds: float, kind: Kind) -> None:
    """Who comes within it is asked about with refs."""
    gate = Gate(instances=Newcomer())
    rights(gate, "Basic one")
    gate.upstream.answer(Listing(refs=()))
    gate.clock.advance(seconds)
    rights(gate, "Basic two")
    assert gate.upstream.asked[1:] == [(kind, "Basic two")]


def test_who_is_refused_tells_others_nothing() -> None:
    """They wait for him once only, however he fares."""
    gate = Gate(instances=Newcomer())
    first, *others = rights(gate, "Basic wrong", "Basic two", "Basic three")
    first.addErrback(lambda failure: failure.trap(UpstreamRefused))
    gate.upstream.answer(UpstreamRefused("https://git.example", status=401))
    assert gate.upstream.asked[1:] == [(NOTHING, "Basic two"), (NOTHING, "Basic three")]
    gate.upstream.answer(Listing(refs=()))
    gate.upstream.answer(Listing(refs=()))
    assert [one.result for one in others] == [True, True]


def test_an_upstream_that_hangs_is_waited_for_once() -> None:
    """Who waited for what it tells somebody else does not wait for as long again."""
    gate = Gate(instances=Newcomer())
    asked = rights(gate, "Basic one", "Basic two", "Basic three")
    gate.upstream.answer(UpstreamTimeout("https://git.example", "did not answer"))
    assert all(isinstance(failure_of(one), UpstreamTimeout) for one in asked)
    assert len(gate.upstream.asked) == 1


def test_who_knows_no_part_tells_all_refs_at_once() -> None:
    """An upstream that doesn't speak protocol v2 is not asked for them once more."""
    newcomer = Newcomer()
    gate = Gate(instances=newcomer)
    probe = Deferred.fromCoroutine(gate.freshness.probe(REPOSITORY, None))
    gate.upstream.answer(replace(head("1"), protocol=0))
    assert probe.result is True and newcomer.listings == [replace(head("1"), protocol=0)]
    assert result(gate.ask()).listing == result(gate.ask(*MAIN)).listing == replace(head("1"), protocol=0)
    assert kinds(gate) == [NOTHING] and EVERYTHING not in kinds(gate)


def test_a_listing_that_takes_long_is_good_for_as_long_as_it_took() -> None:
    """Else it would be too old as soon as it is there, and the next one under way for ever."""
    gate = Gate()
    first = gate.ask(*HEADS)
    gate.clock.advance(12)
    second = gate.ask(*HEADS)
    gate.clock.advance(13)
    gate.upstream.answer(head("1"))
    gate.clock.advance(24)
    assert {result(one).listing for one in (first, second, gate.ask(*HEADS))} == {head("1")}
    assert len(gate.upstream.asked) == 1
    gate.clock.advance(1)
    gate.ask(*HEADS)
    assert len(gate.upstream.asked) == 2


def test_who_must_know_is_not_told_what_took_long() -> None:
    """Whoever asks for what is there right now gets a listing that began after he asked."""
    gate = Gate()
    gate.ask(*HEADS)
    gate.clock.advance(25)
    gate.upstream.answer(head("1"))
    asked = Deferred.fromCoroutine(gate.freshness.refs(REPOSITORY, MIRRORED_KIND, None, interval=0))
    assert not asked.called and len(gate.upstream.asked) == 2


def test_an_upstream_that_hangs_is_probed_with_little(gate: Gate) -> None:
    """While it hangs its mirror answers, and the probe behind asks for the least."""
    gate.ask(*MAIN)
    gate.clock.advance(10)
    gate.upstream.answer(UpstreamTimeout("https://git.example/", "no answer"))
    gate.clock.advance(1)
    assert result(gate.ask(*HEADS)).stale
    assert kinds(gate) == [MAIN, LEAST]
