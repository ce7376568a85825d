"""Leaving busy upstreams alone."""

import pytest

from cachew.plumbing.errors import UpstreamBusy
from cachew.upstream.backoff import Backoff
from tests.fakes.clock import FakeClock


def held(backoff: Backoff, scope: str = "a") -> float:
    """Return how long a scope is still left alone."""
    try:
        backoff.check(scope, "https://git.example/r")
    except UpstreamBusy:
        assert backoff.left(scope) > 0
    return backoff.left(scope)


@pytest.mark.parametrize(("told", "relayed"), [(9.0, 9.0), (None, None)])
def test_no_time_is_made_up(told: float | None, relayed: float | None) -> None:
    """Clients are told when to come back only if the upstream said so."""
    backoff = Backoff(clock=FakeClock(), random=lambda: 0.0)
    backoff.busy("a", status=503, retry_after=told)
    with pytest.raises(UpstreamBusy) as busy:
        backoff.check("a", "https://git.example/r")
    assert busy.value.retry_after == relayed


def test_doubles() -> None:
    """Without Retry-After the wait doubles up to its most, and success starts over."""
    clock = FakeClock()
    backoff = Backoff(clock=clock, random=lambda: 1.0, shortest=1, longest=5)
    waits = []
    for _ in range(4):
        backoff.busy("a", status=500, retry_after=None)
        waits.append(held(backoff))
        clock.advance(waits[-1])
        assert held(backoff) == 0
    assert waits == [1, 2, 4, 5]
    backoff.well("a")
    backoff.busy("a", status=500, retry_after=None)
    assert held(backoff) == 1


def test_jitter() -> None:
    """The wait varies between half and whole, so that many servers don't come back at once."""
    backoff = Backoff(clock=FakeClock(), random=lambda: 0.0, shortest=4)
    backoff.busy("a", status=503, retry_after=None)
    assert held(backoff) == 2


def test_bounded() -> None:
    """Only so many scopes are remembered."""
    backoff = Backoff(clock=FakeClock(), random=lambda: 0.0, capacity=2)
    for scope in "abc":
        backoff.busy(scope, status=429, retry_after=9)
    assert [held(backoff, scope) for scope in "abc"] == [0, 9, 9]


def test_message() -> None:
    """The refusal says which upstream, what it answered and for how long it is left alone."""
    backoff = Backoff(clock=FakeClock(), random=lambda: 0.0)
    backoff.busy("a", status=429, retry_after=9)
    with pytest.raises(UpstreamBusy, match=r"git\.example/r: answered 429 .* 9 more seconds"):
        backoff.check("a", "https://git.example/r")
