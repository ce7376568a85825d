"""What starts, what runs meanwhile and what stops, and in which order.

The mirrors are found last, because with that the server is ready; they are looked at afterwards. At the end whatever
begins work stops first, then the work, then what it stood on.
"""

import gc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from cachew.mirrors.collection import Mirrors, scrub
from cachew.mirrors.identity import Identity
from cachew.plumbing.diskspace import remove
from cachew.plumbing.jsonfile import UNFINISHED
from cachew.plumbing.periodic import Periodic
from cachew.plumbing.scrubbing import Scrub
from cachew.replicas.conditions import ConditionCheck
from cachew.replicas.fleet import BEAT, Fleet
from cachew.server.cacheparts import StoreParts, make_bucket_checks
from cachew.server.lifecycle import Step
from cachew.server.mirrorparts import MirrorParts
from cachew.server.prefetching import make_prefetching
from cachew.server.runtime import Runtime
from cachew.server.snapshotparts import SnapshotParts
from cachew.server.statewatch import DIRECTORIES, StateWatch
from cachew.server.upstreamparts import UpstreamParts
from cachew.server.views import ViewParts
from cachew.server.webparts import WebParts
from cachew.web.access.sessions import Sessions
from cachew.web.actions import RepositoryWork

_TRAFFIC_STEP = 10.0
_EVENTS_INTERVAL = 60.0
_OUTDATED_INTERVAL = 300.0
_SWEEP_INTERVAL = 300.0
_PROBE_INTERVAL = 15.0
_COUNT_INTERVAL = 30.0
_CONDITIONS_INTERVAL = 60.0
_RULES_INTERVAL = 86_400.0
_LAST_COUNT = 2.0
_SECRET_WAIT = 1.0
_WATCH_INTERVAL = 5.0
_TIDY_INTERVAL = 600.0
_LOOKS_INTERVAL = 60.0
_NO_COLLECTION = 2**31 - 1
"""Collections of what is younger that come before one of everything."""
_VERY_MANY = 1000
"""Mirrors whose objects take the garbage collector so long that it shows."""


def opening(
    runtime: Runtime, *, upstream: UpstreamParts, store: StoreParts, mirrors: MirrorParts, snapshots: SnapshotParts
) -> Sequence[Step]:
    """Return what is opened before the server is ready, in this order."""

    async def load_public() -> None:
        await runtime.threads(mirrors.public.load)

    async def load_spellings() -> None:
        await runtime.threads(upstream.spellings.load)

    async def start_store_threads() -> None:
        runtime.store_pool.start()

    async def find_secret() -> None:
        # So that the first grant is one that the other replicas take. A store that is silent holds nobody up.
        search = Deferred.fromCoroutine(store.grant_secret.find()).addTimeout(_SECRET_WAIT, runtime.reactor)
        with suppress(DeferredTimeout):
            await search

    return [
        runtime.sender.start,
        load_public,
        load_spellings,
        mirrors.instances.load,
        mirrors.usage.load,
        start_store_threads,
        store.cache.start,
        find_secret,
        store.pack_cache.kept.open,
        snapshots.productions.start,
        mirrors.discovery.discover,
    ]


def jobs(
    runtime: Runtime,
    *,
    upstream: UpstreamParts,
    store: StoreParts,
    mirrors: MirrorParts,
    snapshots: SnapshotParts,
    views: ViewParts,
    fleet: Fleet,
    sessions: Sessions,
    watch: StateWatch,
    scrub: Scrub,
    work: RepositoryWork,
) -> Sequence[IService]:
    """Return what runs while the server is ready."""
    clock = runtime.reactor

    def used(identity: Identity) -> None:
        mirrors.usage.used(identity)
        snapshots.history.asked(identity)

    return [
        Periodic(
            name="first looks",
            interval=_LOOKS_INTERVAL,
            work=partial(look_through, mirrors.collection),
            reactor=clock,
            now=True,
        ),
        snapshots.scheduler,
        Periodic(name="look at the state directory", interval=_WATCH_INTERVAL, work=watch.look, reactor=clock),
        Periodic(
            name="leftovers", interval=_WATCH_INTERVAL, work=partial(runtime.threads, mirrors.root.sweep), reactor=clock
        ),
        Periodic(name="fleet", interval=BEAT, work=fleet.beat, reactor=clock, now=True),
        Periodic(name="sessions", interval=BEAT, work=sessions.share, reactor=clock),
        Periodic(name="traffic", interval=_TRAFFIC_STEP, work=views.traffic.sample, reactor=clock),
        Periodic(name="events", interval=_EVENTS_INTERVAL, work=views.events.save, reactor=clock),
        Periodic(name="tidying", interval=_TIDY_INTERVAL, work=mirrors.tidying.tidy, reactor=clock, now=True),
        Periodic(name="scrub", interval=scrub.turn_interval, work=scrub.turn, reactor=clock),
        *make_prefetching(runtime, upstream=upstream, bring=work.bring, used=used),
        Periodic(name="cache probe", interval=_PROBE_INTERVAL, work=store.cache.probe, reactor=clock),
        Periodic(
            name="condition check",
            interval=_CONDITIONS_INTERVAL,
            work=ConditionCheck(records=store.records).look,
            reactor=clock,
            now=True,
        ),
        *_bucket_rules(runtime),
        Periodic(name="clone counts", interval=_COUNT_INTERVAL, work=store.clones.flush, reactor=clock),
        Periodic(
            name="outdated packs",
            interval=_OUTDATED_INTERVAL,
            work=store.pack_cache.kept.drop_given_up,
            reactor=clock,
        ),
        Periodic(name="cache sweep", interval=_SWEEP_INTERVAL, work=store.cache.sweep, reactor=clock),
    ]


async def look_through(mirrors: Mirrors) -> None:
    """Look at the mirrors that an earlier run has left and that nobody has asked for."""
    if not mirrors.first_looks.unseen:
        return
    # Nothing of what mirrors are made of is garbage, and looking through what thousands are made of holds all up. What
    # requests leave meanwhile is young, and goes: a disk may take minutes.
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, _NO_COLLECTION)
    try:
        await mirrors.first_looks.look_through()
    finally:
        gc.set_threshold(young, middle, old)
    if len(mirrors.known()) >= _VERY_MANY:
        gc.freeze()


def make_scrub(runtime: Runtime, store: StoreParts, mirrors: MirrorParts) -> Scrub:
    """Make what reads all that is kept once in a while."""
    git = runtime.settings.git
    return Scrub(
        areas=[
            ("mirrors", partial(scrub, mirrors.collection)),
            ("kept packs", store.pack_cache.kept.scrub),
            ("cached objects", store.cache.scrub),
        ],
        interval=git.scrub_interval,
        rate=git.scrub_rate,
        file=runtime.state / "scrubbed.json",
        reactor=runtime.reactor,
        clock=runtime.clock,
        threads=runtime.threads,
    )


def _bucket_rules(runtime: Runtime) -> Sequence[IService]:
    """Return what looks at the rules of each bucket whose credentials the config names, at the start and daily."""
    checks = make_bucket_checks(runtime.settings.cache, runtime.store_threads, runtime.clock)
    clock = runtime.reactor
    return [
        Periodic(name="bucket rules", interval=_RULES_INTERVAL, work=one.look, reactor=clock, now=True)
        for one in checks
    ]


def shell(runtime: Runtime, namespace: Mapping[str, Any]) -> Sequence[IService]:
    """Return the manhole, if the config asks for one.

    :param namespace: what can be named in it.
    """
    manhole = runtime.settings.manhole
    if manhole.listen is None or manhole.authorized_keys is None:
        return []
    from cachew.server.manhole import Manhole  # an SSH server, which few want

    return [
        Manhole(
            reactor=runtime.reactor,
            listen=manhole.listen,
            authorized_keys=manhole.authorized_keys,
            host_key=runtime.state / "manhole-host-key",
            namespace=dict(namespace),
        )
    ]


def closing(
    runtime: Runtime,
    *,
    upstream: UpstreamParts,
    store: StoreParts,
    mirrors: MirrorParts,
    snapshots: SnapshotParts,
    web: WebParts,
) -> Sequence[Step]:
    """Return what is closed at the end, in this order."""

    async def count_clones() -> None:
        last = Deferred.fromCoroutine(store.clones.flush()).addTimeout(_LAST_COUNT, runtime.reactor)
        with suppress(DeferredTimeout):
            await last

    async def stop_store_threads() -> None:
        runtime.store_pool.stop()

    async def leave_state() -> None:
        runtime.state_lock.release()

    return [
        snapshots.productions.stop,
        count_clones,
        runtime.background.stop,
        mirrors.mirroring.stop,
        mirrors.instances.stop,
        mirrors.verdicts.stop,
        mirrors.freshness.questions.stop,
        store.pack_cache.stop,
        runtime.sender.stop,
        runtime.processes.stop,
        upstream.stop,
        web.opa_connections.closeCachedConnections,
        mirrors.public.flush,
        mirrors.usage.save,
        store.cache.stop,
        stop_store_threads,
        leave_state,
    ]


def make_directories(state: Path) -> None:
    """Make what lies in the state directory, and remove what an earlier run was in the middle of."""
    for name in DIRECTORIES:
        (state / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for stray in (*(state / "spools").iterdir(), *state.glob(UNFINISHED)):
        remove(stray)
