"""Bundle lists as text and as decisions."""

import configparser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachew.snapshots.bundlelist import MOST_DELTAS, BundleList, ListedBundle, branches, next_step, render

ONE, TWO = {"refs/heads/main": "a" * 40}, {"refs/heads/main": "b" * 40}


def test_the_first_bundle_is_full() -> None:
    """It holds every branch and leaves nothing out."""
    step = next_step(BundleList(), {**ONE, "refs/heads/x": "c" * 40}, 1000)
    assert step is not None
    assert step.revisions == ("refs/heads/main", "refs/heads/x")
    assert step.after.bundles == (step.listed,)


def test_later_bundles_hold_what_changed() -> None:
    """A delta holds the branches that moved and leaves out all that was listed."""
    first = next_step(BundleList(), {**ONE, "refs/heads/x": "c" * 40}, 1000)
    assert first is not None
    step = next_step(first.after, {**TWO, "refs/heads/x": "c" * 40}, 2000)
    assert step is not None
    assert step.revisions == ("refs/heads/main", "^" + "a" * 40, "^" + "c" * 40)
    assert step.after.bundles == (first.listed, step.listed)


def test_nothing_new_needs_no_bundle() -> None:
    """The same branches, and a repository without any, need nothing."""
    first = next_step(BundleList(), ONE, 1000)
    assert first is not None
    assert next_step(first.after, ONE, 2000) is None
    assert next_step(first.after, {}, 2000) is None
    assert next_step(BundleList(), {}, 2000) is None


def test_a_long_list_begins_anew() -> None:
    """After many deltas, or when it is wanted, comes a full bundle, and tokens go on growing."""
    bundles = tuple(ListedBundle(5000 + n, str(n)) for n in range(MOST_DELTAS + 1))
    step = next_step(BundleList(bundles, ONE), TWO, 1000)
    assert step is not None
    assert step.after.bundles == (step.listed,)
    assert step.listed.token == 5000 + MOST_DELTAS + 1
    renewed = next_step(BundleList(bundles[:1], ONE), ONE, 9000, renew=True)
    assert renewed is not None
    assert renewed.revisions == ("refs/heads/main",)


@given(
    st.lists(st.builds(ListedBundle, st.integers(0, 2**40), st.text(max_size=5)), max_size=4).map(tuple),
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
)
def test_a_list_is_remembered(bundles: tuple[ListedBundle, ...], tips: dict[str, str]) -> None:
    """What was written down is read again."""
    whole = BundleList(bundles, tips)
    assert BundleList.decode(whole.encode()) == whole


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"bundles": 1, "tips": {}}', b'{"bundles": [], "tips": []}'])
def test_a_damaged_list_is_noticed(data: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match=r"."):
        BundleList.decode(data)


def test_the_text_is_a_git_config_file() -> None:
    """Version, mode, heuristic, and for each bundle its address and token."""
    text = render(
        [ListedBundle(1, "1-aa"), ListedBundle(2, "2-bb")], {"1-aa": "http://x/1", "2-bb": "bundle-list?bundle=2-bb"}
    )
    parsed = configparser.ConfigParser(delimiters=("=",), allow_no_value=False)
    parsed.read_string(text.replace("\t", ""))
    assert dict(parsed["bundle"]) == {"version": "1", "mode": "all", "heuristic": "creationToken"}
    assert dict(parsed['bundle "2-bb"']) == {"uri": "bundle-list?bundle=2-bb", "creationtoken": "2"}


def test_only_branches_are_listed() -> None:
    """Tags and the server's own refs are not."""
    assert branches({**ONE, "refs/tags/v1": "c", "refs/cachew/x": "d"}) == ONE
