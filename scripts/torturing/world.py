"""What takes part: servers in processes of their own, the store they share, upstreams, and users' git."""

import contextlib
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred

from scripts.torturing.durations import Durations
from scripts.torturing.fastconfig import fast_config
from scripts.torturing.hosted import (
    BIG,
    LFS_DATA,
    LONG,
    OWN,
    PRIVATE,
    PUBLIC,
    PUSHER,
    READER,
    SECURE,
    SLOW,
    SLOW_HOST,
    TLS_HOST,
    Hosted,
)
from scripts.torturing.replica import Replica
from tests.fakes.faultyproxy import FaultyProxy
from tests.fakes.objectservers import ACCESS_KEY, BUCKET, SECRET_KEY, seaweedfs
from tests.functional.canary import marked
from tests.functional.certificates import Authority
from tests.functional.gitclient import Git
from tests.functional.misbehaviour import Delay
from tests.functional.repositories import make_repository, push_commit
from tests.functional.server import HOST
from tests.functional.upstream import Upstream

CONFIG = fast_config(
    {
        "ref-check-interval": "0s",
        "ref-check-timeout": "2s",
        "fetch-wait": "5s",
        "first-byte-timeout": "5s",
        "idle-timeout": "5s",
        "snapshot-interval": "8s",
        "mirror-snapshot-interval": "12s",
        "repack-interval": "15s",
        "scrub-interval": "20s",
        "snapshot-max-age": "8s",
        "replica-timeout": "5s",
    },
    disk="80MB",
    packs="40MB",
    rights=1,
)
OBJECTS = "/api/v1/object/torture"
LAG = 0.15
"""Seconds by which everything is late at the slow upstream."""


@dataclass
class Object:
    """An upload that a server has accepted, and whether the shared store was well then."""

    key: str
    body: bytes
    replica: Replica
    shared: bool


@dataclass(kw_only=True)
class World:
    """Everything that takes part.

    :param place: an empty directory.
    :param rng: decides what is left to chance.
    :param upstreams: by the host that clients know.
    :param hosted: the repositories, by host and path.
    :param proxy: leads to the store that the servers share; None when they share none.
    :param objects: what servers have accepted and must still have.
    :param numbers: what uploads are called by.
    :param durations: how long things took at most.
    :param pushed: what was pushed through servers to the public repository and acknowledged: branches and commits.
    """

    reactor: Any
    place: Path
    rng: random.Random
    git: Git
    upstreams: dict[str, Upstream]
    replicas: list[Replica] = field(default_factory=list)
    hosted: dict[str, Hosted] = field(default_factory=dict)
    proxy: FaultyProxy | None = None
    objects: list[Object] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    pushed: dict[str, str] = field(default_factory=dict)
    durations: Durations = field(default_factory=Durations)
    clones: int = 0
    resources: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def upstream(self) -> Upstream:
        """The plain upstream."""
        return self.upstreams[HOST]

    def some(self, rng: random.Random) -> Replica:
        """Return one of the servers."""
        return rng.choice(self.replicas)

    async def upload(self, replica: Replica, *, shared: bool = False) -> bool:
        """Upload an object; what a server accepts it must keep.

        :param shared: whether the store is well.
        """
        body = self.rng.randbytes(self.rng.randrange(1, 300_000))
        # One that is refused, or that others are sent beside, must not lie under the name of another.
        one = Object(f"{next(self.numbers):08d}", body, replica, shared and self.proxy is not None)
        answer = await replica.ask("POST", f"{OBJECTS}/{one.key}", replica.token, body=body)
        if answer.status == 200:
            self.objects.append(one)
        return answer.status == 200

    async def ask(self, replica: Replica, name: str) -> None:
        """Have a client ask for a repository's refs, whatever comes of it."""
        await self.git.run("ls-remote", f"{replica.url}/git/{name}", check=False)

    def push(self) -> None:
        """Commit to every repository at its upstream."""
        for hosted in self.hosted.values():
            push_commit(hosted.repository, message=f"commit {self.rng.random()}", name=f"file{self.rng.randrange(20)}")
            hosted.note()

    async def later(self, seconds: float) -> None:
        """Let real time pass."""
        waited: Deferred[None] = Deferred()
        self.reactor.callLater(seconds, waited.callback, None)
        await waited


async def make_world(
    reactor: Any,
    place: Path,
    seed: int,
    *,
    config: str = CONFIG,
    replicas: int = 1,
    store: bool = False,
    durations: Durations | None = None,
) -> World:
    """Make upstreams without repositories, and servers that aren't started.

    :param config: the servers' settings, but for where they are and what they are in front of.
    :param store: whether they share an object store.
    :param durations: where it is noted how long things take.
    """
    (place / "home").mkdir()
    authority = Authority(place)
    upstreams = {}
    for host, tls in ((HOST, None), (TLS_HOST, authority.server_options()), (SLOW_HOST, None)):
        (place / host).mkdir()
        upstreams[host] = Upstream(reactor=reactor, root=place / host, tls=tls)
        await upstreams[host].start()
    git = Git(reactor, place / "home", timeout=60)
    world = World(
        reactor=reactor,
        place=place,
        rng=random.Random(seed),
        git=git,
        upstreams=upstreams,
        durations=durations or Durations(),
    )
    config += _upstream_tables(upstreams, authority.path)
    if store:
        world.proxy = FaultyProxy(
            reactor=reactor, target=urlsplit(world.resources.enter_context(seaweedfs())).port or 0
        )
        config += _store_table(await world.proxy.start(), seed)
    for number in range(replicas):
        at = place / f"replica{number + 1}"
        at.mkdir()
        world.replicas.append(
            Replica(
                reactor=reactor,
                place=at,
                upstream=world.upstream.url,
                config=config,
                durations=world.durations,
            )
        )
    return world


def _upstream_tables(upstreams: dict[str, Upstream], authority: Path) -> str:
    private = upstreams[HOST].url + PRIVATE.partition("/")[2]
    return f"""
[upstreams."{TLS_HOST}"]
url = "{upstreams[TLS_HOST].url}"
ca-file = "{authority}"
[upstreams."{SLOW_HOST}"]
url = "{upstreams[SLOW_HOST].url}"
[[credentials]]
kind = "token"
url-prefix = "{private}"
token = "{marked("0wn")}"
"""


def _store_table(port: int, seed: int) -> str:
    return f"""
[[cache]]
backend = "s3"
endpoint = "http://127.0.0.1:{port}"
bucket = "{BUCKET}"
prefix = "torture{seed}"
access-key = "{ACCESS_KEY}"
secret-key = "{SECRET_KEY}"
timeout = "3s"
"""


def make_repositories(world: World, seed: int) -> None:
    """Make what the upstreams have."""
    shapes = {PUBLIC: (30, 10, 500), BIG: (20, 200, 20_000), PRIVATE: (10, 10, 500), SECURE: (10, 10, 500)}
    shapes |= {SLOW: (10, 10, 500), LONG: (3200, 10, 50)}
    for number, (name, (commits, files, size)) in enumerate(shapes.items()):
        host, _, path = name.partition("/")
        upstream = world.upstreams[host]
        repository = make_repository(
            upstream.path(path), commits=commits, files=files, size=size, tags=("v1",), seed=seed + number
        )
        world.hosted[name] = Hosted(upstream, path, repository, private=name == PRIVATE)
        world.hosted[name].note()
        upstream.gate.allow_push(path, PUSHER)
    world.upstream.gate.protect(PRIVATE.partition("/")[2], READER, OWN)
    world.upstream.lfs.put(PUBLIC.partition("/")[2], LFS_DATA)
    world.upstreams[SLOW_HOST].misbehave(Delay(LAG))


async def start_all(world: World, replicas: Sequence[Replica] = ()) -> None:
    """Start servers that don't run."""
    for replica in replicas or world.replicas:
        if replica.server is None or not replica.server.running:
            await replica.start()


async def end_world(world: World) -> None:
    """Stop everything."""
    for replica in world.replicas:
        await replica.end()
    for upstream in world.upstreams.values():
        await upstream.stop()
    if world.proxy is not None:
        await world.proxy.stop()
    world.resources.close()
    shutil.rmtree(world.place, ignore_errors=True)
