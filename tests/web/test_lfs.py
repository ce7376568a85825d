"""LFS objects on their way to clients that leave, from caches and storages that fail: nothing is held for nobody."""

import os
from collections.abc import Coroutine, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.cache.memory import MemoryCache
from cachew.mirrors.identity import Identity
from cachew.plumbing.background import Background
from cachew.plumbing.metrics import Metrics
from cachew.smarthttp.lfsgrant import Grant, seal
from cachew.smarthttp.lfsobjects import CONTENT_TYPE, NAMESPACE, LfsObjects, LfsOrder
from cachew.upstream.lfsbatch import WantedObject
from cachew.web.lfs import LfsRoutes
from cachew.web.lfsgrants import GRANT_HEADER, LfsAsker, LfsGrants
from cachew.web.lfsleave import LfsLeave
from cachew.web.passthrough import PassThrough
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import FakeRequest, Steps, nothing_left
from tests.fakes.gitserving import IDENTITY, FakeRemotes, FakeUpstream, threads_of
from tests.fakes.settled import value_of
from tests.fakes.silence import Silence, quiet
from tests.fakes.steppedcache import SteppedCache
from tests.web.test_packs import SLOW

DATA = b"begin" + b"x" * 300_000 + b"end"
WANTED = WantedObject(sha256(DATA).hexdigest(), len(DATA))
KEY = b"k" * 32
METRICS = Metrics()
HREF = "https://git.example/objects/1"


class NoInstance:
    """Knows of no instance, and of nobody who shows anything."""

    async def of(self, request: object, identity: Identity) -> LfsAsker:
        """Tell who asks."""
        return LfsAsker(identity, "", None)


class Downloads:
    """Two clients that download the same object.

    :param pieces: what the storage sends.
    :param kept: whether the object is kept already.
    :param room: whether there is room for it on the disk.
    """

    def __init__(
        self, steps: Steps, directory: Path, *, pieces: Sequence[bytes], kept: bool = False, room: bool = True
    ) -> None:
        self._steps, self._directory = steps, directory
        self.background = quiet(Background())
        self.upstream = FakeUpstream(steps, *pieces, content_type="application/octet-stream")
        memory = MemoryCache(limit=1 << 20, clock=FakeClock())
        self.objects = LfsObjects(
            cache=cast(Any, SteppedCache(steps, memory)),
            client=cast(Any, self.upstream),
            spools=directory,
            min_free=0 if room else 1 << 60,
            background=self.background,
            metrics=METRICS,
        )
        self.objects.log = cast(Any, Silence())
        self.cache = cast(SteppedCache, self.objects._cache)
        if kept:
            value_of(Deferred.fromCoroutine(keep(memory)))
        shared: dict[str, Any] = {"client": self.upstream, "remotes": FakeRemotes()}
        leave = LfsLeave(clock=FakeClock(), ttl=60.0, key=KEY, **shared)
        leave.given(IDENTITY, "", None)
        self.routes = LfsRoutes(
            objects=self.objects,
            passthrough=PassThrough(spools=directory, background=self.background, **shared),
            askers=cast(Any, NoInstance()),
            grants=LfsGrants(leave=leave, clock=FakeClock(), key=lambda: KEY, **shared),
            in_thread=threads_of(steps),
            is_https=lambda request: False,
        )
        self.requests = [self._request() for _ in range(2)]
        self.descriptors = len(os.listdir("/proc/self/fd"))

    def _request(self) -> Any:
        request = FakeRequest(self._steps)
        grant = seal(Grant(IDENTITY.name, "", "", WANTED, 1000.0, HREF, ()), KEY)
        request.requestHeaders.addRawHeader(GRANT_HEADER, grant or "")
        return request

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        operation = f"info/lfs/cachew/{WANTED.oid}"
        return [self.routes.handle(request, IDENTITY, operation) for request in self.requests]

    def settle(self) -> None:
        """Nothing takes time."""

    def left(self) -> list[str]:
        found = [*self.upstream.sources.left(), *self.cache.left()]
        found += [f"goes on: {what}" for what, _ in self.background.under_way]
        found += [f"file {path.name}" for path in self._directory.iterdir()]
        found += ["in the table"] * self.objects._downloads.running
        found += ["descriptors"] * (len(os.listdir("/proc/self/fd")) > self.descriptors)
        return found


async def keep(cache: MemoryCache) -> None:
    """Store the object."""
    key = LfsOrder(IDENTITY.host, WANTED, HREF, (), FakeRemotes.url).key
    writer = await cache.create(NAMESPACE, key, headers={"Content-Type": CONTENT_TYPE})
    await writer.write(DATA)
    await writer.commit()


GOOD = (DATA[:5], DATA[5:-3], DATA[-3:])
SENT = {"the object": GOOD, "something else": (b"other", *GOOD[1:]), "less": GOOD[:2], "nothing": ()}


class Passing:
    """Takes note of what is passed on."""

    def __init__(self) -> None:
        self.operations: list[str] = []

    async def stream(self, request: object, identity: Identity, operation: str) -> None:
        """Pass a request on."""
        self.operations.append(operation)


@pytest.mark.parametrize(
    ("operation", "query", "passed"),
    [
        ("info/lfs/locks", b"path=a%20b&refspec=refs/heads/main", "info/lfs/locks?path=a%20b&refspec=refs/heads/main"),
        ("info/lfs/locks", b"path=b\xc3\xa9", "info/lfs/locks?path=b%C3%A9"),
        ("info/lfs/locks", b"path=\xff", "info/lfs/locks?path=%FF"),
        ("info/lfs/lock\u00e9 ?#%", b"", "info/lfs/lock%C3%A9%20%3F%23%25"),
    ],
)
def test_what_is_passed_on_can_stand_in_a_request(tmp_path: Path, operation: str, query: bytes, passed: str) -> None:
    """A query that is not ASCII, and a path whose encoding hid what a URL reserves, reach the upstream as they came."""
    downloads, passing = Downloads(Steps(slow=False), tmp_path, pieces=()), Passing()
    downloads.routes._passthrough = cast(Any, passing)
    request = downloads.requests[0]
    request.raw_query = query
    value_of(Deferred.fromCoroutine(downloads.routes.handle(request, IDENTITY, operation)))
    assert passing.operations == [passed]


@SLOW
@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize("sent", SENT)
def test_a_download_leaves_nothing(tmp_path: Path, sent: str, room: bool, slow: bool) -> None:
    """No source, spool, writer or entry stays of a download whose client leaves, or which fails, at whichever await."""
    nothing_left(lambda steps: Downloads(steps, tmp_path, pieces=SENT[sent], room=room), slow=slow)


@SLOW
def test_an_object_that_is_kept_leaves_nothing(tmp_path: Path, slow: bool) -> None:
    """No opened object stays of a request whose client leaves, or which fails, at whichever await."""
    nothing_left(lambda steps: Downloads(steps, tmp_path, pieces=(), kept=True), slow=slow)
