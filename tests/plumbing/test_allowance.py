"""What a client may take in a minute."""

import pytest

from cachew.plumbing.allowance import Allowance
from tests.fakes.clock import FakeClock


def test_a_client_has_so_much_in_a_minute() -> None:
    """What is there is given at once; what is taken comes back in the course of a minute."""
    clock = FakeClock()
    allowance = Allowance(clock=clock, per_minute=60)
    assert [allowance.take("a", 40), allowance.take("a", 20)] == [0, 0]
    assert allowance.take("a", 10) == pytest.approx(10)
    assert allowance.take("b", 60) == 0
    clock.advance(9)
    assert allowance.take("a", 10) == pytest.approx(1)
    clock.advance(1)
    assert allowance.take("a", 10) == 0


def test_what_nobody_ever_has_is_had_by_whoever_has_all() -> None:
    """More than a minute's worth is no request that is refused for ever."""
    clock = FakeClock()
    allowance = Allowance(clock=clock, per_minute=60)
    assert allowance.take("a", 1000) == 0
    assert allowance.take("a", 1000) == pytest.approx(60)


def test_nothing_costs_nothing() -> None:
    """Whoever has nothing left may take nothing."""
    allowance = Allowance(clock=FakeClock(), per_minute=5)
    assert [allowance.take("a", 5), allowance.take("a", 0)] == [0, 0]


def test_clients_are_forgotten() -> None:
    """Who has taken nothing for a minute is as a stranger; and very many are not remembered at once."""
    clock = FakeClock()
    allowance = Allowance(clock=clock, per_minute=60)
    for number in range(20_000):
        allowance.take(str(number), 60)
    assert len(allowance) == 10_000
    clock.advance(61)
    assert allowance.take("late", 1) == 0 and len(allowance) == 1
