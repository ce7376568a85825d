"""What tests of hosts start from: the fixtures of the functional tests, and servers in front of a stand-in."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol, TypeVar

import pytest_twisted
from twisted.internet import reactor

from tests.functional.conftest import canary, command_lines, git
from tests.functional.server import Cachew
from tests.hosts.standins import Host

__all__ = ["canary", "command_lines", "git"]

H = TypeVar("H", bound=Host)


class Hosted(Protocol):
    """Starts a stand-in."""

    async def __call__(self, kind: Callable[..., H]) -> H:
        """Start one of a kind."""


class Before(Protocol):
    """Starts a server in front of a stand-in."""

    async def __call__(self, host: Host, config: str = "", *, state: str = "state") -> Cachew:
        """Start one.

        :param config: more TOML, after the upstream's table.
        :param state: its state directory's name.
        """


@pytest_twisted.async_yield_fixture
async def hosted(tmp_path: Path) -> AsyncIterator[Hosted]:
    """Starts stand-ins; they are stopped at the end."""
    started: list[Host] = []

    async def begin(kind: Callable[..., H]) -> H:
        root = tmp_path / f"upstream{len(started)}"
        root.mkdir()
        host = kind(reactor=reactor, root=root)
        started.append(host)
        await host.start()
        return host

    yield begin
    for host in started:
        await host.stop()


@pytest_twisted.async_yield_fixture
async def before(tmp_path: Path, hosted: Hosted) -> AsyncIterator[Before]:
    """Starts servers; they are stopped at the end, before the stand-ins."""
    started: list[Cachew] = []

    async def begin(host: Host, config: str = "", *, state: str = "state") -> Cachew:
        server = Cachew(reactor=reactor, state=tmp_path / state, upstream=host.url + host.base, config=config)
        started.append(server)
        await server.start()
        return server

    yield begin
    for server in started:
        if server.parts.server.running:
            await server.stop()
