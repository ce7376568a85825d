"""The client is made once, however many ask for it, and installed from where it was asked for."""

import hashlib
import re
from collections.abc import Callable
from typing import Any, cast

import pytest
from twisted.internet.defer import CancelledError, Deferred

from cachew.plumbing.errors import MethodNotAllowed
from cachew.web.clientfiles import ClientRoutes
from tests.fakes.disturbance import FakeRequest, Steps
from tests.fakes.settled import failure_of, value_of

ARCHIVE = b"#!/usr/bin/env python3\n" + bytes(range(256)) * 20


class World:
    """The routes, and threads that a test may hold."""

    def __init__(self) -> None:
        self.gate: Deferred[None] | None = None
        self._steps = Steps(slow=False)
        self.made = 0
        self.routes = ClientRoutes(make=self._make, threads=self._thread, is_https=lambda request: False)

    def _make(self) -> bytes:
        self.made += 1
        return ARCHIVE

    async def _thread(self, function: Callable[[], Any], *_: Any) -> Any:
        if self.gate is not None:
            await self.gate
        return function()

    def ask(self, name: str = "archive", *, method: bytes = b"GET", **fields: str) -> tuple[Any, Deferred[None]]:
        request = cast(Any, FakeRequest(self._steps, method=method, **{"Host": "cachew.example:8080", **fields}))
        request.own_url = ""
        return request, Deferred.fromCoroutine(getattr(self.routes, name)(request))

    def body(self, name: str = "archive", **fields: Any) -> bytes:
        """Return what somebody is sent."""
        request, asked = self.ask(name, **fields)
        self.take_all()
        value_of(asked)
        return b"".join(request.written)

    def take_all(self) -> None:
        """Let clients take what they are sent."""
        while self._steps.go_on():
            pass


def test_it_is_made_once_for_all_who_ask_at_the_same_time() -> None:
    """Anybody may ask, and making it takes half a second of a processor."""
    world = World()
    world.gate = Deferred()
    asked = [world.ask(name) for name in ("archive", "script", "archive")]
    world.gate.callback(None)
    world.take_all()
    for _, answer in asked:
        value_of(answer)
    assert b"".join(asked[2][0].written) == ARCHIVE
    assert world.body() == ARCHIVE
    assert world.made == 1


def test_one_who_leaves_takes_it_from_nobody() -> None:
    """And when all have left it is made for the next."""
    world = World()
    world.gate = Deferred()
    (_, first), (_, second) = world.ask(), world.ask()
    first.cancel()
    assert isinstance(failure_of(first), CancelledError)
    second.cancel()
    assert isinstance(failure_of(second), CancelledError)
    world.gate = None
    assert world.body() == ARCHIVE


def test_the_script_installs_what_is_handed_out() -> None:
    """From the address by which the client knows the server, and nothing else than this very archive."""
    script = World().body("script").decode()
    assert "http://cachew.example:8080" in script
    assert hashlib.sha256(ARCHIVE).hexdigest() in script
    assert not re.findall(r"@[A-Z]+@", script)


@pytest.mark.parametrize("host", ["a b", "x;rm -rf /", "$(id)", "'", '"', "`id`", "x\ny", ""])
def test_no_name_of_a_host_becomes_a_command(host: str) -> None:
    """What is none is left out."""
    script = World().body("script", Host=host).decode()
    assert "server=${CACHEW_URL:-}\n" in script


def test_who_has_it_is_sent_nothing() -> None:
    """Its tag is the digest of its content."""
    world = World()
    request, asked = world.ask(If_None_Match=f'"{hashlib.sha256(ARCHIVE).hexdigest()}"')
    world.take_all()
    value_of(asked)
    assert (request.code, b"".join(request.written)) == (304, b"")
    request, asked = world.ask(Range="bytes=5-9")
    world.take_all()
    value_of(asked)
    assert (request.code, b"".join(request.written)) == (206, ARCHIVE[5:10])


@pytest.mark.parametrize("name", ["archive", "script"])
def test_it_can_only_be_fetched(name: str) -> None:
    """Nothing is made for any other request."""
    world = World()
    _, asked = world.ask(name, method=b"POST")
    assert isinstance(failure_of(asked), MethodNotAllowed)
    assert world.made == 0
