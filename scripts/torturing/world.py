"""What is tortured: a server in a process of its own, its upstream, its repositories and a user's git."""

import os
import random
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from cachew.server.statelock import MARK
from tests.functional.daemon import Daemon
from tests.functional.gate import basic
from tests.functional.gitclient import Git
from tests.functional.rawhttp import ask
from tests.functional.replicas import SkewedClock
from tests.functional.repositories import Repository, make_repository, push_commit
from tests.functional.upstream import Upstream
from tests.http.wire import Response

CONFIG = """
[git]
ref-check-interval = "0s"
ref-check-timeout = "2s"
fetch-wait = "5s"
first-byte-timeout = "5s"
idle-timeout = "5s"
snapshot-interval = "3s"
mirror-snapshot-interval = "5s"
repack-interval = "7s"
snapshot-max-age = "3s"
[[cache]]
backend = "disk"
limit = "1GB"
min-free = "0"
[pack-cache]
limit = "200MB"
min-free = "0"
[limits]
min-free = "0"
[access]
auth-ttl = "1s"
public-grace = "2s"
"""
PUBLIC, BIG, PRIVATE = "org/public", "org/big", "org/private"
READER = basic("alice", "s3cret")
DISK = 400 * 2**20
"""Bytes of the small file system that the server has for itself."""
OBJECTS = "/api/v1/object/torture"


@dataclass
class Object:
    """An upload that the server has accepted."""

    key: str
    body: bytes


@dataclass
class World:
    """Everything that takes part.

    :param place: an empty directory.
    :param rng: decides what is left to chance.
    :param clock: the server's time of day.
    :param config: the server's settings, but for where it is and what it is in front of.
    :param has_disk: whether the state directory is a small file system of its own, which only root can make.
    :param objects: what the server has accepted and must still have.
    """

    reactor: Any
    place: Path
    rng: random.Random
    upstream: Upstream
    git: Git
    clock: SkewedClock
    config: str
    has_disk: bool = False
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)
    server: Daemon = None  # type: ignore[assignment]
    said: int = 0
    clones: int = 0

    @property
    def state(self) -> Path:
        """The server's state directory."""
        return self.place / "state"

    @property
    def pid(self) -> int:
        """The server's process."""
        return int(self.server._process.pid)

    @property
    def token(self) -> str:
        """The admin token."""
        return f"Authorization: Bearer {(self.place / 'token').read_text().strip()}"

    async def start(self) -> None:
        """Start the server on what an earlier one has left."""
        if not (self.place / "token").exists():
            (self.place / "token").write_text(f"{self.rng.randbytes(16).hex()}\n")
            (self.place / "token").chmod(0o600)
        config = f'{self.config}[admin]\ntoken-file = "{self.place / "token"}"\n'
        self.server = Daemon(directory=self.place, upstream=self.upstream.url, config=config, clock=self.clock)
        self.said = 0
        await self.server.start(self.reactor)

    async def restart(self) -> None:
        """Start the server again if it does not run."""
        if not self.server.running:
            await self.start()

    async def get(self, path: str, *headers: str) -> Response:
        """Ask the server for something, as nobody."""
        return await ask(self.reactor, self.server.url, "GET", path, *headers)

    async def upload(self) -> None:
        """Upload an object; what the server accepts it must keep."""
        body = self.rng.randbytes(self.rng.randrange(1, 300_000))
        one = Object(f"{len(self.objects):08d}", body)
        answer = await ask(self.reactor, self.server.url, "POST", f"{OBJECTS}/{one.key}", self.token, body=body)
        if answer.status == 200:
            self.objects.append(one)

    def children(self) -> Iterator[int]:
        """Yield the processes that the server, or an earlier one, has started."""
        status = self.state.stat()
        mark = os.fsencode(f"{MARK}={status.st_dev}:{status.st_ino}")
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)

    def kill_children(self) -> None:
        """Kill whatever the server has started."""
        for pid in list(self.children()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def push(self) -> None:
        """Commit to every repository at the upstream."""
        for repository in self.repositories.values():
            push_commit(repository, message=f"commit {self.rng.random()}", name=f"file{self.rng.randrange(20)}")

    def files(self) -> list[Path]:
        """Return the files of the state directory that an accident may hit, in their order."""
        found = (Path(place, name) for place, _, names in os.walk(self.state) for name in names)
        return sorted(path for path in found if path.is_file() and not path.is_symlink())

    async def later(self, seconds: float) -> None:
        """Let real time pass."""
        waited: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waited.callback, None)
        await waited


async def make_world(reactor: Any, place: Path, seed: int, config: str = CONFIG) -> World:
    """Make everything and start the server with settings of one's own."""
    (place / "upstream").mkdir()
    (place / "home").mkdir()
    upstream = Upstream(reactor=reactor, root=place / "upstream")
    await upstream.start()
    git, clock = Git(reactor, place / "home", timeout=120), SkewedClock(place / "clock")
    world = World(reactor, place, random.Random(seed), upstream, git, clock, config)
    world.has_disk = _small_disk(world.state)
    world.repositories = {
        PUBLIC: make_repository(upstream.path(PUBLIC), commits=30, tags=("v1",), seed=seed),
        BIG: make_repository(upstream.path(BIG), commits=20, files=200, size=20_000, seed=seed + 1),
        PRIVATE: make_repository(upstream.path(PRIVATE), commits=10, seed=seed + 2),
    }
    upstream.gate.protect(PRIVATE, READER)
    await world.start()
    return world


def _small_disk(state: Path) -> bool:
    """Make the state directory a file system of its own, if this may be done here."""
    state.mkdir(mode=0o700)
    words = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "tmpfs", str(state)]
    return os.geteuid() == 0 and subprocess.run(words, check=False, capture_output=True).returncode == 0


async def end_world(world: World) -> None:
    """Stop everything."""
    if world.server.running:
        os.kill(world.pid, signal.SIGCONT)
        await world.server.kill()
    world.kill_children()
    await world.upstream.stop()
    if world.has_disk:
        subprocess.run(["umount", "-l", str(world.state)], check=False)  # noqa: ASYNC221
    shutil.rmtree(world.place, ignore_errors=True)
