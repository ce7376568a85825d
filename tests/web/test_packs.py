"""Packs on their way to clients that leave, out of mirrors that fail: nothing is held for anybody who is gone."""

import os
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred

from cachew.plumbing.background import Background
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.streams import BytesSource
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.web.access.guard import Right
from cachew.web.fetchanswers import FetchAnswers
from cachew.web.packs import Packs
from cachew.web.passthrough import PassThrough
from cachew.web.reflistings import RefListings
from cachew.web.uploadpack import CommandReader, ToldListings, UploadPack
from cachew.web.upstreampacks import UpstreamPacks
from tests.fakes.clock import FakeClock
from tests.fakes.disturbance import FakeRequest, Steps, nothing_left
from tests.fakes.gitserving import (
    FETCH,
    IDENTITY,
    PACK,
    FakeFreshness,
    FakeMirror,
    FakeMirrors,
    FakeProcesses,
    FakeRemotes,
    FakeSupply,
    FakeUpstream,
    threads_of,
)
from tests.fakes.instances import right
from tests.fakes.packcaches import make_pack_cache
from tests.fakes.settled import value_of
from tests.fakes.silence import Silence, quiet

METRICS = Metrics()
SLOW = pytest.mark.parametrize("slow", [True, False])
HEAD = b"Content-Type: application/x-git-upload-pack-result\r\n\r\n"
REFUSAL = b"0011ERR not our !"


class Fetches:
    """Two clients that fetch the same; one place for a backend."""

    def __init__(
        self,
        steps: Steps,
        directory: Path,
        *,
        mirror: FakeMirror,
        backend: Sequence[bytes],
        limit: int,
        freshness: FakeFreshness | None = None,
    ) -> None:
        self._steps, self._directory = steps, directory
        self.freshness = freshness or FakeFreshness(steps)
        self.cloned: list[object] = []
        self.slots, self.background = Slots(limit=1), quiet(Background())
        self.upstream, self.processes = FakeUpstream(steps, PACK[:100], PACK[100:]), FakeProcesses(steps, *backend)
        (directory / "packs").mkdir(exist_ok=True)
        self.cache = make_pack_cache(directory / "packs", limit=limit, threads=threads_of(steps))
        self.cache._log = cast(Any, Silence())
        shared: dict[str, Any] = {"client": self.upstream, "remotes": FakeRemotes()}
        self.packs = Packs(
            cache=self.cache,
            mirrored=MirrorPacks(
                backend=Backend(
                    processes=cast(Processes, self.processes), exec_path=Path("/"), slots=self.slots, home=directory
                )
            ),
            upstream=UpstreamPacks(freshness=cast(Any, self.freshness), **shared),
            metrics=METRICS,
        )
        mirrors = cast(Any, FakeMirrors(mirror))
        self.listings = RefListings(
            mirrors=mirrors,
            mirroring=mirrors,
            freshness=cast(Any, self.freshness),
            passthrough=PassThrough(spools=directory / "spools", background=self.background, **shared),
            bundle_uris=self._bundle_uris,
            metrics=METRICS,
            in_thread=threads_of(steps),
        )
        self.commands = CommandReader(limit=1 << 20, in_thread=threads_of(steps))
        self.told = ToldListings(clock=FakeClock(), client_of=lambda request: "192.0.2.1")
        self.supply = FakeSupply(steps)
        fetches = FetchAnswers(
            mirrors=mirrors,
            supply=cast(Any, self.supply),
            packs=self.packs,
            listings=self.listings,
            commands=self.commands,
            patience=1.0,
            told=self.told,
        )
        self.route = UploadPack(
            commands=self.commands,
            listings=self.listings,
            told=self.told,
            mirrors=mirrors,
            packs=self.packs,
            serve=fetches.serve,
            cloned=lambda identity, whole, chosen: self.cloned.append(identity),
        )
        self.requests = [self._request() for _ in range(2)]
        self.descriptors = len(os.listdir("/proc/self/fd"))

    async def _bundle_uris(self, request: Any, right: Right) -> bytes:
        await self._steps.reach("bundles are listed")
        return b"0000"

    def _request(self) -> Any:
        return FakeRequest(self._steps, method=b"POST", body=BytesSource(FETCH), git_protocol="version=2")

    def work(self) -> Sequence[Coroutine[Any, Any, object]]:
        return [self.route.handle(request, right(IDENTITY)) for request in self.requests]

    def settle(self) -> None:
        """Nothing takes time."""

    def left(self) -> list[str]:
        found = [*self.upstream.sources.left(), *self.processes.left()]
        found += [f"{what} taken" for what, count in (("place", self.slots.running),) if count]
        found += ["waits for a place"] * self.slots.waiting
        found += ["producing"] * self.cache.producing
        found += [f"goes on: {what}" for what, _ in self.background.under_way]
        found += [f"file {path.name}" for path in self._directory.glob("*/*") if path.suffix != ".pack"]
        found += ["descriptors"] * (len(os.listdir("/proc/self/fd")) > self.descriptors)
        for path in self._directory.glob("*/*.pack"):
            path.unlink()
        return found


BACKENDS = {
    "a pack": (HEAD, PACK[:4], PACK[4:100], PACK[100:]),
    "a refusal": (HEAD + REFUSAL,),
    "no header": (b"Content-Type: x\r\n",),
    "an empty answer": (HEAD,),
    "no git": (HEAD + b"zzzz",),
}


@SLOW
@pytest.mark.parametrize("limit", [1 << 20, 0])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fetch_from_the_mirror_leaves_nothing(tmp_path: Path, backend: str, limit: int, slow: bool) -> None:
    """No backend, place, source or file stays of a fetch whose client leaves, or which fails, at whichever await."""

    def make(steps: Steps) -> Fetches:
        mirror = FakeMirror(tmp_path, lacks=True)
        return Fetches(steps, tmp_path, mirror=mirror, backend=BACKENDS[backend], limit=limit)

    nothing_left(make, slow=slow)


@SLOW
@pytest.mark.parametrize("limit", [1 << 20, 0])
def test_a_fetch_from_the_upstream_leaves_nothing(tmp_path: Path, limit: int, slow: bool) -> None:
    """No response of the upstream stays open, whichever await of a fetch without a mirror is disturbed."""

    def make(steps: Steps) -> Fetches:
        return Fetches(steps, tmp_path, mirror=FakeMirror(tmp_path, ready=False), backend=(), limit=limit)

    nothing_left(make, slow=slow)


@pytest.mark.parametrize("sound", [True, False])
def test_an_upstreams_damaged_pack_is_nobody_elses(tmp_path: Path, sound: bool) -> None:
    """What ends in order and isn't what its checksum says is not kept, whoever damaged it on its way."""
    steps = Steps(slow=True)
    bench = Fetches(steps, tmp_path, mirror=FakeMirror(tmp_path, ready=False), backend=(), limit=1 << 20)
    bench.upstream.pieces = (PACK[:100], PACK[100:] if sound else PACK[100:].replace(b"x", b"y", 1))
    for request in bench.requests:
        client = Deferred.fromCoroutine(bench.route.handle(request, right(IDENTITY)))
        while steps.go_on():
            pass
        value_of(client)
    assert (len(bench.cache.kept), bench.upstream.asked) == ((1, 1) if sound else (0, 2))


def test_a_client_that_leaves_before_the_refusal_is_known_frees_its_place(tmp_path: Path) -> None:
    """Who leaves while upload-pack is still thinking leaves no backend and no place taken."""
    steps = Steps(slow=True)
    bench = Fetches(steps, tmp_path, mirror=FakeMirror(tmp_path), backend=(HEAD, PACK), limit=1 << 20)
    client = Deferred.fromCoroutine(bench.route.handle(bench.requests[0], right(IDENTITY)))
    while "backend.read" not in steps.names or steps.names.count("backend.read") < 2:
        assert steps.go_on()
    assert bench.slots.running == 1 and not client.called
    client.cancel()
    client.addErrback(lambda gone: None)
    assert bench.left() == []


@pytest.mark.parametrize("fails", [False, True])
def test_a_mirror_whose_upload_pack_fails_in_the_middle_is_looked_at(tmp_path: Path, fails: bool) -> None:
    """By its exit status alone, whoever still wants the answer; while it is looked at it serves nobody."""
    steps = Steps(slow=True)
    mirror = FakeMirror(tmp_path)
    bench = Fetches(steps, tmp_path, mirror=mirror, backend=(HEAD, PACK), limit=1 << 20)
    client = Deferred.fromCoroutine(bench.route.handle(bench.requests[0], right(IDENTITY)))
    while not bench.processes.children:
        assert steps.go_on()
    bench.processes.children[0].failed = fails
    while steps.go_on():
        pass
    client.addErrback(lambda failure: None)
    assert mirror.verification.doubts == ([False] if fails else [])


@pytest.mark.parametrize("ready", [False, True])
def test_without_a_file_to_be_had_each_client_gets_an_answer_of_his_own(tmp_path: Path, ready: bool) -> None:
    """A disk on which nothing can be written (full, read-only) keeps no fetch from being answered."""
    steps = Steps(slow=True)
    mirror = FakeMirror(tmp_path, ready=ready)
    bench = Fetches(steps, tmp_path, mirror=mirror, backend=(HEAD, PACK), limit=1 << 20)
    bench.cache._directory = tmp_path / "a file"
    bench.cache._directory.touch()
    for request in bench.requests:
        client = Deferred.fromCoroutine(bench.route.handle(request, right(IDENTITY)))
        while steps.go_on():
            pass
        value_of(client)
        assert b"".join(request.written).endswith(PACK)
    bench.cache._directory.unlink()
    assert bench.left() == []
