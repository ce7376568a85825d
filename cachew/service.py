"""The composition root: the one place where the parts meet.

Nothing is decided here; each function makes one side of the house out of the settings and of what the outermost layer
has found around it.
"""

import random
import secrets
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from treq.client import HTTPClient
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.threadpool import ThreadPool
from twisted.web.client import Agent, HTTPConnectionPool

from cachew.artefacts import Artefacts, make_artefacts
from cachew.lifecycle import Patience, Server
from cachew.manhole import Manhole
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.commands import GitCommands, GitSettings
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.repository import GitRunner
from cachew.mirrors.supply import Supply
from cachew.mirrors.tidying import Tidying
from cachew.occupation import Occupation
from cachew.operations import Running
from cachew.plumbing.background import Background
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.periodic import Periodic
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import PatientPool, Threads
from cachew.plumbing.wallclock import WallClock
from cachew.replicas.progress import Progress
from cachew.replicas.secret import SharedSecret
from cachew.replicas.tally import Tally
from cachew.settings import Settings
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.lfsobjects import LfsObjects
from cachew.smarthttp.packcache import PackCache
from cachew.surroundings import Surroundings
from cachew.tiers import make_cache, make_records
from cachew.upstream.agent import make_agents
from cachew.upstream.backoff import Backoff
from cachew.upstream.client import Timeouts, UpstreamClient
from cachew.upstream.credentials import Credentials
from cachew.upstream.hosts import Hosts
from cachew.upstream.listing import Listing
from cachew.upstream.pins import Pins
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.remote import Remotes
from cachew.upstream.verdicts import Terms, Verdicts
from cachew.vault import make_credentials
from cachew.web.access import TrustedNetworkGuard, UpstreamGuard
from cachew.web.admin import AdminRoutes
from cachew.web.app import App, route_path
from cachew.web.dashboard import DashboardRoutes
from cachew.web.ensure import EnsureRefs
from cachew.web.git import GitRoutes, Guard
from cachew.web.lfs import LfsRoutes
from cachew.web.limits import Limits
from cachew.web.login import AdminAccess, admin_token
from cachew.web.objects import ObjectRoutes
from cachew.web.opa import ExternalDecision
from cachew.web.packs import Packs
from cachew.web.passthrough import PassThrough
from cachew.web.policy import Policy
from cachew.web.requests import make_site
from cachew.web.uploadpack import UploadPack
from cachew.web.webhook import WebhookRoutes

_DASHBOARD_STEP = 10.0
_SWEEP_INTERVAL = 300.0
_PROBE_INTERVAL = 15.0
_COUNT_INTERVAL = 30.0
_LAST_COUNT = 2.0
_TIDY_INTERVAL = 600.0


@dataclass(frozen=True)
class Ground:
    """What everything stands on.

    :param reactor: the reactor; its clock is monotonic.
    :param wall: the time of day as a clock.
    :param store_pool: threads that calls to object stores may hold for long.
    """

    settings: Settings
    surroundings: Surroundings
    reactor: Any
    wall: WallClock
    metrics: Metrics
    pool: ThreadPool
    threads: Threads
    store_pool: ThreadPool
    store_threads: Threads
    processes: Processes
    background: Background
    occupation: Occupation

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.settings.state


@dataclass(frozen=True)
class Outside:
    """The way to upstreams."""

    client: UpstreamClient
    credentials: Credentials
    remotes: Remotes
    stop: Any


def make_service(*, settings: Settings, reactor: Any, surroundings: Surroundings) -> IService:
    """Make the server, ready to be started.

    :param settings: the checked config; its state directory is absolute.
    :param reactor: the reactor.
    :param surroundings: facts about the machine and the process.
    """
    return House(ground_of(settings, reactor, surroundings)).server


def ground_of(settings: Settings, reactor: Any, surroundings: Surroundings) -> Ground:
    """Make what everything stands on; see :func:`make_service`."""
    occupation = Occupation(settings.state)
    occupation.end_leftovers()
    pool = ThreadPool(0, settings.limits.threads, "cachew")
    store_pool = PatientPool(0, settings.limits.store_threads, "cachew-store")
    return Ground(
        settings=settings,
        surroundings=surroundings,
        reactor=reactor,
        wall=WallClock(clock=reactor, now=surroundings.wall_clock),
        metrics=Metrics(),
        pool=pool,
        threads=Threads(reactor=reactor, pool=pool),
        store_pool=store_pool,
        store_threads=Threads(reactor=reactor, pool=store_pool),
        processes=Processes(reactor=reactor, mark=occupation.mark),
        background=Background(seconds=reactor.seconds),
        occupation=occupation,
    )


def _outside(ground: Ground) -> Outside:
    settings, reactor = ground.settings, ground.reactor
    urls: Mapping[str, str | None] = {name: upstream.url for name, upstream in settings.upstreams.items()}
    hosts = Hosts(upstreams=urls)
    agents = make_agents(
        reactor=reactor,
        hosts=hosts,
        connect_timeout=settings.git.connect_timeout,
        ca_files={
            urlsplit(upstream.url or f"https://{name}").hostname or name: upstream.ca_file
            for name, upstream in settings.upstreams.items()
            if upstream.ca_file
        },
    )
    client = UpstreamClient(
        reactor=reactor,
        agents=agents,
        hosts=hosts,
        backoff=Backoff(seconds=reactor.seconds, random=random.random),
        metrics=ground.metrics,
        timeouts=Timeouts(
            connect=settings.git.connect_timeout,
            check=settings.git.ref_check_timeout,
            first_byte=settings.git.first_byte_timeout,
            idle=settings.git.idle_timeout,
        ),
        listing_limit=settings.git.max_listing,
    )
    credentials = make_credentials(
        settings.credentials,
        agent=agents.pooled,
        processes=ground.processes,
        threads=ground.threads,
        clock=reactor,
        now=ground.surroundings.wall_clock,
        search_path=ground.surroundings.search_path,
    )
    pins = Pins(reactor=reactor, hosts=hosts, timeout=settings.git.connect_timeout)
    remotes = Remotes(url_for=hosts.url_for, client=client, credentials=credentials, pins=pins)
    return Outside(client, credentials, remotes, agents.stop)


class House:
    """All the parts, put together."""

    def __init__(self, ground: Ground) -> None:
        settings = ground.settings
        self.ground = ground
        self.outside = _outside(ground)
        self.policy = Policy(
            rules=settings.access.rule,
            proxies=settings.access.proxies,
            trust_loopback=settings.access.trust_loopback,
        )
        self.commands = GitCommands(
            GitSettings(
                path=ground.surroundings.search_path,
                home=ground.state / "home",
                threads=settings.git.pack_threads,
                window_memory=str(settings.git.pack_window_memory),
                ca_files={
                    u.url or f"https://{name}/": u.ca_file for name, u in settings.upstreams.items() if u.ca_file
                },
            )
        )
        self.serving_slots = Slots(
            limit=settings.git.max_processes or 2 * ground.surroundings.cores + 4,
            queue_limit=settings.git.queue_limit,
        )
        self.mirrors = self._mirrors()
        self.public = PublicRecord(
            path=ground.state / "public.json",
            now=ground.surroundings.wall_clock,
            grace=settings.access.public_grace,
            in_thread=ground.threads,
            background=ground.background,
        )
        self.verdicts = Verdicts(
            clock=ground.reactor,
            probe=lambda identity, authorization: self.freshness.probe(identity, authorization),
            public=self.public,
            key=secrets.token_bytes(32),
            terms=Terms(allow=settings.access.auth_ttl),
        )
        self.freshness = self._freshness()
        self.supply = Supply(freshness=self.freshness, clock=ground.reactor, wait=settings.git.fetch_wait)
        self.cache = make_cache(
            settings.cache,
            state=ground.state,
            clock=ground.reactor,
            wall=ground.wall,
            threads=ground.threads,
            store_threads=ground.store_threads,
            background=ground.background,
            metrics=ground.metrics,
        )
        self.records = make_records(settings.cache, ground.store_threads)
        self.progress = Progress(records=self.records, clock=ground.surroundings.wall_clock)
        self.clones = Tally(what="clones", progress=self.progress, now=ground.surroundings.wall_clock)
        self.artefacts = self._artefacts()
        self.tidying = Tidying(
            mirrors=self.mirrors,
            file=ground.state / "used.json",
            threads=ground.threads,
            now=ground.surroundings.wall_clock,
            limit=settings.git.mirror_limit,
            forget_after=settings.git.forget_after,
        )
        self.pack_cache = PackCache(
            directory=ground.state / "packs",
            limit=settings.pack_cache.limit,
            min_free=settings.pack_cache.min_free,
            threads=ground.threads,
            clock=ground.surroundings.wall_clock,
        )
        self.opa_connections = HTTPConnectionPool(ground.reactor)
        self.operations = self._operations()
        self.server = self._server()

    # --- mirrors ------------------------------------------------------------------------------------------------------

    def _mirrors(self) -> Mirrors:
        ground, git = self.ground, self.ground.settings.git
        return Mirrors(
            root=ground.state / "mirrors",
            remote=self.outside.remotes.of,
            git=GitRunner(
                processes=ground.processes,
                commands=self.commands,
                threads=ground.threads,
                fetch_timeout=git.fetch_timeout,
                clone_timeout=git.clone_timeout,
                fetches=Slots(limit=git.max_fetches, queue_limit=git.queue_limit),
            ),
            clock=ground.reactor,
            now=ground.surroundings.wall_clock,
            metrics=ground.metrics,
            background=ground.background,
            slots=Slots(limit=git.max_clones, queue_limit=git.queue_limit),
            seed=self._seed,
            on_ready=self._new_mirror,
            discovered=False,
            min_free=ground.settings.limits.min_free,
        )

    async def _seed(self, identity: Identity, directory: Path) -> bool:
        return await self.artefacts.seeder.restore(identity, directory)

    def _new_mirror(self, mirror: Mirror) -> None:
        self.ground.background.start(mirror.index_packs(), f"indexing of {mirror.identity.name}")

    def _freshness(self) -> Freshness:
        def fallback(identity: Identity) -> Listing | None:
            mirror = self.mirrors.find(identity)
            return mirror.listing if mirror is not None and mirror.ready else None

        return Freshness(
            remotes=self.outside.remotes,
            clock=self.ground.reactor,
            interval=self.ground.settings.git.ref_check_interval,
            metrics=self.ground.metrics,
            fallback=fallback,
            on_listing=self._listed,
            on_verdict=self.verdicts.record,
        )

    def _listed(self, identity: Identity, listing: Listing, started: float) -> None:
        mirror = self.mirrors.find(identity)
        if mirror is not None and mirror.ready and mirror.behind(listing):
            self.ground.background.start(self._follow(mirror, listing, started), f"fetch of {identity.name}")

    async def _follow(self, mirror: Mirror, listing: Listing, started: float) -> None:
        await mirror.sync(listing, started)
        await mirror.index_packs(bitmaps=False)

    # --- what is made of mirrors --------------------------------------------------------------------------------------

    def _artefacts(self) -> Artefacts:
        ground = self.ground
        return make_artefacts(
            settings=ground.settings,
            cache=self.cache,
            mirrors=self.mirrors,
            freshness=self.freshness,
            remotes=self.outside.remotes,
            processes=ground.processes,
            commands=self.commands,
            threads=ground.threads,
            background=ground.background,
            clock=ground.reactor,
            wall=ground.wall,
            metrics=ground.metrics,
            is_https=self.policy.is_https,
            records=self.records,
            progress=self.progress,
        )

    def _exec_path(self) -> Path:
        search_path = self.ground.surroundings.search_path
        done = subprocess.run(["git", "--exec-path"], env={"PATH": search_path}, capture_output=True, check=True)
        return Path(done.stdout.decode().strip())

    # --- the web ------------------------------------------------------------------------------------------------------

    def _guard(self) -> Guard:
        ground, access = self.ground, self.ground.settings.access
        if access.mode == "trusted-network":
            return TrustedNetworkGuard(
                credentials=self.outside.credentials, url_of=lambda identity: self.outside.remotes.of(identity).url
            )
        return UpstreamGuard(verdicts=self.verdicts, background=ground.background)

    def _git_routes(self, access: AdminAccess) -> GitRoutes:
        ground, git = self.ground, self.ground.settings.git
        passthrough = PassThrough(
            client=self.outside.client,
            remotes=self.outside.remotes,
            spools=ground.state / "spools",
            background=ground.background,
        )
        lfs = LfsRoutes(
            objects=LfsObjects(
                cache=self.cache,
                client=self.outside.client,
                spools=ground.state / "spools",
                min_free=ground.settings.limits.min_free,
                background=ground.background,
                metrics=ground.metrics,
            ),
            client=self.outside.client,
            passthrough=passthrough,
            remotes=self.outside.remotes,
            in_thread=ground.threads,
            now=ground.surroundings.wall_clock,
            key=SharedSecret(
                records=self.records,
                name="lfs-grants",
                own=secrets.token_bytes(32),
                seconds=ground.reactor.seconds,
                background=ground.background,
            ),
            is_https=self.policy.is_https,
        )
        backend = Backend(
            processes=ground.processes,
            exec_path=self._exec_path(),
            slots=self.serving_slots,
            home=ground.state / "home",
            search_path=ground.surroundings.search_path,
        )
        packs = Packs(
            cache=self.pack_cache,
            backend=backend,
            client=self.outside.client,
            remotes=self.outside.remotes,
            freshness=self.freshness,
            metrics=ground.metrics,
        )
        upload_pack = UploadPack(
            mirrors=self.mirrors,
            freshness=self.freshness,
            supply=self.supply,
            packs=packs,
            passthrough=passthrough,
            background=ground.background,
            metrics=ground.metrics,
            body_limit=git.max_request_body,
            bundle_uris=self.artefacts.routes.bundle_uris,
            cloned=self._cloned,
        )
        return GitRoutes(
            remotes=self.outside.remotes,
            guard=self._guard(),
            upload_pack=upload_pack,
            passthrough=passthrough,
            lfs=lfs,
            artefacts=self.artefacts.routes,
            ensure_refs=EnsureRefs(mirrors=self.mirrors, supply=self.supply),
            freshness=self.freshness,
            used=self.tidying.used,
            is_ours=lambda authorization: access.is_bearer(authorization) or self.policy.is_token(authorization),
            pushed=lambda identity: ground.background.start(
                self.operations.fetch(identity), f"fetch of {identity.name}"
            ),
        )

    def _operations(self) -> Running:
        ground = self.ground
        return Running(
            unready=lambda: self.server.unready,
            mirrors=self.mirrors,
            freshness=self.freshness,
            remotes=self.outside.remotes,
            snapshots=self.artefacts.snapshots,
            cache=self.cache,
            pack_cache=self.pack_cache,
            slots=self.serving_slots,
            background=ground.background,
            threads=ground.threads,
            metrics=ground.metrics,
            clock=ground.reactor,
            now=ground.surroundings.wall_clock,
            make=self.artefacts.make_now,
            usage=self.tidying,
            clones=self.clones,
        )

    def _admin_access(self) -> AdminAccess:
        admin = self.ground.settings.admin
        return AdminAccess(
            token=admin_token(admin.token_file, self.ground.state),
            host_names=admin.host_names,
            lifetime=admin.session,
            clock=self.ground.reactor,
            trusted=self.policy.trusted,
            is_rules_token=self.policy.is_token,
            is_https=self.policy.is_https,
        )

    def _decide(self) -> Callable[[Any], Awaitable[None]] | None:
        ground, access = self.ground, self.ground.settings.access
        if access.opa_url is None:
            return None
        agent = Agent(ground.reactor, connectTimeout=access.opa_timeout, pool=self.opa_connections)
        opa = ExternalDecision(
            url=access.opa_url, http=HTTPClient(agent), clock=ground.reactor, timeout=access.opa_timeout
        )
        return lambda request: opa.require(self.policy.asked(request), _peer_of(request))

    def _app(self, dashboard: DashboardRoutes, access: AdminAccess) -> App:
        ground, webhook = self.ground, self.ground.settings.webhook
        given = {
            "github": webhook.github_secret,
            "gitlab": webhook.gitlab_token,
            "gitea": webhook.gitea_secret,
        }
        return App(
            routes=[
                AdminRoutes(
                    access=access,
                    operations=self.operations,
                    metrics=ground.metrics,
                    levels=ground.surroundings.log_levels,
                ),
                dashboard,
                WebhookRoutes(
                    operations=self.operations,
                    secrets={forge: secret.get_secret_value() if secret else None for forge, secret in given.items()},
                    hosts={
                        urlsplit(upstream.url).netloc: name
                        for name, upstream in ground.settings.upstreams.items()
                        if upstream.url
                    },
                ),
                ObjectRoutes(cache=self.cache, limit=ground.settings.limits.max_object or None),
            ],
            git=self._git_routes(access).handle,
            admit=lambda request: _admit(request, self.policy, access),
            decide=self._decide(),
            client_of=self.policy.client_of,
            is_https=self.policy.is_https,
            hsts=ground.settings.hsts,
            metrics=ground.metrics,
            clock=ground.reactor,
            version=ground.surroundings.version,
        )

    # --- all of it ----------------------------------------------------------------------------------------------------

    def _server(self) -> Server:
        ground, settings = self.ground, self.ground.settings
        _make_directories(ground.state)
        access = self._admin_access()
        dashboard = DashboardRoutes(
            access=access, operations=self.operations, version=ground.surroundings.version
        )
        return Server(
            reactor=ground.reactor,
            endpoints=settings.listen,
            site=make_site(self._app(dashboard, access), reactor=ground.reactor, limits=_limits(settings)),
            pool=ground.pool,
            opening=[
                self._load_public,
                self.tidying.load,
                self._start_store_threads,
                self.cache.start,
                self.pack_cache.open,
                self.artefacts.start,
                self.mirrors.discover,
            ],
            closing=[
                self.artefacts.stop,
                self._count_clones,
                ground.background.stop,
                self.mirrors.stop,
                self.verdicts.stop,
                self.freshness.stop,
                self.pack_cache.stop,
                ground.processes.stop,
                self.outside.stop,
                self.opa_connections.closeCachedConnections,
                self.public.flush,
                self.tidying.save,
                self.cache.stop,
                self._stop_store_threads,
                self._leave_state,
            ],
            jobs=[
                *self._manhole(),
                self.artefacts.scheduler,
                Periodic(name="dashboard", interval=_DASHBOARD_STEP, work=dashboard.sample, clock=ground.reactor),
                Periodic(name="tidying", interval=_TIDY_INTERVAL, work=self.tidying.tidy, clock=ground.reactor),
                Periodic(name="cache probe", interval=_PROBE_INTERVAL, work=self.cache.probe, clock=ground.reactor),
                Periodic(name="clone counts", interval=_COUNT_INTERVAL, work=self.clones.flush, clock=ground.reactor),
                Periodic(name="cache sweep", interval=_SWEEP_INTERVAL, work=self.cache.sweep, clock=ground.reactor),
            ],
            patience=Patience(settings.shutdown_readiness_delay, settings.shutdown_timeout),
            on_failure=ground.surroundings.on_failed_start,
            login_path=lambda: f"/admin/login?code={access.new_login_code()}",
        )

    def _manhole(self) -> list[IService]:
        ground, manhole = self.ground, self.ground.settings.manhole
        if manhole.listen is None or manhole.authorized_keys is None:
            return []
        return [
            Manhole(
                reactor=ground.reactor,
                listen=manhole.listen,
                authorized_keys=manhole.authorized_keys,
                host_key=ground.state / "manhole-host-key",
                namespace={
                    "house": self,
                    "mirrors": self.mirrors,
                    "cache": self.cache,
                    "pack_cache": self.pack_cache,
                    "snapshots": self.artefacts.snapshots,
                    "freshness": self.freshness,
                    "metrics": ground.metrics,
                },
            )
        ]

    def _cloned(self, identity: Identity) -> None:
        self.ground.metrics.clones.labels(identity.name).inc()
        self.clones.note(identity.name)

    async def _count_clones(self) -> None:
        last = Deferred.fromCoroutine(self.clones.flush()).addTimeout(_LAST_COUNT, self.ground.reactor)
        with suppress(DeferredTimeout):
            await last

    async def _start_store_threads(self) -> None:
        self.ground.store_pool.start()

    async def _stop_store_threads(self) -> None:
        self.ground.store_pool.stop()

    async def _leave_state(self) -> None:
        self.ground.occupation.release()

    async def _load_public(self) -> None:
        await self.ground.threads(self.public.load)


def _admit(request: Any, policy: Policy, access: AdminAccess) -> None:
    """Apply the operator's rules; the object API is the admin's, and the admin pages look after themselves."""
    policy.admit(request)
    path = route_path(request)
    if path == "/api" or path.startswith("/api/"):
        access.require(request)


def _peer_of(request: Any) -> str:
    address = request.getClientAddress()
    return f"{request.remote_address}:{getattr(address, 'port', 0)}"


def _make_directories(state: Path) -> None:
    for name in ("", "home", "packs", "spools", "mirrors"):
        (state / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for stray in (state / "spools").iterdir():
        stray.unlink()


def _limits(settings: Settings) -> Limits:
    limits = settings.limits
    return Limits(
        line=limits.header_line,
        head=limits.header_size,
        headers=limits.header_count,
        head_timeout=limits.header_timeout,
        idle_timeout=limits.keep_alive,
        body_timeout=limits.body_timeout,
        write_timeout=limits.write_timeout,
        connections=limits.connections,
        connections_per_address=limits.connections_per_address,
    )
