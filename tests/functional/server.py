"""A whole cachew in the reactor of the tests, on loopback, in front of a test upstream."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cachew.config import load
from cachew.logs import LogLevels
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.service import House, ground_of
from cachew.surroundings import Surroundings

HOST = "git.example"
"""The name under which clients know the upstream."""


class Cachew:
    """A running server.

    :param reactor: the reactor.
    :param state: its state directory.
    :param upstream: base URL of its one upstream.
    :param config: more TOML, after the upstream's table.
    :param head: TOML before any table.
    """

    def __init__(self, *, reactor: Any, state: Path, upstream: str, config: str = "", head: str = "") -> None:
        text = f'{head}\n[upstreams."{HOST}"]\nurl = "{upstream}"\n{config}'
        settings = load(
            text,
            file="test.toml",
            environ={},
            overrides={"state": str(state), "listen": ["tcp:0:interface=127.0.0.1"]},
        )
        surroundings = Surroundings(
            search_path=os.environ["PATH"],
            cores=2,
            wall_clock=time.time,
            version="0",
            log_levels=LogLevels("debug"),
        )
        self.state = state
        self.house = House(ground_of(settings, reactor, surroundings))

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self.house.server.startService()
        await self.house.server.ready()

    async def stop(self) -> None:
        """Stop it and wait for its end."""
        await self.house.server.stopService()

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.house.server.addresses[0].port}"

    @property
    def instead_of(self) -> tuple[str, str]:
        """What a user's git replaces, and with what."""
        return f"https://{HOST}/", f"{self.url}/git/{HOST}/"

    async def mirrored(self, repository: str) -> Mirror:
        """Have a repository mirrored and return its mirror."""
        return await self.house.mirrors.made(Identity(HOST, repository))

    def served(self) -> Mapping[str, int]:
        """Return the git requests answered so far, by where the answer came from."""
        return self.house.operations.served()

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.state / "admin-token").read_text().strip()
