"""From what an upstream lists to what a mirror changes."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.mirrors.refs import (
    RefState,
    change,
    expired,
    hidden_name,
    invalid_names,
    of_listing,
    packed_refs,
    update_script,
    valid_name,
)
from cachew.upstream.listing import Listing, RemoteRef
from tests.fakes.mirrorgit import listing, oid

DAY = 86400.0


def test_only_heads_and_tags() -> None:
    """A mirror keeps heads and tags, and HEAD as it is: a branch, born or not, or an object."""
    state = of_listing(listing("refs/tags/v1=2", "refs/pull/1/head=3", main="1"))
    assert state.refs == {"refs/heads/main": oid("1"), "refs/tags/v1": oid("2")}
    assert state.head == "refs/heads/main" and state.head_commit == oid("1")
    unborn = of_listing(listing(head="refs/heads/new", main="1"))
    assert unborn.head == "refs/heads/new" and unborn.head_commit is None
    detached = Listing(refs=(RemoteRef("HEAD", oid("4")),))
    assert of_listing(detached).head == of_listing(detached).head_commit == oid("4")
    assert of_listing(listing(head=None, main="1")).head is None


def test_what_no_repository_can_hold_together() -> None:
    """Of refs that are both a file and a directory the upper one stays, at any depth."""
    names = ("refs/heads/a=1", "refs/heads/a/b/c=2", "refs/heads/ab=3", "refs/heads/a.b=4", "refs/tags/t/u=5")
    assert sorted(of_listing(listing(*names)).refs) == [
        "refs/heads/a",
        "refs/heads/a.b",
        "refs/heads/ab",
        "refs/tags/t/u",
    ]


def test_very_many_that_could_not_be_refs_are_each_looked_at_once() -> None:
    """An upstream may list as many as it likes; all of them are compared with none."""
    names = [name for number in range(15_000) for name in (f"refs/heads/{number}", f"refs/heads/{number}/a/b")]
    listed = of_listing(Listing(tuple(RemoteRef(name, oid("1"), None, None) for name in names)))
    assert list(listed.refs) == names[::2]


def test_steps() -> None:
    """A step names what moves, what goes, what loses its last ref, and HEAD where that changes."""
    present = RefState({"refs/heads/a": oid("1"), "refs/heads/b": oid("2"), "refs/heads/c": oid("3")}, "refs/heads/a")
    wanted = RefState({"refs/heads/a": oid("3"), "refs/heads/d": oid("1")}, "refs/heads/d")
    step = change(present, wanted)
    assert step.updates == {"refs/heads/a": oid("3"), "refs/heads/d": oid("1")}
    assert step.deletions == ("refs/heads/b", "refs/heads/c")
    assert step.abandoned == (oid("2"),) and step.head == "refs/heads/d"
    assert not change(wanted, wanted) and change(present, RefState(present.refs, "refs/heads/b"))
    assert not change(present, RefState(present.refs, None))


def test_hidden_refs_age() -> None:
    """Hidden refs carry their day; those that are too old, and those without one, go."""
    now = 100 * DAY + 5
    names = [hidden_name(oid("1"), now - days * DAY) for days in range(10)]
    odd = ["refs/cachew/named/heads/main", "refs/cachew/\u00b2/x"]
    assert expired([*names, *odd], now, days=7) == [*names[8:], *odd]


ODD_NAMES = st.text(
    st.one_of(st.sampled_from(list("ab./@{}~^:?*[\\- \x7f\x85\u2028\udcff")), st.characters(codec="utf-8")), max_size=12
)


@pytest.mark.timeout(60)
@given(names=st.lists(ODD_NAMES, min_size=1, max_size=1))
def test_names_are_judged_as_git_does(names: list[str]) -> None:
    """A name is valid exactly where git says so, whatever its bytes."""
    name = f"refs/heads/{names[0]}"
    try:
        word = name.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return
    if b"\0" in word:
        assert not valid_name(name)
        return
    verdict = subprocess.run(["git", "check-ref-format", word], capture_output=True)
    assert valid_name(name) == (verdict.returncode == 0)


def test_names_that_are_no_file_names() -> None:
    """A name whose parts are too long for the file system, in bytes, is left out."""
    assert valid_name("refs/heads/" + "n" * 250) and not valid_name("refs/heads/" + "n" * 251)
    assert valid_name("refs/heads/" + "é" * 125) and not valid_name("refs/heads/" + "é" * 126)
    assert not valid_name("refs/heads/" + "/".join(["n" * 200] * 12))
    assert valid_name("refs/heads/" + "n/" * 200 + "n") and not valid_name("refs/heads/" + "n/" * 900 + "n")


def test_bytes_survive() -> None:
    """Names that are not UTF-8 go to git as they came."""
    name = b"refs/heads/caf\xe9".decode(errors="surrogateescape")
    assert update_script({name: oid("1")}, [name]) == (
        b"delete refs/heads/caf\xe9\0\0update refs/heads/caf\xe9\0" + oid("1").encode() + b"\0\0"
    )
    packed = packed_refs(Listing(refs=(RemoteRef(name, oid("1")), RemoteRef("refs/heads/\u00e9", oid("2")))))
    assert packed.splitlines()[1:] == [
        f"{oid('1')} ".encode() + b"refs/heads/caf\xe9",
        f"{oid('2')} refs/heads/\u00e9".encode(),
    ]


def test_peeled_tags() -> None:
    """A new mirror's refs are one sorted file, with what annotated tags point to."""
    made = Listing(refs=(RemoteRef("refs/tags/v1", oid("2"), None, oid("1")), RemoteRef("refs/heads/main", oid("1"))))
    assert packed_refs(made).decode().splitlines()[1:] == [
        f"{oid('1')} refs/heads/main",
        f"{oid('2')} refs/tags/v1",
        f"^{oid('1')}",
    ]


def test_halves_make_up_the_whole() -> None:
    """A step is divided until single refs are left: deletions before what may need their names."""
    present = RefState({"refs/heads/a": "1" * 40, "refs/heads/old": "1" * 40}, "refs/heads/a")
    wanted = RefState({f"refs/heads/{name}": "2" * 40 for name in ("a", "b", "c", "d", "e")}, "refs/heads/b")
    steps, leaves = [change(present, wanted)], []
    while steps:
        step = steps.pop(0)
        steps = [*step.halves(), *steps]
        if not step.halves():
            leaves.append(step)
    assert leaves[0].deletions == ("refs/heads/old",) and leaves[1].head == "refs/heads/b"
    assert [list(leaf.updates) for leaf in leaves[2:]] == [[name] for name in wanted.refs]


_PIECES = (
    *"ab/.@{é\n \t~^:?*[\\\x00\x7f\udce9", "refs/heads/", ".lock", "..", "@{", "//", "/.", "lock", "n" * 249,
)  # fmt: skip


@given(st.lists(st.lists(st.sampled_from(_PIECES), max_size=5).map("".join), max_size=4, unique=True))
def test_names_looked_at_together_are_judged_as_each_alone(names: list[str]) -> None:
    """Whatever is side by side in a listing, exactly those names are refused that are refused by themselves."""
    assert invalid_names(names) == [name for name in names if not valid_name(name)]
