"""The names of records."""

from hypothesis import given
from hypothesis import strategies as st

from cachew.replicas.records import escaped, record_name


@given(st.text())
def test_any_text_can_be_part_of_a_name(text: str) -> None:
    """Whatever it holds."""
    assert record_name(f"leases/{escaped(text)}")


@given(st.text(max_size=20), st.text(max_size=20))
def test_different_texts_have_different_names(one: str, other: str) -> None:
    """Nothing is counted as something else."""
    assert (escaped(one) == escaped(other)) is (one == other)


def test_names_are_legible() -> None:
    """A repository's name stays what it is, as far as can be."""
    assert escaped("git.example:8443/org/.github") == "git.example:8443/org/~2egithub"
    assert escaped("snapshot ref=x") == "snapshot~20ref~3dx"
