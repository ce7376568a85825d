"""What an upstream's answers mean for what is kept, decided without anything around it."""

import pytest

from cachew.mirrors.badhours import BadHours
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import (
    MOST_TIPS,
    InstanceState,
    Trouble,
    Verdict,
    Voice,
    begun,
    gone_on,
    judge,
    merged,
    refused,
    tips_of,
)
from cachew.upstream.listing import Listing, RemoteRef
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import listing, oid

PRIVATE = InstanceState(id="1", voices=frozenset({Voice.OWN}), tips=(oid("1"),))
PUBLIC = InstanceState(id="1", voices=frozenset({Voice.ANONYMOUS}), tips=(oid("1"),))


@pytest.mark.parametrize(
    ("state", "voice", "related", "verdict"),
    [
        (None, Voice.OWN, True, Verdict.BEGINS),
        (InstanceState(), Voice.ANONYMOUS, True, Verdict.BEGINS),
        (PRIVATE, Voice.ANONYMOUS, True, Verdict.BEGINS),
        (PRIVATE, Voice.CLIENT, True, Verdict.GOES_ON),
        (PRIVATE, Voice.CLIENT, None, Verdict.DOUBT),
        (PRIVATE, Voice.OWN, False, Verdict.BEGINS),
        (PUBLIC, Voice.ANONYMOUS, True, Verdict.GOES_ON),
        (PUBLIC, Voice.ANONYMOUS, None, Verdict.DOUBT),
        (PUBLIC, Voice.ANONYMOUS, False, Verdict.BEGINS),
        (PUBLIC, Voice.CLIENT, True, Verdict.PRIVATELY),
        (PUBLIC, Voice.OWN, None, Verdict.ASIDE),
        (PUBLIC, Voice.OWN, False, Verdict.ASIDE),
    ],
)
def test_what_a_listing_means(
    state: InstanceState | None, voice: Voice, related: bool | None, verdict: Verdict
) -> None:
    """A private one that turns public and one of another history begin; what one is shown of a public one is his."""
    assert judge(state, voice, related) is verdict


@pytest.mark.parametrize("voice", [Voice.OWN, Voice.CLIENT])
@pytest.mark.parametrize("related", [True, None])
def test_what_was_refused_does_not_go_on(voice: Voice, related: bool | None) -> None:
    """After the upstream has refused whom it used to serve, whatever it serves next is another instance."""
    for state in (PRIVATE, PUBLIC):
        asked = Voice.ANONYMOUS if state.public else Voice.OWN
        after = refused(state, asked, Trouble.REFUSED)
        assert after is not None and judge(after, voice, related) is Verdict.BEGINS
    made_private = refused(PUBLIC, Voice.ANONYMOUS, Trouble.REFUSED)
    assert made_private is not None and judge(made_private, Voice.ANONYMOUS, True) is Verdict.BEGINS


def test_what_the_hosts_trouble_refused_goes_on() -> None:
    """After a bad hour of its host a repository that is the same, and served to the same, needs no new instance."""
    for state, voice in ((PRIVATE, Voice.OWN), (PUBLIC, Voice.ANONYMOUS)):
        after = refused(state, voice, Trouble.HOST)
        assert after is not None and judge(after, voice, True) is Verdict.GOES_ON
        assert gone_on(after, voice, listing(main="1")) == state
        assert judge(after, voice, False) is Verdict.BEGINS
    private = refused(PRIVATE, Voice.OWN, Trouble.HOST)
    assert judge(private, Voice.ANONYMOUS, True) is Verdict.BEGINS


def test_whose_refusal_says_something() -> None:
    """Only who was served before is believed; of a public repository nobody but everybody."""
    assert refused(PRIVATE, Voice.ANONYMOUS, Trouble.REFUSED) is None
    assert refused(PRIVATE, Voice.CLIENT, Trouble.REFUSED) is None
    both = gone_on(PUBLIC, Voice.OWN, listing(main="1"))
    assert both.voices == {Voice.ANONYMOUS, Voice.OWN}
    assert refused(both, Voice.OWN, Trouble.REFUSED) is None


def test_what_is_known_survives_writing() -> None:
    """A state is read as it was written, and anything else is none."""
    state = InstanceState(
        "1", frozenset(Voice) - {Voice.CLIENT}, "sha256", (oid("1"),), Trouble.HOST, "https://git.example/moved", 7.0
    )
    assert InstanceState.read(state.fields()) == state
    for damaged in ({}, {**state.fields(), "trouble": "x"}, {**state.fields(), "voices": 1}):
        assert InstanceState.read(damaged) is None


def test_another_replicas_knowledge_takes_nothing_away() -> None:
    """That somebody was refused stays known, but for its being the host's trouble."""
    hurt = refused(PRIVATE, Voice.OWN, Trouble.REFUSED)
    assert hurt is not None and merged(hurt, PRIVATE) == merged(PRIVATE, hurt) == hurt
    host = refused(PRIVATE, Voice.OWN, Trouble.HOST)
    assert host is not None and merged(hurt, host) == merged(host, hurt) == host
    assert merged(host, PRIVATE) == PRIVATE and merged(PRIVATE, host) == host


def test_an_instance_that_a_few_refs_began_is_recognised_by_more_as_soon_as_more_are_listed() -> None:
    """The first client may have asked for one branch."""
    whole = listing(**{f"b{number}": str(number) for number in range(1, 8)})
    first = begun("one", Voice.OWN, listing(b1="1"), 0.0)
    assert gone_on(first, Voice.OWN, whole).tips == tips_of(whole)


def test_tips_stay_where_most_of_them_do() -> None:
    """A repository is recognised by few of very many refs, and they are written down again when most have moved."""
    many = Listing(refs=tuple(RemoteRef(f"refs/heads/{n}", f"{n:040x}") for n in range(1000)))
    state = begun("1", Voice.OWN, many, 0.0)
    assert len(state.tips) == MOST_TIPS - 1
    moved = Listing(refs=(*many.refs[:-1], RemoteRef("refs/heads/new", oid("f"))))
    assert gone_on(state, Voice.OWN, moved).tips == state.tips
    assert gone_on(state, Voice.OWN, listing(main="2")).tips == tips_of(listing(main="2"))


def test_a_bad_hour_is_one_of_several_repositories() -> None:
    """Several that are refused one after the other tell of their host; one that is served in between ends that."""
    clock = FakeClock()
    hours = BadHours(clock=clock)
    names = [Identity("git.example", f"org/{n}") for n in range(4)]
    assert hours.refused(names[0], Voice.OWN) == hours.refused(names[1], Voice.OWN) == []
    assert hours.refused(names[1], Voice.OWN) == [] == hours.refused(Identity("other.example", "x"), Voice.OWN)
    assert hours.refused(names[2], Voice.ANONYMOUS) == []
    assert set(hours.refused(names[2], Voice.OWN)) == set(names[:3])
    hours.served(names[3], Voice.OWN)
    assert hours.refused(names[0], Voice.OWN) == hours.refused(names[1], Voice.OWN) == []
    clock.advance(601)
    assert hours.refused(names[2], Voice.OWN) == []
