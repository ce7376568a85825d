"""Names and prefixes, many of both."""

from hypothesis import given
from hypothesis import strategies as st

from cachew.upstream.prefixes import Prefixes

TEXT = st.text(alphabet="a/b\udcff\U0001f600", max_size=5)


@given(st.lists(TEXT, max_size=8), TEXT)
def test_it_is_as_if_each_were_tried(prefixes: list[str], name: str) -> None:
    """A name matches exactly when it begins with one of the prefixes."""
    assert Prefixes(prefixes).match(name) == name.startswith(tuple(prefixes))
