"""The composition root: the one place where the parts meet.

Nothing is decided here. Each part is made by a module of its own, out of its settings and the parts that were made
before it, so that the order of the lines is the direction in which everything depends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prometheus_client.registry import Collector
from twisted.application.service import IService

from cachew.config.settings import Settings
from cachew.http.site import make_site
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.budget import Budget
from cachew.replicas.fleet import Fleet
from cachew.server.announcement import Announcement
from cachew.server.cacheparts import StoreParts, make_store
from cachew.server.environment import Environment
from cachew.server.fleetparts import make_fleet
from cachew.server.gauges import OpenGauges, ServerGauges, StoreGauges, WorkGauges
from cachew.server.gitparts import make_commands
from cachew.server.lifecycle import Patience, Phases, Server
from cachew.server.listeners import Listeners
from cachew.server.mirrorparts import MirrorParts, make_mirrors
from cachew.server.packparts import make_packs
from cachew.server.places import Places, make_places
from cachew.server.reload import Reload
from cachew.server.runtime import Runtime, make_runtime
from cachew.server.snapshotparts import SnapshotParts, make_check, make_seeder, make_snapshots
from cachew.server.startup import closing, jobs, make_directories, make_scrub, opening, shell
from cachew.server.statewatch import StateWatch
from cachew.server.statusparts import StatusParts, make_status, shell_names
from cachew.server.telemetry import make_telemetry
from cachew.server.upstreamparts import UpstreamParts, make_upstream
from cachew.server.views import make_views
from cachew.server.watchdog import Notifier, Watchdog
from cachew.server.webparts import WebParts, limits_of, make_web
from cachew.snapshots.variants import MIRROR, SNAPSHOT


@dataclass(frozen=True, kw_only=True)
class Parts:
    """All parts of a server, put together.

    :param status: what those see and do who look after it.
    :param fleet: the replicas.
    :param server: starts and stops it.
    """

    runtime: Runtime
    upstream: UpstreamParts
    store: StoreParts
    mirrors: MirrorParts
    snapshots: SnapshotParts
    web: WebParts
    status: StatusParts
    fleet: Fleet
    server: Server


def make_service(*, settings: Settings, reactor: Any, environment: Environment) -> IService:
    """Make the server, ready to be started.

    :param settings: the checked config; its state directory is absolute.
    :param reactor: the reactor.
    :param environment: facts about the machine and the process.
    :raise StateInUse: when another server has the state directory.
    """
    return compose(make_runtime(settings, reactor, environment)).server


def compose(runtime: Runtime) -> Parts:
    """Put a server together."""
    make_directories(runtime.state)
    commands, places = make_commands(runtime), make_places(runtime)
    store = make_store(runtime)
    upstream = make_upstream(runtime, records=store.records)
    check = make_check(runtime, commands)
    packs = make_packs(
        runtime, store=store, serving=places.serving, find=lambda identity: mirrors.collection.ready(identity)
    )

    async def withdraw(instance: Instance) -> None:
        packs.preparation.forget(instance)
        await snapshots.withdraw(instance)

    views = make_views(runtime)
    mirrors = make_mirrors(
        runtime,
        remotes=upstream.remotes,
        posts=upstream.posts,
        commands=commands,
        places=places,
        records=store.records,
        seeder=make_seeder(runtime, store=store, check=check),
        withdraw=lambda name, since: snapshots.productions.withdraw(name, since),
        withdraw_instance=withdraw,
        grown=packs.preparation.grown,
        on_changed=lambda identity: status.briefs.changed(identity),
        on_asked=lambda identity, result: asked(identity, result),
    )
    snapshots = make_snapshots(
        runtime,
        upstream=upstream,
        commands=commands,
        making=places.making,
        store=store,
        mirrors=mirrors,
        check=check,
    )
    status = make_status(
        runtime,
        upstream=upstream,
        store=store,
        mirrors=mirrors,
        snapshots=snapshots,
        places=places,
        unready=lambda: server.unready or watch.trouble,
    )

    def asked(identity: Identity, result: object) -> None:
        status.briefs.changed(identity)
        views.asked(identity, result)

    fleet = make_fleet(runtime, store=store, snapshots=snapshots, status=status, views=views)
    web = make_web(
        runtime,
        upstream=upstream,
        store=store,
        mirrors=mirrors,
        snapshots=snapshots,
        mirrored=packs.mirrored,
        status=status,
        reload=lambda: reload(),
        views=views,
        fleet=fleet,
    )
    scrub = make_scrub(runtime, store, mirrors)
    reload = Reload(
        read=runtime.environment.read_settings or (lambda: runtime.settings),
        in_thread=runtime.threads,
        in_force=runtime.in_force,
        followers=[
            upstream.follow,
            mirrors.follow,
            snapshots.follow,
            web.follow,
            lambda new: scrub.replace(interval=new.git.scrub_interval, rate=new.git.scrub_rate),
            lambda new: _follow_level(runtime, new),
        ],
    )
    watch = StateWatch(
        state=runtime.state,
        lock=runtime.state_lock,
        restore=web.token.look,
        threads=runtime.threads,
    )
    telemetry = make_telemetry(runtime.settings.tracing, version=runtime.environment.version, threads=runtime.threads)
    listeners = Listeners(
        reactor=runtime.reactor,
        endpoints=runtime.settings.listen,
        site=make_site(
            telemetry.root(web.app),
            reactor=runtime.reactor,
            limits=limits_of(runtime.settings, runtime.environment.descriptors),
            sender=runtime.sender,
            bodies=web.bodies,
            client_of=web.client_of,
        ),
    )
    announcement = Announcement(
        listeners=listeners,
        public_url=runtime.settings.public_url,
        login_code=web.access.new_login_code,
        reload=reload,
    )
    phases = Phases(
        opening=[
            announcement.announce,
            runtime.environment.log.open,
            views.load,
            web.sessions.begin,
            *opening(runtime, upstream=upstream, store=store, mirrors=mirrors, snapshots=snapshots),
            status.stores.count,
        ],
        closing=[
            views.save,
            telemetry.close,
            *closing(runtime, upstream=upstream, store=store, mirrors=mirrors, snapshots=snapshots, web=web),
            runtime.environment.log.close,
        ],
        jobs=[
            *shell(
                runtime,
                shell_names(runtime, store=store, mirrors=mirrors, snapshots=snapshots, status=status),
            ),
            *jobs(
                runtime,
                upstream=upstream,
                store=store,
                mirrors=mirrors,
                snapshots=snapshots,
                views=views,
                fleet=fleet,
                sessions=web.sessions,
                watch=watch,
                scrub=scrub,
                work=status.work,
            ),
        ],
        hang_up=announcement.renew,
    )
    server = Server(
        reactor=runtime.reactor,
        listeners=listeners,
        pool=runtime.pool,
        phases=phases,
        patience=Patience(runtime.settings.shutdown_readiness_delay, runtime.settings.shutdown_timeout),
        on_failure=runtime.environment.on_failed_start,
        watchdog=Watchdog(
            reactor=runtime.reactor,
            clock=runtime.clock,
            notify=Notifier(runtime.environment.notify_socket),
            patience=runtime.environment.watchdog_patience,
            stall_report=runtime.settings.stall_report,
            metrics=runtime.metrics,
        ),
    )
    for gauges in _gauges(runtime, status, places, mirrors, snapshots, web.bodies.budget):
        runtime.metrics.registry.register(gauges)
    return Parts(
        runtime=runtime,
        upstream=upstream,
        store=store,
        mirrors=mirrors,
        snapshots=snapshots,
        web=web,
        status=status,
        fleet=fleet,
        server=server,
    )


def _follow_level(runtime: Runtime, new: Settings) -> None:
    """Take the config's level where it has changed: one that was set by hand outlives other changes."""
    if new.log_level != runtime.in_force.now.log_level:
        runtime.environment.log.level = new.log_level


def _gauges(
    runtime: Runtime,
    status: StatusParts,
    places: Places,
    mirrors: MirrorParts,
    snapshots: SnapshotParts,
    bodies: Budget,
) -> Sequence[Collector]:
    return [
        ServerGauges(
            version=runtime.environment.version,
            is_ready=lambda: not status.server.unready(),
            log_dropped=runtime.environment.log_dropped,
            ages=lambda: {
                "check": status.checks.oldest(mirrors.collection.known()),
                "snapshot": snapshots.scheduler.oldest(SNAPSHOT),
                "mirror-snapshot": snapshots.scheduler.oldest(MIRROR),
            },
        ),
        WorkGauges(
            places=places.by_kind(),
            processes=runtime.processes,
        ),
        OpenGauges(
            descriptors=runtime.environment.descriptors,
            indexes=mirrors.indexes,
            listings=mirrors.listings,
            bodies=bodies,
        ),
        StoreGauges(caches=status.stores.last, state=runtime.state),
    ]
