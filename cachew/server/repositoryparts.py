"""What answers for repositories: clones and fetches, pushes, snapshots, LFS."""

import secrets

from cachew.server.accessparts import make_guard
from cachew.server.cacheparts import StoreParts
from cachew.server.mirrorparts import MirrorParts
from cachew.server.runtime import Runtime
from cachew.server.snapshotparts import SnapshotParts
from cachew.server.upstreamparts import UpstreamParts
from cachew.smarthttp.lfsobjects import LfsObjects
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.web.access.guard import ClientCredentials
from cachew.web.access.login import AdminAccess
from cachew.web.access.policy import Policy
from cachew.web.bundleroutes import BundleRoutes
from cachew.web.dumbfiles import DumbFiles
from cachew.web.ensure import EnsureRefs
from cachew.web.fetchanswers import FetchAnswers
from cachew.web.git import GitRoutes, Services
from cachew.web.lfs import LfsRoutes
from cachew.web.lfsgrants import LfsAskers, LfsGrants
from cachew.web.lfsleave import LfsLeave
from cachew.web.packs import CloneCount, Packs
from cachew.web.passthrough import PassThrough, Pushes
from cachew.web.reflistings import RefListings
from cachew.web.snapshots import Demand, InstanceAccess, SnapshotRoutes
from cachew.web.storedanswers import StoreRedirects
from cachew.web.uploadpack import CommandReader, ToldListings, UploadPack
from cachew.web.upstreampacks import UpstreamPacks


def make_git_routes(
    runtime: Runtime,
    upstream: UpstreamParts,
    store: StoreParts,
    mirrors: MirrorParts,
    snapshots: SnapshotParts,
    mirrored: MirrorPacks,
    policy: Policy,
    access: AdminAccess,
    credentials: ClientCredentials,
    redirects: StoreRedirects,
) -> GitRoutes:
    """Make what answers for repositories."""
    passthrough = PassThrough(
        client=upstream.client,
        remotes=upstream.remotes,
        spools=runtime.state / "spools",
        background=runtime.background,
        min_free=runtime.settings.limits.min_free,
        shown=mirrors.presented.to_read,
        credentials=credentials,
    )

    archives, bundles = _snapshot_routes(runtime, store, mirrors, snapshots, policy, redirects)
    listings = RefListings(
        mirrors=mirrors.collection,
        mirroring=mirrors.mirroring,
        freshness=mirrors.freshness,
        passthrough=passthrough,
        bundle_uris=bundles.bundle_uris,
        metrics=runtime.metrics,
        in_thread=runtime.threads,
    )
    commands = CommandReader(limit=runtime.settings.git.max_request_body, in_thread=runtime.threads)
    packs = _packs(runtime, upstream, store, mirrors, mirrored)
    told = ToldListings(clock=runtime.clock, client_of=policy.client_of)
    fetches = FetchAnswers(
        mirrors=mirrors.collection,
        supply=mirrors.supply,
        packs=packs,
        listings=listings,
        commands=commands,
        patience=runtime.settings.git.fetch_wait,
        told=told,
    )
    services = Services(
        listings=listings,
        upload_pack=UploadPack(
            commands=commands,
            listings=listings,
            told=told,
            mirrors=mirrors.collection,
            packs=packs,
            serve=fetches.serve,
            cloned=CloneCount(
                metrics=runtime.metrics,
                tally=store.clones,
                asked=snapshots.history.asked,
                wanted=snapshots.history.want,
            ).note,
        ),
        pushes=Pushes(
            passthrough=passthrough,
            changes=mirrors.changes,
            pushed=mirrors.staleness.pushed,
        ),
        lfs=_lfs_routes(runtime, upstream, store, mirrors, passthrough, policy, credentials),
        snapshots=archives,
        bundles=bundles,
        ensure_refs=EnsureRefs(
            mirroring=mirrors.mirroring,
            supply=mirrors.supply,
            client_of=policy.client_of,
            patience=runtime.settings.git.fetch_wait,
        ),
        dumb_files=DumbFiles(remotes=upstream.remotes, listings=listings, passthrough=passthrough),
        unseen=mirrors.collection.first_looks.unseen,
        look=mirrors.collection.first_looks.look,
    )
    return GitRoutes(
        remotes=upstream.remotes,
        guard=make_guard(runtime, store, mirrors, credentials),
        services=services,
        grammar=runtime.grammar,
        used=mirrors.usage.note,
        client_of=policy.client_of,
        is_ours=access.is_ours,
    )


def _packs(
    runtime: Runtime, upstream: UpstreamParts, store: StoreParts, mirrors: MirrorParts, mirrored: MirrorPacks
) -> Packs:
    return Packs(
        cache=store.pack_cache,
        mirrored=mirrored,
        upstream=UpstreamPacks(
            client=upstream.client,
            remotes=upstream.remotes,
            freshness=mirrors.freshness,
            shown=mirrors.presented.to_read,
            first=mirrors.mirroring.first,
        ),
        metrics=runtime.metrics,
    )


def _snapshot_routes(
    runtime: Runtime,
    store: StoreParts,
    mirrors: MirrorParts,
    snapshots: SnapshotParts,
    policy: Policy,
    redirects: StoreRedirects,
) -> tuple[SnapshotRoutes, BundleRoutes]:
    access = InstanceAccess(
        find_mirror=mirrors.collection.ready,
        ready_mirror=mirrors.mirroring.made,
        patience=runtime.settings.git.fetch_wait,
    )
    demand = Demand(
        requested=snapshots.history.requested,
        warm=snapshots.scheduler.warm,
        check_staleness=mirrors.staleness.check,
    )
    archives = SnapshotRoutes(
        snapshots=snapshots.archives,
        cache=store.cache,
        bundles=snapshots.bundles,
        background=runtime.background,
        access=access,
        demand=demand,
        redirects=redirects,
    )
    bundles = BundleRoutes(
        bundles=snapshots.bundles,
        bundle_store=snapshots.bundle_store,
        access=access,
        demand=demand,
        redirects=redirects,
        is_https=policy.is_https,
    )
    return archives, bundles


def _lfs_routes(
    runtime: Runtime,
    upstream: UpstreamParts,
    store: StoreParts,
    mirrors: MirrorParts,
    passthrough: PassThrough,
    policy: Policy,
    credentials: ClientCredentials,
) -> LfsRoutes:
    return LfsRoutes(
        objects=LfsObjects(
            cache=store.cache,
            client=upstream.client,
            spools=runtime.state / "spools",
            min_free=runtime.settings.limits.min_free,
            background=runtime.background,
            metrics=runtime.metrics,
        ),
        passthrough=passthrough,
        askers=LfsAskers(
            instances=mirrors.instances,
            verdicts=mirrors.verdicts,
            freshness=mirrors.freshness,
            credentials=credentials,
        ),
        grants=LfsGrants(
            client=upstream.client,
            remotes=upstream.remotes,
            leave=LfsLeave(
                client=upstream.client,
                remotes=upstream.remotes,
                clock=runtime.clock,
                ttl=runtime.settings.access.auth_ttl,
                key=secrets.token_bytes(32),
            ),
            clock=runtime.clock,
            key=store.grant_secret,
        ),
        in_thread=runtime.threads,
        is_https=policy.is_https,
    )
