"""The dashboard's curves."""

from cachew.web.history import History, polyline


def test_steps_hold_what_was_added() -> None:
    """Growing counters become the requests of each step, by source and in all."""
    history = History(steps=3)
    for mirror, upstream in [(5, 0), (5, 2), (9, 3), (9, 3)]:
        history.note({"mirror": mirror, "upstream": upstream})
    assert history.of("mirror") == [0, 4, 0]
    assert history.of("unheard of") == [0, 0, 0]
    assert history.totals() == [2, 5, 0]


def test_a_counter_that_begins_anew_is_no_negative_step() -> None:
    """A counter that falls adds nothing."""
    history = History()
    history.note({"mirror": 9})
    history.note({"mirror": 1})
    assert history.totals() == [9, 0]


def test_curves_fill_their_box() -> None:
    """The first value is at the left, the last at the right, the greatest at the top and zero at the bottom."""
    assert polyline([0, 10, 5], width=100, height=40) == "0.0,40.0 50.0,0.0 100.0,20.0"


def test_curves_of_nothing() -> None:
    """No values give no points, and zeros a line at the bottom."""
    assert polyline([], width=100, height=40) == ""
    assert polyline([0, 0], width=100, height=40) == "0.0,40.0 100.0,40.0"
