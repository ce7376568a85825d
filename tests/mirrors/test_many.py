"""Very many refs, kept as lines: whatever is found out of them is what would be found out of refs one by one."""

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace

from cachew.mirrors.instance import InstanceState, Voice, gone_on, tips_of
from cachew.mirrors.kinds import MIRRORED_KIND, contradict
from cachew.mirrors.moved import moved_in_part, with_refs
from cachew.mirrors.packedlistings import pack, unpack
from cachew.mirrors.refs import RefState, change, of_listing, packed_refs, weight_of
from cachew.mirrors.setaside import SetAside, without
from cachew.plumbing.errors import ProcessFailed
from cachew.plumbing.metrics import Metrics
from cachew.smarthttp.advertise import ls_refs_response
from cachew.smarthttp.clientcommands import V2LsRefs
from cachew.smarthttp.keptpacks import mark
from cachew.upstream.listing import Listing, RemoteRef
from cachew.upstream.manyrefs import ManyRefs, many_refs
from tests.fakes.clock import FakeClock
from tests.fakes.mirrorgit import REPOSITORY

CHANCE = random.Random(7)


def some_oid() -> str:
    """Make an object id."""
    return f"{CHANCE.getrandbits(160):040x}"


def listing_of(oids: Mapping[str, str], head: str = "refs/heads/b00001") -> Listing:
    """Make a listing, one by one."""
    refs = [RemoteRef(name, oids[name], None, some_oid() if "/v" in name else None) for name in sorted(oids)]
    return Listing((RemoteRef("HEAD", oids.get(head), head), *refs))


def in_lines(listing: Listing) -> Listing:
    """Return the same, as lines."""
    many = replace(listing, refs=many_refs(listing.refs, 40))
    assert isinstance(many.refs, ManyRefs)
    return many


OIDS = {f"refs/heads/b{number:05}": some_oid() for number in range(2500)} | {
    f"refs/tags/v{number}": some_oid() for number in range(300)
}
PLAIN = listing_of(OIDS)
MANY = in_lines(PLAIN)


def later() -> Listing:
    """Make a later listing, one by one."""
    oids = dict(OIDS)
    for name in CHANCE.sample(sorted(OIDS), 6):
        oids[name] = some_oid()
    for name in CHANCE.sample(sorted(OIDS), 4):
        del oids[name]
    oids |= {f"refs/heads/new/{number}": some_oid() for number in range(3)}
    peeled = {ref.name: ref.peeled for ref in PLAIN.refs}
    made = listing_of(oids, CHANCE.choice(["refs/heads/b00001", "refs/heads/b00002"]))
    refs = [replace(ref, peeled=peeled.get(ref.name)) for ref in made.refs]
    return replace(made, refs=tuple(refs))


def test_what_must_change() -> None:
    """The step from one to the other, and the file of refs."""
    assert packed_refs(MANY) == packed_refs(PLAIN) and not change(of_listing(MANY), of_listing(MANY))
    for _ in range(20):
        plain = later()
        found, expected = (
            change(of_listing(MANY), of_listing(in_lines(plain))),
            change(of_listing(PLAIN), of_listing(plain)),
        )
        assert (dict(found.updates), found.head) == (dict(expected.updates), expected.head)
        assert sorted(found.deletions) == sorted(expected.deletions)
        assert (found.abandoned, found.passed) == (expected.abandoned, expected.passed)
        assert change(of_listing(PLAIN), of_listing(in_lines(plain))).updates == expected.updates
        assert of_listing(in_lines(plain)) != of_listing(MANY) and of_listing(in_lines(PLAIN)) == of_listing(MANY)


def test_what_has_moved_in_a_part() -> None:
    """What a part that was listed shows to be elsewhere, and the listing that is made of that."""
    for kind in (("HEAD", "refs/heads/"), ("refs/tags/v1", "refs/tags/v2"), ("HEAD",), MIRRORED_KIND):
        plain = later()
        part, many_part = plain.filtered(kind), in_lines(plain).filtered(kind)
        found = moved_in_part(MANY, kind, many_part)
        assert found == moved_in_part(PLAIN, kind, part)
        after = with_refs(MANY, found)
        assert isinstance(after.refs, ManyRefs) and tuple(after.refs) == tuple(with_refs(PLAIN, found).refs)


def test_a_ref_where_others_lie_below() -> None:
    """What git could not keep beside the others is sorted out one by one."""
    moved = {"refs/heads/b00001/below": RemoteRef("refs/heads/b00001/below", some_oid())}
    assert with_refs(MANY, moved).refs == with_refs(PLAIN, moved).refs
    assert dict(of_listing(with_refs(MANY, moved)).refs) == dict(of_listing(with_refs(PLAIN, moved)).refs)


def test_two_moments() -> None:
    """Whether two listings contradict each other."""
    kinds = (("HEAD", "refs/heads/"), MIRRORED_KIND)
    plain = later()
    for older, of_its_kind in ((PLAIN, kinds[1]), (PLAIN.filtered(kinds[0]), kinds[0])):
        for newer, of_kind in ((plain.filtered(kinds[0]), kinds[0]), (PLAIN.filtered(kinds[0]), kinds[0])):
            expected = contradict(newer, of_kind, older, of_its_kind)
            assert contradict(in_lines(newer), of_kind, in_lines(older), of_its_kind) == expected
            assert expected == (newer.refs[0] != PLAIN.refs[0] or len(newer.refs) != 2501)


def test_tips_that_are_set_aside() -> None:
    """What is followed instead of tips that can't be had."""
    plain = later()
    out = {(ref.name, ref.oid) for ref in plain.refs if ref.oid is not None and OIDS.get(ref.name) != ref.oid}
    assert tuple(without(in_lines(plain), out, MANY).refs) == without(plain, out, PLAIN).refs
    assert without(in_lines(plain), set(), MANY) == in_lines(plain)


def test_what_is_kept_and_told() -> None:
    """By what a repository is recognised, what is packed and unpacked, what a client is told."""
    assert tips_of(MANY) == tips_of(PLAIN)
    assert unpack(pack(MANY)) == MANY and weight_of(MANY) < weight_of(PLAIN) / 3
    for command in (
        V2LsRefs(prefixes=(), peel=True, symrefs=True),
        V2LsRefs(prefixes=("refs/tags/", "HEAD", "refs/heads/b0000"), peel=True, symrefs=True),
        V2LsRefs(prefixes=("refs/",), peel=False, symrefs=True),
    ):
        assert ls_refs_response(MANY.refs, command) == ls_refs_response(PLAIN.refs, command)


def test_marks() -> None:
    """Refs below a prefix have the mark of those that are the same, and no other."""
    here, there = of_listing(MANY).refs, of_listing(in_lines(PLAIN)).refs
    moved = of_listing(with_refs(MANY, {"refs/tags/v1": RemoteRef("refs/tags/v1", some_oid())})).refs
    assert mark(here, "refs/tags/") == mark(there, "refs/tags/") != mark(moved, "refs/tags/")
    assert mark(here, "refs/") != mark(moved, "refs/") and mark(here, "refs/heads/") == mark(moved, "refs/heads/")


def test_an_id_that_is_part_of_a_name() -> None:
    """What a ref is called is no object id that it has."""
    name, peeled = some_oid(), some_oid()
    named = {f"refs/heads/{name}": some_oid(), f"refs/heads/0000{name}": some_oid()}
    tag = RemoteRef("refs/tags/t", some_oid(), None, peeled)
    plain = replace(listing_of(OIDS | named), refs=(*listing_of(OIDS | named).refs[:-300], tag))
    oids = of_listing(in_lines(plain)).oids
    assert name not in oids and f"{name[4:]}aaaa" not in oids
    assert all(oid in oids for oid in (*named.values(), peeled, tag.oid, plain.refs[1].oid))


def calls_of(work: Callable[[], object]) -> int:
    """Return how many functions are called while something is done."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def wholly_other(count: int) -> tuple[RefState, RefState]:
    """Return refs, and the same refs with other objects."""
    before, after = (in_lines(listing_of({f"refs/heads/b{n:05}": some_oid() for n in range(count)})) for _ in "ab")
    return of_listing(before), of_listing(after)


def test_a_listing_that_differs_wholly_costs_what_it_has() -> None:
    """Four times the refs are about four times the work, not sixteen times, when each of them has moved."""
    few, many = (calls_of(lambda pair=pair: change(*pair)) for pair in (wholly_other(2500), wholly_other(10_000)))  # type: ignore[misc]
    assert many < 5 * few


def test_what_is_asked_of_every_listing_reads_no_refs() -> None:
    """Whether there are any, whether they differ from the mirror's, whether they are of the same repository."""

    def asked(count: int) -> int:
        listing = in_lines(listing_of({f"refs/heads/b{n:05}": some_oid() for n in range(count)}))
        present, other = of_listing(listing), of_listing(with_refs(listing, {"refs/heads/b00001": None}))
        state = InstanceState("1", frozenset({Voice.OWN}), "sha1", tips_of(listing))

        def ask() -> None:
            assert not listing.empty and gone_on(state, Voice.OWN, listing).tips == state.tips
            assert present.differs_from(other) and not present.oids.isdisjoint(listing.oids())

        return calls_of(ask)

    assert asked(20_000) < 4 * asked(2000)


def test_what_no_ref_has() -> None:
    """Few object ids and many are told apart alike, those that tags lead to as well."""
    oids = of_listing(MANY).oids
    for sought in (sorted(oids)[:5], sorted(oids)):
        others = {some_oid() for _ in sought} | {""}
        assert of_listing(MANY).lacking([*sought, *others]) == others


def test_what_is_set_aside_is_looked_for_among_many_refs_one_by_one() -> None:
    """A tip that could be had is followed again, without a look at all others for it; one that could not is not."""
    aside = SetAside(identity=REPOSITORY, clock=FakeClock(), metrics=Metrics())
    tips = {(name, OIDS[name]) for name in sorted(OIDS)[:2]} | {("refs/heads/b00004", some_oid())}
    aside.note(dict.fromkeys(tips, ProcessFailed("git fetch", 128, "bad")))
    failed = {("refs/heads/b00001", OIDS["refs/heads/b00001"])}
    assert calls_of(lambda: aside.had(MANY, failed)) < 1000
    assert set(aside.reasons()) == {"refs/heads/b00001", "refs/heads/b00004"}
