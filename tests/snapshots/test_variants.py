"""Names of archives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import BadRequest
from cachew.snapshots.variants import Variant, check_branch, from_name, from_query

WORDS = st.text("abc/-.", min_size=1, max_size=8)


def accepted(ref: str) -> bool:
    """Whether a ref is a branch."""
    try:
        check_branch(ref)
    except BadRequest:
        return False
    return True


@given(WORDS, st.sampled_from(["", "blob:none"]), st.sampled_from(["snapshot", "lfs-snapshot", "mirror"]))
def test_a_name_leads_back_to_its_variant(word: str, chosen: str, kind: str) -> None:
    """What the schedule writes down is read again."""
    ref = f"refs/heads/{word}"
    variant = Variant(kind, ref if accepted(ref) else "", chosen)
    assert from_name(variant.name) == variant


@given(WORDS, WORDS)
def test_different_variants_have_different_keys(one: str, other: str) -> None:
    """No two archives share a key."""
    instance = Instance(Identity("git.example", "org/repo"), "1d")
    keys = {Variant(ref=one).key(instance), Variant(ref=other).key(instance), Variant().key(instance)}
    assert len(keys) == len({one, other}) + 1


def test_the_plain_snapshot_is_named_after_its_repository() -> None:
    """Replicas and the object API know it under this key."""
    assert from_query({}).key(Instance(Identity("git.example", "org/repo"), "1d")) == "snapshot:git.example/org/repo 1d"


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/a/b.c", "refs/heads/ünï", "refs/heads/a-b_c+d#1"])
def test_branches_are_accepted(ref: str) -> None:
    """Whatever git takes for a branch can have a snapshot."""
    assert from_query({"ref": ref}).ref == ref


@pytest.mark.parametrize(
    "query",
    [
        {"ref": "main"},
        {"ref": "refs/heads/"},
        {"ref": "refs/tags/v1"},
        {"ref": "refs/heads/../x"},
        {"ref": "refs/heads/a b"},
        {"ref": "refs/heads/a\nb"},
        {"ref": "refs/heads/.a"},
        {"ref": "refs/heads/a/.b"},
        {"ref": "refs/heads/a.lock"},
        {"ref": "refs/heads/a.lock/b"},
        {"ref": "refs/heads/a//b"},
        {"ref": "refs/heads/a/"},
        {"ref": "refs/heads/a@{1}"},
        {"ref": "refs/heads/a*"},
        {"ref": "refs/heads/" + "a" * 600},
        {"filter": "tree:0"},
        {"filter": "sparse:oid=x"},
    ],
)
def test_anything_else_is_refused(query: dict[str, str]) -> None:
    """Nothing malformed reaches git, a key or a log."""
    with pytest.raises(BadRequest):
        from_query(query)


@pytest.mark.parametrize("name", ["", "other", "snapshot x=y", "snapshot ref"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """A damaged record is noticed."""
    with pytest.raises(ValueError, match=r"."):
        from_name(name)


@pytest.mark.parametrize("name", ["caf\udce9", "\udcff\udcfe", "line\u2028separator", "x\udcc3v/é"])
def test_branches_of_any_bytes(name: str) -> None:
    """Keys and names are text that can be stored, one for one, and are read back as they were."""
    variant = Variant(ref=f"refs/heads/{name}")
    assert variant.key(Instance(Identity("git.example", "org/repo"), "1d")).encode() and variant.name.encode()
    assert from_name(variant.name) == variant
    assert from_query({"ref": f"refs/heads/{name}"}) == variant
