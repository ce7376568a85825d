"""A whole cachew in the reactor of the tests, on loopback, in front of a test upstream."""

import hmac
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest
from treq.client import HTTPClient
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers

from cachew.config.load import load
from cachew.config.settings import Settings
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.clock import Clock
from cachew.plumbing.logs import EventLog
from cachew.plumbing.pktline import Packet, decode
from cachew.server.composition import compose
from cachew.server.environment import Environment
from cachew.server.runtime import make_runtime
from tests.functional.canary import said

HOST = "git.example"
"""The name under which clients know the upstream."""
UNSCHEDULED = """
[git]
snapshot-interval = "0s"
bundle-interval = "0s"
mirror-snapshot-interval = "0s"
repack-interval = "0s"
"""
"""A server's config with which nothing is made but what is asked for; more of its last table may follow."""


class HeldClock:
    """The reactor, but its time stands still until a test puts it forward; what is called later comes in real time.

    :param reactor: the reactor.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._now = float(reactor.seconds())

    def seconds(self) -> float:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class Cachew:
    """A running server.

    :param reactor: the reactor.
    :param state: its state directory.
    :param upstream: base URL of its one upstream.
    :param config: more TOML, after the upstream's table.
    :param head: TOML before any table.
    :param search_path: where it finds git.
    """

    def __init__(
        self,
        *,
        reactor: Any,
        state: Path,
        upstream: str,
        config: str = "",
        head: str = "",
        search_path: str = os.environ["PATH"],
    ) -> None:
        self.config = f'{head}\n[upstreams."{HOST}"]\nurl = "{upstream}"\n{config}'
        self.state = state
        environment = Environment(
            search_path=search_path,
            cores=2,
            descriptors=1024,
            clock=Clock(seconds=reactor.seconds, now=time.time),
            version="0",
            log=EventLog("debug"),
            read_settings=self._settings,
        )
        self._http = HTTPClient(Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)))
        self.parts = compose(make_runtime(self._settings(), reactor, environment))

    def _settings(self) -> Settings:
        overrides = {"state": str(self.state), "listen": ["tcp:0:interface=127.0.0.1"]}
        return load(self.config, file="test.toml", environ={}, overrides=overrides)

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self.parts.server.startService()
        await self.parts.server.ready()

    async def stop(self) -> None:
        """Stop it and wait for its end."""
        said.add(generate_latest(self.parts.runtime.metrics.registry))
        await self.parts.server.stopService()

    @property
    def url(self) -> str:
        """Its base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.parts.server.addresses[0].port}"

    @property
    def instead_of(self) -> tuple[str, str]:
        """What a user's git replaces, and with what."""
        return f"https://{HOST}/", f"{self.url}/git/{HOST}/"

    def identity(self, repository: str) -> Identity:
        """Return a repository's identity."""
        return Identity(HOST, repository)

    async def mirrored(self, repository: str) -> Mirror:
        """Have a repository mirrored and return its mirror."""
        return await self.parts.mirrors.mirroring.made(Identity(HOST, repository))

    def served(self) -> Mapping[str, int]:
        """Return the git requests answered so far, by where the answer came from."""
        return self.parts.status.server.served()

    async def get(self, path: str, **kwargs: Any) -> Any:
        """Ask for something of a repository; returns a treq response."""
        return await self._http.get(f"{self.url}/git/{HOST}/{path}", **kwargs)

    async def get_own(self, path: str) -> Any:
        """Ask for something that belongs to no repository; returns a treq response."""
        return await self._http.get(f"{self.url}/{path}")

    async def post(self, path: str, document: object) -> Any:
        """Post JSON to a repository's path and return the JSON that comes back."""
        response = await self._http.post(f"{self.url}/git/{HOST}/{path}", json=document)
        assert response.code == 200, await response.text()
        return await response.json()

    async def upload_pack(self, repository: str, body: bytes) -> list[Packet]:
        """Send a command of protocol v2 and return the packets that come back."""
        headers = Headers({"Git-Protocol": ["version=2"], "Content-Type": ["application/x-git-upload-pack-request"]})
        address = f"{self.url}/git/{HOST}/{repository}/git-upload-pack"
        response = await self._http.post(address, data=body, headers=headers)
        return decode(await response.content())

    async def raw(self, method: str, path: str, **kwargs: Any) -> Any:
        """Ask for something of the server as anybody; returns a treq response."""
        return await self._http.request(method, f"{self.url}{path}", **kwargs)

    async def admin(self, method: str, path: str, **kwargs: Any) -> Any:
        """Ask for something of the server with the admin token; returns a treq response."""
        headers = Headers({"Authorization": [f"Bearer {self.token}"]})
        return await self._http.request(method, f"{self.url}{path}", headers=headers, **kwargs)

    async def metrics(self) -> bytes:
        """Return the metrics' text."""
        headers = Headers({"Authorization": [f"Bearer {self.token}"]})
        response = await self._http.get(f"{self.url}/metrics", headers=headers)
        return bytes(await response.content())

    async def github_event(self, secret: str, clone_url: str, full_name: str = "org/repo") -> None:
        """Send a signed push event, as GitHub does."""
        repository = {"clone_url": clone_url, "full_name": full_name}
        body = json.dumps({"ref": "refs/heads/main", "repository": repository}).encode()
        signature = hmac.new(secret.encode(), body, "sha256").hexdigest()
        headers = Headers(
            {
                "X-GitHub-Event": ["push"],
                "X-Hub-Signature-256": [f"sha256={signature}"],
                "Content-Type": ["application/json"],
            }
        )
        response = await self._http.post(f"{self.url}/webhook/github", data=body, headers=headers)
        assert response.code in (200, 202, 204), await response.text()

    async def quiet(self) -> None:
        """Wait until nothing goes on behind the requests."""
        await self.parts.runtime.background.idle()
        await self.parts.snapshots.productions.settled()
        await self.parts.runtime.background.idle()

    @property
    def token(self) -> str:
        """The admin token."""
        return (self.state / "admin-token").read_text().strip()
