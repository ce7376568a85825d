"""Whose requests for a repository are remembered."""

from typing import Any, cast

import pytest

from cachew.mirrors.identity import Identity
from cachew.web.repositoryclients import RepositoryClients, RepositoryUse
from tests.fakes.clock import FakeClock

IDENTITY = Identity("git.example", "org/repo")


class House:
    """Mirrors, and what is remembered of their use."""

    def __init__(self, *, known: bool) -> None:
        self._known = known
        self.noted: list[Identity] = []

    def known_as(self, identity: Identity) -> object | None:
        return identity if self._known else None

    def used(self, identity: Identity) -> None:
        self.noted.append(identity)


@pytest.mark.parametrize("known", [True, False])
def test_clients_are_remembered_of_repositories_that_there_are(known: bool) -> None:
    """Every request counts as use; whose it was is remembered only where there is a mirror, or there was to be one."""
    clients, house = RepositoryClients(clock=FakeClock(now=100)), cast(Any, House(known=known))
    use = RepositoryUse(clients=clients, usage=house, mirrors=house, client_of=lambda request: "192.0.2.1")
    for _ in range(2):
        use.note(IDENTITY, cast(Any, None))
    assert house.noted == [IDENTITY, IDENTITY]
    assert [(of.client, of.requests, of.last) for of in clients.of(IDENTITY.name)] == (
        [("192.0.2.1", 2, 100.0)] * known
    )
