"""What has to go when space is short."""

from dataclasses import dataclass

import pytest

from cachew.cache.eviction import excess, lifetime, victims


@dataclass
class Thing:
    """Something that takes space."""

    size: int


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"used": 10, "limit": None}, 0),
        ({"used": 10, "limit": 10}, 0),
        ({"used": 11, "limit": 10}, 1),
        ({"used": 0, "limit": 10, "free": 5, "min_free": 8}, 3),
        ({"used": 0, "limit": None, "free": 9, "min_free": 8}, 0),
        ({"used": 12, "limit": 10, "free": 5, "min_free": 6}, 2),
    ],
)
def test_the_stricter_bound_counts(bounds: dict[str, int], expected: int) -> None:
    """Either of the limit and the free space may ask for more to go."""
    assert excess(**bounds) == expected


@pytest.mark.parametrize(("needed", "count"), [(0, 0), (1, 1), (5, 1), (6, 2), (100, 3)])
def test_the_first_go_until_it_is_enough(needed: int, count: int) -> None:
    """No more than is needed, and all of them when that is not enough."""
    things = [Thing(5), Thing(5), Thing(5)]
    assert list(victims(things, needed)) == things[:count]


def test_nobody_asks_for_more_time_than_there_is() -> None:
    """The cache's maximum caps what a writer asks for, and holds when he asks for nothing."""
    assert (lifetime(None, None), lifetime(None, 60), lifetime(30, 60), lifetime(90, 60)) == (None, 60, 30, 60)
    assert lifetime(90, None) == 90
    with pytest.raises(ValueError, match="above zero"):
        lifetime(0, 60)
