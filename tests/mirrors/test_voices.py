"""As whom upstreams are asked."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.mirrors.instance import Voice
from cachew.mirrors.voices import Voices
from cachew.plumbing.errors import UpstreamError, UpstreamUnreachable
from tests.fakes.mirrorgit import REPOSITORY
from tests.fakes.settled import value_of


class World:
    """Upstreams and what they have said.

    :ivar own: the server's own credential, or why it can't be had.
    :ivar public: whether the upstream serves everybody.
    :ivar known: whose credentials were let in.
    :ivar done: what was asked and begun.
    """

    def __init__(self, *, trusted: bool = False) -> None:
        self.own: str | UpstreamError | None = "own"
        self.public = False
        self.known: set[str | None] = set()
        self.done: list[str] = []
        self.memory = SimpleNamespace(
            allows=lambda identity, credential: self.public, knows=lambda identity, credential: credential in self.known
        )
        self.voices = Voices(
            remotes=None if trusted else cast(Any, self),
            verdicts=lambda: cast(Any, self),
            begin=self.begin,
            bad_hours=cast(Any, None),
        )

    async def authorization(self, identity: object) -> str | None:
        if isinstance(self.own, UpstreamError):
            raise self.own
        return self.own

    async def find_out_whether_public(self, identity: object) -> None:
        self.done.append("asked")

    async def begin(self, identity: object) -> None:
        self.done.append("listed")

    def of(self, credential: str | None) -> Voice:
        """Say whose a credential is."""
        return value_of(Deferred.fromCoroutine(self.voices.of(REPOSITORY, credential)))

    def ask(self) -> list[str]:
        """Ask as nobody, and return what came of it."""
        value_of(Deferred.fromCoroutine(self.voices.ask_anonymously(REPOSITORY)))
        return self.done


@pytest.mark.parametrize("own", ["own", None, UpstreamUnreachable("https://git.example/", "no token")])
def test_whose_a_credential_is(own: str | UpstreamError | None) -> None:
    """None is nobody's; one is the server's only when that is certain, and a client's otherwise."""
    world = World()
    world.own = own
    assert world.of(None) is Voice.ANONYMOUS and world.of("alice's") is Voice.CLIENT
    assert world.of("own") is (Voice.OWN if own == "own" else Voice.CLIENT)


def test_where_clients_are_trusted_the_server_asks_for_all() -> None:
    """Nobody is asked as anybody else."""
    world = World(trusted=True)
    assert [world.of(credential) for credential in (None, "alice's")] == [Voice.OWN] * 2 and world.ask() == []


@pytest.mark.parametrize("public", [True, False])
def test_what_is_served_to_everybody_is_listed(public: bool) -> None:
    """Its answer comes to who hears it; what is private is asked about and no more."""
    world = World()
    world.public = public
    assert world.ask() == (["asked", "listed"] if public else ["asked"])


def test_who_was_let_in_before() -> None:
    """By an answer about the present instance."""
    world = World()
    world.known = {"alice's"}
    assert world.voices.knows(REPOSITORY, "alice's") and not world.voices.knows(REPOSITORY, None)
