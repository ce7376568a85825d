"""A short run of the rig with which everybody can make the server prove that it survives."""

import pytest
import pytest_twisted
from twisted.internet import reactor

from scripts.torturing.rig import Rig

ACCIDENTS = [
    "kill-the-server-and-its-children",
    "clients-leave-while-they-are-answered",
    "history-is-rewritten",
    "the-disk-is-full",
    "the-upstream-cuts",
    "kill-the-server",
    "flip-a-file",
    "suspend-a-child",
    "a-repository-is-made-anew",
    "the-upstream-answers-garbage",
    "directory-a-file",
    "stop-the-server-politely",
    "pushes",
    "truncate-a-file",
    "the-clock-jumps",
    "remove-a-directory",
]
SECONDS = 25.0
"""No accident begins later, so that a busy machine takes hardly longer than another: less than a minute in all."""


@pytest_twisted.ensureDeferred
@pytest.mark.timeout(170)
async def test_a_short_run_finds_nothing_wrong() -> None:
    """After each of a few accidents everything holds that docs/reliability.md promises."""
    rig = Rig(reactor=reactor, seed=1, replicas=1, store=False)
    done, wrong = await rig.torture(list(enumerate(ACCIDENTS)), SECONDS)
    assert not wrong, f"after {ACCIDENTS[:done]}: {wrong}"
    assert done >= 1
