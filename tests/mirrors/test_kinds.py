"""Which listing answers which question."""

import pytest

from cachew.mirrors.kinds import (
    EVERYTHING,
    MIRRORED_KIND,
    Kind,
    bounded,
    contradict,
    exact_kind,
    is_part,
    narrowed,
    resolves,
    short_names,
)
from tests.fakes.mirrorgit import listing


def places(name: str) -> list[str]:
    """Return the prefixes that ``git fetch origin NAME`` sends (gitrevisions(7))."""
    return [
        name,
        f"refs/{name}",
        f"refs/tags/{name}",
        f"refs/heads/{name}",
        f"refs/remotes/{name}",
        f"refs/remotes/{name}/HEAD",
    ]


@pytest.mark.parametrize(
    ("prefixes", "kind"),
    [
        ((), EVERYTHING),
        (("HEAD", "refs/heads/", "refs/tags/"), MIRRORED_KIND),
        (("refs/heads/main", "refs/tags/v1"), MIRRORED_KIND),
        (("refs/pull/7/head", "refs/heads/"), ("refs/heads/", "refs/pull/7/head")),
        (("refs/heads",), ("refs/heads",)),
        (("refs/x", "refs/x"), ("refs/x",)),
    ],
)
def test_kinds(prefixes: tuple[str, ...], kind: Kind) -> None:
    """Heads and tags are one kind; all else is listed as it is asked for, in whatever order."""
    assert exact_kind(prefixes) == kind == exact_kind(prefixes[::-1])


def test_short_names() -> None:
    """The names behind git's own guesses are found; any other prefix is no guess."""
    assert short_names([*places("main"), "refs/tags/", "HEAD"]) == ["main"]
    assert short_names([*places("main"), *places("refs/pull/7/head")]) == ["main", "refs/pull/7/head"]
    assert short_names([*places("a{0}b")]) == ["a{0}b"]
    assert short_names([*places("main"), "refs/pull/"]) is None
    assert short_names(places("main")[:-1]) is None


def test_what_heads_and_tags_resolve() -> None:
    """A name is resolved where git would find a head, a tag or HEAD by it."""
    known = listing("refs/tags/v1=2", main="1")
    assert resolves(known, ["main", "v1", "HEAD", "heads/main", "refs/heads/main"])
    assert not resolves(known, ["main", "pull/7/head"]) and resolves(known, [])


def test_too_many_prefixes_stand_for_everything() -> None:
    """What would take long to match is not matched: neither very many prefixes nor very long ones."""
    many = tuple(f"refs/heads/{number}" for number in range(1000))
    assert bounded(many) == many
    assert exact_kind((*many, "refs/pull/1")) is EVERYTHING and short_names([*places("x"), *many]) is None
    assert exact_kind((*many, "refs/heads/one-more")) == MIRRORED_KIND
    assert bounded((*many, "refs/heads/one-more")) == bounded(["x" * 40_000, "y" * 40_000]) == ()


@pytest.mark.parametrize(
    ("prefixes", "kind", "part"),
    [
        ((), EVERYTHING, False),
        (("refs/tags/", "refs/heads/"), MIRRORED_KIND, False),
        (("refs/heads/main",), ("refs/heads/main",), True),
        (("refs/heads/main", "refs/heads/", "HEAD"), ("HEAD", "refs/heads/"), True),
        (("refs/pull/7/head",), ("refs/pull/7/head",), False),
        (("refs/heads/", "refs/tags/", "refs/pull/"), ("refs/heads/", "refs/pull/", "refs/tags/"), True),
        (tuple(f"refs/heads/{number}" for number in range(2000)), MIRRORED_KIND, False),
        (tuple(f"refs/pull/{number}" for number in range(2000)), EVERYTHING, False),
    ],
)
def test_narrowed(prefixes: tuple[str, ...], kind: Kind, *, part: bool) -> None:
    """Of very many refs no more is listed than was asked for, and nothing twice."""
    assert narrowed(prefixes) == kind == narrowed(prefixes[::-1]) and is_part(kind) is part


def test_contradictions() -> None:
    """Two listings contradict each other where both tell of a ref and it is different in them."""
    whole = listing("refs/tags/v1=1", head=None, main="1", topic="2")
    main = ("refs/heads/main",)

    def told(*refs: str, kind: Kind = main) -> bool:
        part = listing(*refs, head=None)
        found = contradict(part, kind, whole, MIRRORED_KIND)
        assert found is contradict(whole, MIRRORED_KIND, part, kind)
        return found

    assert not told("refs/heads/main=1")
    assert told("refs/heads/main=2")
    assert told(kind=("refs/heads/topic",))
    assert told("refs/heads/main=1", "refs/heads/main2=1")
    assert not told("refs/pull/7/head=1", kind=("refs/pull/7/head",))
    assert not told(kind=("refs/heads/other",))
