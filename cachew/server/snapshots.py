"""Everything that is made of mirrors, put together: archives, bundles, their routes and their schedule."""

import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReactorTime

from cachew.cache.interface import Cache
from cachew.config.settings import Settings
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.staleness import Staleness
from cachew.plumbing.background import Background
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import Threads
from cachew.plumbing.wallclock import WallClock
from cachew.replicas.interface import Records
from cachew.replicas.leases import Leases
from cachew.replicas.progress import Progress
from cachew.snapshots.archive import Archiver
from cachew.snapshots.bundle import Bundles
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.lfs import LfsMaker
from cachew.snapshots.production import Productions
from cachew.snapshots.scheduler import Intervals, Scheduler
from cachew.snapshots.seed import MirrorCheck, MirrorMaker, Seeder
from cachew.snapshots.sharing import SharedWork
from cachew.snapshots.store import SnapshotMaker, Snapshots
from cachew.snapshots.upkeep import Upkeep
from cachew.snapshots.variants import LFS, MIRROR, SNAPSHOT, Variant
from cachew.upstream.remote import Remotes
from cachew.web.snapshots import SnapshotRoutes


@dataclass(frozen=True)
class Artefacts:
    """What is made of mirrors."""

    snapshots: Snapshots
    routes: SnapshotRoutes
    scheduler: Scheduler
    productions: Productions
    seeder: Seeder
    staleness: Staleness
    bundle_store: BundleStore

    async def start(self) -> None:
        """Remove what an earlier run left half-made."""
        await self.productions.start()

    async def stop(self) -> None:
        """Give up what is being made."""
        await self.productions.stop()

    async def make_now(self, identity: Identity, variant: Variant) -> None:
        """Make an archive though none is due."""
        await self.snapshots.produce(identity, variant).ended()

    async def make_bundles(self, identity: Identity) -> None:
        """Bring a repository's bundle list up to date though it isn't due."""
        await self.bundle_store.update(identity)


def make_artefacts(
    *,
    settings: Settings,
    cache: Cache,
    mirrors: Mirrors,
    freshness: Freshness,
    remotes: Remotes,
    processes: Processes,
    commands: GitCommands,
    threads: Threads,
    background: Background,
    clock: IReactorTime,
    wall: WallClock,
    metrics: Metrics,
    is_https: Callable[[Any], bool],
    records: Records,
    progress: Progress,
    slots: Slots,
) -> Artefacts:
    """Put the parts together; see the module."""
    git = settings.git
    productions = Productions(
        cache=cache,
        scratch=settings.state / "scratch",
        slots=slots,
        clock=wall,
        threads=threads,
        timeout=git.snapshot_timeout,
    )
    staleness = Staleness(freshness=freshness, mirrors=mirrors, remotes=remotes, background=background)
    check = MirrorCheck(processes=processes, commands=commands)
    archiver = Archiver(processes=processes, commands=commands, threads=threads, timeout=git.snapshot_timeout)
    snapshots = Snapshots(
        cache=cache,
        productions=productions,
        makers={
            SNAPSHOT: SnapshotMaker(archiver=archiver),
            MIRROR: MirrorMaker(check=check, threads=threads),
            LFS: LfsMaker(
                processes=processes,
                commands=commands,
                threads=threads,
                credentials=lambda mirror: remotes.of(mirror.identity).git_environment(),
                timeout=git.lfs_timeout,
            ),
        },
        ready_mirror=mirrors.made,
    )
    bundles = Bundles(
        cache=cache,
        productions=productions,
        processes=processes,
        commands=commands,
        ready_mirror=mirrors.made,
        upstream=staleness,
        clock=clock,
        ttl=git.bundle_cache_ttl,
    )
    store = BundleStore(
        cache=cache,
        productions=productions,
        bundles=bundles,
        processes=processes,
        commands=commands,
        ready_mirror=mirrors.made,
        clock=wall,
    )

    def find(identity: Identity) -> Mirror | None:
        mirror = mirrors.find(identity)
        return mirror if mirror is not None and mirror.ready else None

    async def repack(identity: Identity) -> bool:
        mirror = find(identity)
        # A single pack has nothing to be joined with, and what it holds has been fetched or repacked as a whole.
        if mirror is not None and mirror.repository.pack_count() > 1:
            await mirror.maintenance.repack()
        return mirror is not None

    async def update_bundles(identity: Identity) -> bool:
        await staleness.refresh(identity)
        return await store.update(identity)

    upkeep = Upkeep(
        snapshots=snapshots,
        find_mirror=find,
        refresh=staleness.refresh,
        chores={"repack": repack, "bundles": update_bundles},
        clock=wall,
        max_age=git.snapshot_max_age,
    )
    shared = SharedWork(
        leases=Leases(
            records=records,
            holder=_replica(settings.state),
            clock=clock,
            duration=git.replica_timeout,
            unique=lambda: uuid.uuid4().hex,
        ),
        progress=progress,
        work=upkeep.perform,
        own=frozenset({"repack"}),
        clock=wall,
        metrics=metrics,
    )
    scheduler = Scheduler(
        intervals=Intervals(
            always={
                SNAPSHOT: git.snapshot_interval,
                MIRROR: git.mirror_snapshot_interval,
                LFS: git.snapshot_interval if git.lfs_snapshots else 0.0,
                "bundles": git.snapshot_interval,
                "repack": git.repack_interval,
            },
            wanted=git.snapshot_interval,
            forget=git.snapshot_max_age,
        ),
        repositories=lambda: [mirror.identity for mirror in mirrors if mirror.ready],
        perform=shared.perform,
        slots=Slots(limit=git.snapshot_concurrency, queue_limit=1_000_000),
        clock=wall,
        steady=clock.seconds,
        threads=threads,
        file=settings.state / "schedule.json",
        seed=_replica(settings.state),
    )
    routes = SnapshotRoutes(
        snapshots=snapshots,
        bundles=bundles,
        bundle_store=store,
        find_mirror=find,
        background=background,
        check_staleness=staleness.check,
        requested=lambda identity, variant: scheduler.want(identity, variant.name),
        warm=scheduler.warm,
        is_https=is_https,
    )
    seeder = Seeder(cache=cache, check=check, threads=threads, metrics=metrics)
    return Artefacts(snapshots, routes, scheduler, productions, seeder, staleness, store)


def _replica(state: Path) -> str:
    """Return what tells this replica from others, for the jitter of its schedule."""
    return f"{socket.gethostname()}:{state}"
