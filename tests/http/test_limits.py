"""Connections are counted in all and by address."""

from cachew.http.limits import Census, Limits


def test_census() -> None:
    """One address can't take all places, and a place that is left can be taken again."""
    census = Census(Limits(connections=3, connections_per_address=2))
    assert [census.admit("a"), census.admit("a"), census.admit("a")] == [True, True, False]
    assert [census.admit("b"), census.admit("c")] == [True, False]
    census.leave("a")
    assert census.admit("c")
    assert census.total == 3
