"""Which mirrors go when there is too much."""

import pytest

from cachew.mirrors.identity import Identity
from cachew.mirrors.quota import MirrorUse, superfluous

A, B, C = (Identity("git.example", name) for name in "abc")
THREE = [MirrorUse(B, 40, 200.0), MirrorUse(A, 30, 100.0), MirrorUse(C, 50, 300.0)]


@pytest.mark.parametrize(
    ("limit", "forget_after", "going"),
    [
        (0, 0, []),
        (120, 0, []),
        (119, 0, [A]),
        (80, 0, [A, B]),
        (10, 0, [A, B]),
        (0, 250, [A]),
        (0, 150, [A, B]),
        (0, 50, [A, B, C]),
        (119, 150, [A, B]),
    ],
)
def test_what_goes(limit: int, forget_after: float, going: list[Identity]) -> None:
    """The least recently used go until the rest fits; the one used last goes only when it has expired."""
    assert superfluous(THREE, 355.0, limit=limit, forget_after=forget_after) == going
