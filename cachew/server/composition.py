"""The composition root: the one place where the parts meet.

Nothing is decided here; each function makes one side of the house out of the settings and of what the outermost layer
has found around it.
"""

import secrets
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.web.client import HTTPConnectionPool

from cachew.config.settings import Settings
from cachew.mirrors.collection import Mirrors
from cachew.mirrors.commands import GitCommands, GitSettings
from cachew.mirrors.freshness import Freshness
from cachew.mirrors.identity import Identity
from cachew.mirrors.mirror import Mirror
from cachew.mirrors.packindex import OpenIndexes
from cachew.mirrors.repository import GitRunner
from cachew.mirrors.tidying import Tidying
from cachew.mirrors.wants import Supply
from cachew.plumbing.jobs import Slots
from cachew.replicas.progress import Progress
from cachew.replicas.sightings import Sightings
from cachew.replicas.tally import Tally
from cachew.server.cache import make_cache, make_records
from cachew.server.environment import Surroundings
from cachew.server.gauges import Gauges
from cachew.server.runtime import Ground, ground_of
from cachew.server.snapshots import Artefacts, make_artefacts
from cachew.server.startup import Stages
from cachew.server.upstream import make_outside
from cachew.smarthttp.packcache import PackCache
from cachew.upstream.listing import Listing
from cachew.upstream.presented_credential import ClientsOwn, ServersOwn
from cachew.upstream.publicrecord import PublicRecord
from cachew.upstream.replica_verdicts import Elsewhere
from cachew.upstream.verdicts import Terms, Verdicts
from cachew.web.access.policy import Policy
from cachew.web.status import Operations

_FEWEST_MAPS = 16
_MOST_MAPS = 1024


def make_service(*, settings: Settings, reactor: Any, surroundings: Surroundings) -> IService:
    """Make the server, ready to be started.

    :param settings: the checked config; its state directory is absolute.
    :param reactor: the reactor.
    :param surroundings: facts about the machine and the process.
    """
    return House(ground_of(settings, reactor, surroundings)).server


def _maps_within(descriptors: int) -> int:
    """Return how many pack indexes may be mapped: most descriptors are for clients and what serves them."""
    return max(_FEWEST_MAPS, min(_MOST_MAPS, descriptors // 8))


class House:
    """All the parts, put together."""

    def __init__(self, ground: Ground) -> None:
        settings = ground.settings
        self.ground = ground
        self.outside = make_outside(ground)
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
                silence=max(settings.git.first_byte_timeout, settings.git.idle_timeout),
                ca_files={
                    u.url or f"https://{name}/": u.ca_file for name, u in settings.upstreams.items() if u.ca_file
                },
            )
        )
        self.serving_slots = Slots(
            limit=settings.git.max_processes or 2 * ground.surroundings.cores + 4,
            queue_limit=settings.git.queue_limit,
        )
        git = settings.git
        self.fetch_slots = Slots(limit=git.max_fetches, queue_limit=git.queue_limit)
        self.clone_slots = Slots(limit=git.max_clones, queue_limit=git.queue_limit)
        self.making_slots = Slots(limit=git.snapshot_concurrency, queue_limit=git.queue_limit)
        self.indexes = OpenIndexes(most_maps=_maps_within(ground.surroundings.descriptors))
        self.mirrors = self._mirrors()
        self.records = make_records(settings.cache, ground.store_threads)
        self.public = PublicRecord(
            path=ground.state / "public.json",
            now=ground.surroundings.wall_clock,
            grace=settings.access.public_grace,
            in_thread=ground.threads,
            background=ground.background,
            elsewhere=Elsewhere(
                sightings=Sightings(what="public", records=self.records, now=ground.surroundings.wall_clock),
                now=ground.surroundings.wall_clock,
                steady=ground.reactor.seconds,
                grace=settings.access.public_grace,
                background=ground.background,
            ),
        )
        self.verdicts = Verdicts(
            clock=ground.reactor,
            probe=lambda identity, authorization: self.freshness.probe(identity, authorization),
            public=self.public,
            key=secrets.token_bytes(32),
            terms=Terms(allow=settings.access.auth_ttl),
        )
        self.shown = self._shown()
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
        ground.metrics.registry.register(self._gauges())
        self.server = Stages(self).server()

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
                fetches=self.fetch_slots,
                indexes=self.indexes,
            ),
            clock=ground.reactor,
            now=ground.surroundings.wall_clock,
            metrics=ground.metrics,
            background=ground.background,
            slots=self.clone_slots,
            seed=self._seed,
            on_ready=self._new_mirror,
            discovered=False,
            min_free=ground.settings.limits.min_free,
        )

    async def _seed(self, identity: Identity, directory: Path) -> bool:
        return await self.artefacts.seeder.restore(identity, directory)

    def _new_mirror(self, mirror: Mirror) -> None:
        self.ground.background.start(mirror.maintenance.index_packs(), f"indexing of {mirror.identity.name}")

    def _shown(self) -> ClientsOwn | ServersOwn:
        async def own(identity: Identity) -> str | None:
            return await self.outside.remotes.of(identity).authorization()

        def mirrored(identity: Identity) -> bool:
            mirror = self.mirrors.find(identity)
            return mirror is not None and mirror.ready

        if self.ground.settings.access.mode == "trusted-network":
            return ServersOwn(own=own)
        return ClientsOwn(own=own, mirrored=mirrored)

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
            shown=self.shown.to_check,
        )

    def _listed(self, identity: Identity, listing: Listing, started: float) -> None:
        mirror = self.mirrors.find(identity)
        if mirror is not None and mirror.ready and mirror.behind(listing):
            self.ground.background.start(self._follow(mirror, listing, started), f"fetch of {identity.name}")

    async def _follow(self, mirror: Mirror, listing: Listing, started: float) -> None:
        await mirror.sync(listing, started)
        await mirror.maintenance.index_packs(bitmaps=False)

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
            slots=self.making_slots,
        )

    # --- the web ------------------------------------------------------------------------------------------------------

    def _operations(self) -> Operations:
        ground = self.ground
        return Operations(
            unready=lambda: self.server.unready,
            mirrors=self.mirrors,
            freshness=self.freshness,
            snapshots=self.artefacts.snapshots,
            cache=self.cache,
            pack_cache=self.pack_cache,
            slots=self.serving_slots,
            background=ground.background,
            threads=ground.threads,
            metrics=ground.metrics,
            clock=ground.reactor,
            now=ground.surroundings.wall_clock,
            fetch=self.artefacts.staleness.fetch,
            make=self.artefacts.make_now,
            usage=self.tidying,
            clones=self.clones,
        )

    def _gauges(self) -> Gauges:
        ground = self.ground
        return Gauges(
            places={
                "serve": self.serving_slots,
                "fetch": self.fetch_slots,
                "clone": self.clone_slots,
                "make": self.making_slots,
            },
            processes=ground.processes,
            indexes=self.indexes,
            descriptors=ground.surroundings.descriptors,
            caches=self.operations.caches,
            state=ground.state,
            is_ready=lambda: not self.server.unready,
            version=ground.surroundings.version,
        )

    def cloned(self, identity: Identity) -> None:
        """Count a clone."""
        self.ground.metrics.clones.labels(identity.name).inc()
        self.clones.note(identity.name)
