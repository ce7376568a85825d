"""What has moved among very many refs, found and taken up without looking at the others."""

from dataclasses import replace

import pytest

from cachew.mirrors.kinds import MANY_REFS
from cachew.mirrors.moved import change_of, moved_in_part, near_of, overlaid, with_refs
from cachew.mirrors.refs import Change, RefState, of_listing
from cachew.upstream.listing import Listing, RemoteRef
from tests.fakes.mirrorgit import listing, oid

PRESENT = listing("refs/tags/v1=1", main="1", topic="2")
MAIN, TOPIC, NEW = "refs/heads/main", "refs/heads/topic", "refs/heads/new"


def part(*refs: str, head: str | None = None) -> Listing:
    """Make a listing of some refs."""
    return listing(*refs, head=head)


@pytest.mark.parametrize(
    ("kind", "listed", "moved"),
    [
        ((MAIN,), part(f"{MAIN}=1"), {}),
        ((MAIN,), part(f"{MAIN}=3"), {MAIN: oid("3")}),
        ((MAIN,), part(f"{MAIN}=1", f"{MAIN}-next=3"), {f"{MAIN}-next": oid("3")}),
        ((MAIN, NEW), part(f"{MAIN}=1"), {}),
        ((MAIN, TOPIC), part(f"{MAIN}=1"), {TOPIC: None}),
        (("refs/heads/top",), part(), {}),
        (("refs/pull/7/head",), part("refs/pull/7/head=3"), {}),
        ((f"{MAIN}.",), part(f"{MAIN}..x=3"), {}),
        (("HEAD",), Listing(refs=(RemoteRef("HEAD", oid("3"), MAIN),)), {MAIN: oid("3")}),
        (("HEAD",), Listing(refs=(RemoteRef("HEAD", oid("2"), TOPIC),)), {"HEAD": oid("2")}),
        (("HEAD",), Listing(refs=(RemoteRef("HEAD", oid("2")),)), {"HEAD": oid("2")}),
        (("HEAD",), Listing(refs=(RemoteRef("HEAD", oid("1"), MAIN),)), {}),
    ],
)
def test_what_has_moved(kind: tuple[str, ...], listed: Listing, moved: dict[str, str | None]) -> None:
    """Refs that are new or elsewhere have moved, and those that were asked for by name and are no more."""
    found = moved_in_part(PRESENT, kind, listed)
    assert {name: ref and ref.oid for name, ref in found.items()} == moved


@pytest.mark.parametrize(
    "wanted",
    [
        listing("refs/tags/v1=1", main="3", topic="2"),
        listing("refs/tags/v1=1", main="1"),
        listing("refs/heads/a=4", "refs/heads/main=1", "refs/heads/topic=2", "refs/tags/v1=1", "refs/tags/z=5"),
        listing("refs/tags/v1=1", head=TOPIC, main="1", topic="2"),
        listing("refs/tags/v1=1", head=TOPIC, main="1", topic="3"),
    ],
)
def test_a_listing_made_of_the_last_one_is_the_one_that_would_be_listed(wanted: Listing) -> None:
    """With what has moved the last listing and all that is derived of it are as if everything had been listed."""
    names = {ref.name for ref in (*PRESENT.refs, *wanted.refs)}
    moved = {name: ref for name in names if (ref := wanted.by_name.get(name)) != PRESENT.by_name.get(name)}
    of_listing(PRESENT)
    made = with_refs(PRESENT, moved)
    assert made == wanted and made.by_name == wanted.by_name
    assert of_listing(made) == of_listing(wanted) == of_listing(replace(wanted))
    assert of_listing(made).head_commit == of_listing(wanted).head_commit


def test_an_upstream_that_does_not_sort() -> None:
    """Refs are found wherever an upstream has listed them."""
    odd = Listing(refs=(RemoteRef("refs/tags/v1", oid("1")), RemoteRef(MAIN, oid("1")), RemoteRef(TOPIC, oid("2"))))
    made = with_refs(odd, {MAIN: RemoteRef(MAIN, oid("3")), "refs/tags/v1": None})
    assert {ref.name: ref.oid for ref in made.refs} == {MAIN: oid("3"), TOPIC: oid("2")}
    assert overlaid(odd, {}) is odd


def test_the_step_keeps_what_is_left_behind() -> None:
    """What branches move on from and what is deleted is kept alive, as in a step that compares all refs."""
    moved = {MAIN: RemoteRef(MAIN, oid("3")), TOPIC: None, "HEAD": RemoteRef("HEAD", oid("3"), NEW)}
    step = change_of(of_listing(PRESENT), moved)
    assert step == Change({MAIN: oid("3")}, (TOPIC,), (oid("1"), oid("2")), (oid("1"),), NEW)


def test_which_tips_have_what_is_behind_the_new_ones() -> None:
    """Of very many refs, what those had that have moved; none where new ones come, or others, or refs are few."""
    refs = {f"refs/heads/b{number}": oid(str(number % 10)) for number in range(MANY_REFS + 1)}
    present = RefState(refs | {MAIN: oid("a")}, MAIN)
    step = change_of(present, {"refs/heads/b1": RemoteRef("refs/heads/b1", oid("c"))})
    assert near_of(step, present, {oid("c")}) == {oid("1"), oid("a")}
    assert not near_of(step, present, {oid("c"), oid("d")})
    assert not near_of(step, RefState({"refs/heads/b1": oid("1")}), {oid("c")})
    both = change_of(present, {NEW: RemoteRef(NEW, oid("d")), "refs/heads/b1": RemoteRef("refs/heads/b1", oid("c"))})
    assert not near_of(both, present, {oid("c"), oid("d")})
    assert near_of(both, present, {oid("c")}) == {oid("1"), oid("a")}
