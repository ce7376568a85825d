"""Who asks for a repository, and how often, is remembered."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cachew.mirrors.identity import Identity
from cachew.mirrors.machine import MirrorState
from cachew.mirrors.usage import MirrorUsage
from tests.fakes.clock import FakeClock

IDENTITY = Identity("git.example", "org/repo")


class Mirrors:
    """The mirror of a repository.

    :param state: its state, also of one that failed to be made; None where there never was one.
    """

    def __init__(self, state: MirrorState | None) -> None:
        self._state = state

    def known_as(self, identity: Identity) -> object | None:
        """Return it, or what failed to become one."""
        return (
            None if self._state is None else SimpleNamespace(identity=identity, life=SimpleNamespace(state=self._state))
        )


@pytest.mark.parametrize(
    ("state", "used", "remembered"),
    [(MirrorState.CLONING, True, True), (MirrorState.EMPTY, False, True), (None, False, False)],
)
def test_clients_are_remembered_of_repositories_that_there_are(
    tmp_path: Path, state: MirrorState | None, used: bool, remembered: bool
) -> None:
    """Every request of a mirror counts as use; whose it was is remembered also where there was to be a mirror."""
    mirrors = cast(Any, Mirrors(state))
    usage = MirrorUsage(mirrors=mirrors, file=tmp_path / "used.json", threads=cast(Any, None), clock=FakeClock(now=100))
    for _ in range(2):
        usage.note(IDENTITY, "192.0.2.1")
    assert (usage.requests(IDENTITY), usage.last_used(IDENTITY)) == ((2, 100.0) if used else (0, None))
    assert [(of.client, of.requests, of.last) for of in usage.clients.of(IDENTITY.name)] == (
        [("192.0.2.1", 2, 100.0)] * remembered
    )
