"""What is made of mirrors: archives, bundles and their schedule."""

import socket
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachew.config.cachetiers import S3Tier
from cachew.config.settings import Settings
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.commands import GitCommands
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.readiness import ReadyRepositories
from cachew.plumbing.jobs import Slots
from cachew.replicas.leases import Leases
from cachew.server.cacheparts import StoreParts
from cachew.server.mirrorparts import MirrorParts
from cachew.server.places import making_slots
from cachew.server.runtime import Runtime
from cachew.server.upstreamparts import UpstreamParts
from cachew.snapshots.archive import Archiver
from cachew.snapshots.bundle import Bundles
from cachew.snapshots.bundlecommands import BundleCommands
from cachew.snapshots.bundlestore import BundleStore
from cachew.snapshots.chores import Chores
from cachew.snapshots.estimates import Estimates
from cachew.snapshots.lfsarchive import LfsMaker
from cachew.snapshots.packbundle import PackBundles
from cachew.snapshots.productions import Productions
from cachew.snapshots.schedule import Intervals
from cachew.snapshots.scheduler import Scheduler
from cachew.snapshots.scratch import Scratch
from cachew.snapshots.seed import MirrorCheck, MirrorMaker, Seeder
from cachew.snapshots.sharing import SharedWork
from cachew.snapshots.store import SnapshotMaker, Snapshots
from cachew.snapshots.storedproduction import Means
from cachew.snapshots.taskhistory import TaskHistory
from cachew.snapshots.upkeep import Upkeep
from cachew.snapshots.variants import LFS, MIRROR, SNAPSHOT
from cachew.snapshots.withdrawal import Withdrawal
from cachew.upstream.lfsdownloads import LfsDownloads


@dataclass(frozen=True, kw_only=True)
class SnapshotParts:
    """What is made of mirrors.

    :param archives: snapshots of every kind.
    :param bundles: the bundles that bring a snapshot up to date.
    :param bundle_store: the bundle lists.
    :param history: what the schedule has done, and what is asked for.
    :param withdraw: removes what was made of an instance that has ended.
    :param leases: who works on what.
    :param follow: has them follow other settings.
    """

    archives: Snapshots
    bundles: Bundles
    bundle_store: BundleStore
    productions: Productions
    scheduler: Scheduler
    history: TaskHistory
    withdraw: Callable[[Instance], Coroutine[Any, Any, None]]
    leases: Leases
    follow: Callable[[Settings], None]


def make_check(runtime: Runtime, commands: GitCommands) -> MirrorCheck:
    """Make what says whether a mirror is whole."""
    return MirrorCheck(processes=runtime.processes, commands=commands)


def make_seeder(runtime: Runtime, *, store: StoreParts, check: MirrorCheck) -> Seeder:
    """Make what fills new mirrors from mirror snapshots."""
    return Seeder(cache=store.cache, check=check, threads=runtime.threads, metrics=runtime.metrics)


def make_snapshots(
    runtime: Runtime,
    *,
    upstream: UpstreamParts,
    commands: GitCommands,
    making: Slots,
    store: StoreParts,
    mirrors: MirrorParts,
    check: MirrorCheck,
) -> SnapshotParts:
    """Make what makes archives and bundles, and their schedule.

    :param making: places for what is made.
    """
    estimates = Estimates(size=_sizes(mirrors.collection))
    productions = Productions(
        means=Means(
            cache=store.cache,
            scratch=Scratch(path=runtime.state / "scratch", threads=runtime.threads),
            slots=making,
            reactor=runtime.reactor,
            clock=runtime.clock,
            timeout=runtime.settings.git.snapshot_timeout,
            estimates=estimates,
        )
    )
    archives = _archives(runtime, upstream, commands, store, mirrors, productions, check)
    git = BundleCommands(processes=runtime.processes, commands=commands)
    bundles = Bundles(
        cache=store.cache,
        productions=productions,
        git=git,
        ready_mirror=mirrors.mirroring.made,
        upstream=mirrors.staleness,
        clock=runtime.clock,
        ttl=runtime.settings.git.bundle_cache_ttl,
    )
    bundle_store = BundleStore(
        cache=store.cache,
        productions=productions,
        git=git,
        packs=PackBundles(
            processes=runtime.processes,
            commands=commands,
            threads=runtime.threads,
            ready_mirror=mirrors.mirroring.present,
            shared=_is_shared(runtime.settings),
        ),
        ready_mirror=mirrors.mirroring.present,
        clock=runtime.clock,
        in_thread=runtime.threads,
    )
    upkeep = _upkeep(runtime, mirrors, archives, bundle_store)
    leases = _leases(runtime, store)
    shared = _shared_work(runtime, store, mirrors, upkeep, leases)
    history = TaskHistory(
        clock=runtime.clock,
        threads=runtime.threads,
        file=runtime.state / "schedule.json",
        seed=_replica(runtime.state),
        intervals=_intervals(runtime.settings),
    )
    scheduler = Scheduler(
        repositories=ReadyRepositories(mirrors=mirrors.collection, clock=runtime.clock),
        known=mirrors.collection.first_looks.over,
        perform=shared.perform,
        slots=making_slots(runtime, queue_limit=1_000_000),
        reactor=runtime.reactor,
        history=history,
        is_long=estimates.is_long,
    )
    withdrawal = Withdrawal(cache=store.cache, bundles=bundle_store, productions=productions)

    async def withdraw(instance: Instance) -> None:
        scheduler.forget(instance.identity)
        await withdrawal.withdraw(instance)

    def follow(new: Settings) -> None:
        scheduler.replace(_intervals(new))
        upkeep.keep_for(new.git.snapshot_max_age)

    return SnapshotParts(
        archives=archives,
        bundles=bundles,
        bundle_store=bundle_store,
        productions=productions,
        scheduler=scheduler,
        history=history,
        withdraw=withdraw,
        leases=leases,
        follow=follow,
    )


def _sizes(mirrors: Mirrors) -> Callable[[str], int]:
    def size(name: str) -> int:
        mirror = mirrors.known_as(Identity.from_name(name))
        return mirror.place.repository.ledger.size if mirror is not None and mirror.life.ready else 0

    return size


def _archives(
    runtime: Runtime,
    upstream: UpstreamParts,
    commands: GitCommands,
    store: StoreParts,
    mirrors: MirrorParts,
    productions: Productions,
    check: MirrorCheck,
) -> Snapshots:
    git = runtime.settings.git
    archiver = Archiver(
        processes=runtime.processes,
        commands=commands,
        threads=runtime.threads,
        clock=runtime.clock,
        timeout=git.snapshot_timeout,
    )
    return Snapshots(
        cache=store.cache,
        productions=productions,
        makers={
            SNAPSHOT: SnapshotMaker(archiver=archiver),
            MIRROR: MirrorMaker(check=check, threads=runtime.threads),
            LFS: LfsMaker(
                processes=runtime.processes,
                commands=commands,
                threads=runtime.threads,
                downloads=LfsDownloads(
                    client=upstream.client, remotes=upstream.remotes, posts=upstream.posts, clock=runtime.clock
                ),
                reactor=runtime.reactor,
                timeout=git.lfs_timeout,
            ),
        },
        ready_mirror=mirrors.mirroring.made,
    )


def _upkeep(runtime: Runtime, mirrors: MirrorParts, archives: Snapshots, bundle_store: BundleStore) -> Upkeep:
    chores = Chores(
        find_mirror=mirrors.collection.ready,
        refresh=mirrors.staleness.refresh,
        bundles=bundle_store,
    )
    return Upkeep(
        snapshots=archives,
        find_mirror=mirrors.collection.ready,
        refresh=mirrors.staleness.refresh,
        chores={"repack": chores.repack, "bundles": chores.update_bundles},
        clock=runtime.clock,
        max_age=runtime.settings.git.snapshot_max_age,
    )


def _leases(runtime: Runtime, store: StoreParts) -> Leases:
    return Leases(
        records=store.records,
        holder=_replica(runtime.state),
        reactor=runtime.reactor,
        clock=runtime.clock,
        duration=runtime.settings.git.replica_timeout,
        unique=lambda: uuid.uuid4().hex,
    )


def _shared_work(
    runtime: Runtime, store: StoreParts, mirrors: MirrorParts, upkeep: Upkeep, leases: Leases
) -> SharedWork:
    return SharedWork(
        leases=leases,
        progress=store.progress,
        work=upkeep.perform,
        own=frozenset({"repack"}),
        instance_of=mirrors.instances.id_of,
        clock=runtime.clock,
        metrics=runtime.metrics,
    )


def _intervals(settings: Settings) -> Intervals:
    git, shared = settings.git, _is_shared(settings)
    return Intervals(
        always={
            SNAPSHOT: git.snapshot_interval,
            # It is there for other replicas; this one has the mirror.
            MIRROR: git.mirror_snapshot_interval if shared else 0.0,
            LFS: git.snapshot_interval if git.lfs_snapshots else 0.0,
            "bundles": git.bundle_interval,
            "repack": git.repack_interval,
        },
        wanted=git.snapshot_interval,
        forget=git.snapshot_max_age,
        while_asked=frozenset({SNAPSHOT, LFS, "bundles"}),
        asked_for=git.artefacts_for,
    )


def _is_shared(settings: Settings) -> bool:
    """Say whether other replicas have what is made here."""
    return any(isinstance(tier, S3Tier) for tier in settings.cache)


def _replica(state: Path) -> str:
    """Return what tells this replica from others, for the jitter of its schedule."""
    return f"{socket.gethostname()}:{state}"
