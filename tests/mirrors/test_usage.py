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

    :param known: whether there is one, or was to be one.
    """

    def __init__(self, *, known: bool) -> None:
        self._known = known

    def find(self, identity: Identity) -> object:
        """Return it."""
        return SimpleNamespace(life=SimpleNamespace(state=MirrorState.CLONING))

    def known_as(self, identity: Identity) -> object | None:
        """Return it, or what failed to become one."""
        return identity if self._known else None


@pytest.mark.parametrize("known", [True, False])
def test_clients_are_remembered_of_repositories_that_there_are(tmp_path: Path, known: bool) -> None:
    """Every request counts as use; whose it was is remembered only where there is a mirror, or there was to be one."""
    mirrors = cast(Any, Mirrors(known=known))
    usage = MirrorUsage(mirrors=mirrors, file=tmp_path / "used.json", threads=cast(Any, None), clock=FakeClock(now=100))
    for _ in range(2):
        usage.note(IDENTITY, "192.0.2.1")
    assert (usage.requests(IDENTITY), usage.last_used(IDENTITY)) == (2, 100.0)
    assert [(of.client, of.requests, of.last) for of in usage.clients.of(IDENTITY.name)] == (
        [("192.0.2.1", 2, 100.0)] * known
    )
