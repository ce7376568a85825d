"""When upstreams were asked last: by whoever remembers it best."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cachew.mirrors.identity import Identity
from cachew.web.upstreamchecks import UpstreamChecks
from tests.fakes.clock import FakeClock

IDENTITY = Identity("git.example", "org/repo")
NOW = 1000.0


def mirror(last_fetch: float | None = None, *, ready: bool = True) -> Any:
    """Return a mirror."""
    return SimpleNamespace(identity=IDENTITY, life=SimpleNamespace(last_fetch=last_fetch, ready=ready))


def checks(gate: float | None = None, kept: float | None = None) -> UpstreamChecks:
    """Return what knows it.

    :param gate: when the ref gate asked last.
    :param kept: what is known of earlier runs.
    """
    known = SimpleNamespace(checked=lambda identity, now: gate)
    return UpstreamChecks(
        freshness=cast(Any, SimpleNamespace(known=known)),
        usage=cast(Any, SimpleNamespace(last_checked=lambda identity: kept)),
        clock=FakeClock(now=NOW),
    )


@pytest.mark.parametrize(
    ("gate", "kept", "fetched", "last"),
    [
        (None, None, None, None),
        (900.0, None, None, 900.0),
        (None, 800.0, None, 800.0),
        (None, None, 700.0, 700.0),
        (700.0, 900.0, 800.0, 900.0),
        (None, None, 0.0, 0.0),
    ],
)
def test_the_latest_of_what_is_known_counts(
    gate: float | None, kept: float | None, fetched: float | None, last: float | None
) -> None:
    """A fetch has asked too; where nobody knows anything, nothing is told."""
    assert checks(gate, kept).last(mirror(fetched)) == last


@pytest.mark.parametrize(
    ("mirrors", "seconds"),
    [
        ([], 0.0),
        ([mirror()], 0.0),
        ([mirror(900.0), mirror(400.0), mirror()], 600.0),
        ([mirror(900.0), mirror(400.0, ready=False)], 100.0),
        ([mirror(NOW + 50)], 0.0),
    ],
)
def test_the_longest_neglected(mirrors: list[Any], seconds: float) -> None:
    """Of those that serve; a clock that was put back makes no time negative."""
    assert checks().oldest(mirrors) == seconds
