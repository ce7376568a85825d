"""The routes, and who is let in to them."""

import hmac
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from treq.client import HTTPClient
from twisted.web.client import Agent, HTTPConnectionPool

import cachew
from cachew.config.inforce import Reloaded
from cachew.config.settings import Settings
from cachew.http.collecting import BodyStore
from cachew.http.limits import Limits
from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import ANY_HOST, Identity
from cachew.plumbing.budget import Budget
from cachew.plumbing.errors import UpstreamError
from cachew.replicas.fleet import Fleet
from cachew.replicas.secret import SharedSecret
from cachew.server.cacheparts import StoreParts
from cachew.server.mirrorparts import MirrorParts
from cachew.server.runtime import Runtime
from cachew.server.snapshotparts import SnapshotParts
from cachew.server.upstreamparts import UpstreamParts
from cachew.server.views import ViewParts, make_pages
from cachew.smarthttp.lfsobjects import LfsObjects
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.upstream.useragent import NamedAgent
from cachew.web.access.guard import ClientCredentials, TrustedNetworkGuard, UpstreamGuard
from cachew.web.access.login import AdminAccess
from cachew.web.access.opa import ExternalDecision
from cachew.web.access.policy import Admission, Policy
from cachew.web.access.sessions import Sessions
from cachew.web.access.tokenfile import TokenFile
from cachew.web.admin import AdminRoutes
from cachew.web.app import App, OwnAddress
from cachew.web.bundleroutes import BundleRoutes
from cachew.web.clientarchive import client_archive
from cachew.web.clientfiles import ClientRoutes
from cachew.web.ensure import EnsureRefs
from cachew.web.forgeevents import ForgeHosts
from cachew.web.git import GitRoutes, Guard, Services
from cachew.web.lfs import InstanceOf, LfsRoutes
from cachew.web.lfsleave import LfsLeave
from cachew.web.objects import ObjectRoutes
from cachew.web.packs import CloneCount, Packs, UpstreamPacks
from cachew.web.passthrough import PassThrough, Pushes
from cachew.web.reflistings import RefListings
from cachew.web.snapshots import Demand, InstanceAccess, SnapshotRoutes
from cachew.web.status import Operations
from cachew.web.storedanswers import StoreRedirects
from cachew.web.uploadpack import CommandReader, FetchAnswers, UploadPack
from cachew.web.webhook import WebhookRoutes

_FEWEST_BODY_FILES = 16
_DOUBT = 2.0
"""Seconds for which it is waited until it is no longer in doubt whether a repository is the same."""
_IDLE_GRACE = 5.0
"""Seconds by which idle connections are kept longer than their clients are told."""


@dataclass(frozen=True, kw_only=True)
class WebParts:
    """What answers requests.

    :param app: the root resource.
    :param access: who may administer.
    :param sessions: of browsers that are logged in.
    :param token: the admin token.
    :param bodies: where request bodies are collected.
    :param client_of: names a request's client.
    :param opa_connections: kept connections to the external decision.
    :param follow: has it follow other settings.
    """

    app: App
    access: AdminAccess
    sessions: Sessions
    token: TokenFile
    bodies: BodyStore
    client_of: Callable[[Any], str]
    opa_connections: HTTPConnectionPool
    follow: Callable[[Settings], None]


def make_web(
    runtime: Runtime,
    *,
    upstream: UpstreamParts,
    store: StoreParts,
    mirrors: MirrorParts,
    snapshots: SnapshotParts,
    mirrored: MirrorPacks,
    operations: Operations,
    reload: Callable[[], Awaitable[Reloaded]],
    views: ViewParts,
    fleet: Fleet,
) -> WebParts:
    """Make the routes.

    :param mirrored: has mirrors answer.
    :param operations: what those see and do who look after the server.
    :param reload: reads the config again and follows it.
    :param views: what is remembered to be shown.
    :param fleet: the replicas.
    """
    policy = _policy(runtime)
    token = TokenFile(runtime.settings.admin.token_file, runtime.state)
    sessions = _sessions(runtime, store, token)
    access = _admin_access(runtime, policy, token, sessions)
    opa_connections = HTTPConnectionPool(runtime.reactor)
    credentials = ClientCredentials(_credential_headers(runtime.settings))
    opa = _external_decision(runtime, opa_connections, credentials)
    webhooks = _webhook_routes(runtime, operations)
    redirects = StoreRedirects(
        presigned=store.cache.presigned,
        metrics=runtime.metrics,
        is_credential=lambda name: name in credentials.all_names() or policy.looks_at(name),
    )
    git = _git_routes(
        runtime, upstream, store, mirrors, snapshots, mirrored, policy, access, credentials, redirects, views
    )
    app = App(
        routes=[
            AdminRoutes(
                access=access,
                operations=operations,
                metrics=runtime.metrics,
                event_log=runtime.environment.log,
                grammar=runtime.grammar,
                reload=reload,
            ),
            *make_pages(runtime, views=views, operations=operations, access=access, policy=policy, fleet=fleet),
            webhooks,
            _client_routes(runtime, policy),
            ObjectRoutes(
                cache=store.cache,
                redirects=redirects,
                limit=runtime.settings.limits.max_object or None,
            ),
        ],
        git=git.handle,
        metrics=runtime.metrics,
        clock=runtime.clock,
        version=runtime.environment.version,
        admission=Admission(policy=policy, access=access, external=opa),
        address=OwnAddress(
            url=(runtime.settings.public_url or "").rstrip("/"),
            hsts=int(runtime.settings.hsts),
        ),
    )

    def follow(new: Settings) -> None:
        policy.replace(rules=new.access.rule, proxies=new.access.proxies, trust_loopback=new.access.trust_loopback)
        access.answer_to(_own_names(new))
        credentials.replace(_credential_headers(new))
        webhooks.replace(secrets=_webhook_secrets(new), places=_places(new))

    return WebParts(
        follow=follow,
        app=app,
        access=access,
        sessions=sessions,
        token=token,
        bodies=_bodies(runtime),
        client_of=policy.client_of,
        opa_connections=opa_connections,
    )


def _client_routes(runtime: Runtime, policy: Policy) -> ClientRoutes:
    def make() -> bytes:
        return client_archive(Path(cachew.__file__).parent, version=runtime.environment.version)

    return ClientRoutes(make=make, threads=runtime.threads, is_https=policy.is_https)


def _bodies(runtime: Runtime) -> BodyStore:
    limits, largest = runtime.settings.limits, runtime.settings.git.max_request_body
    budget = Budget(
        limit=max(limits.request_bodies, largest),
        share=max(limits.request_bodies_per_address, largest),
        # Most descriptors are for clients and what serves them.
        files=max(_FEWEST_BODY_FILES, runtime.environment.descriptors // 8),
    )
    return BodyStore(directory=runtime.state / "spools", budget=budget)


def _policy(runtime: Runtime) -> Policy:
    access = runtime.settings.access
    return Policy(
        rules=access.rule,
        proxies=access.proxies,
        trust_loopback=access.trust_loopback,
        grammar=runtime.grammar,
    )


def _sessions(runtime: Runtime, store: StoreParts, token: TokenFile) -> Sessions:
    admin = runtime.settings.admin
    shared = SharedSecret(
        records=store.records,
        name="admin-sessions/secret",
        own=secrets.token_bytes(32),
        clock=runtime.clock,
        background=runtime.background,
    )

    def key() -> bytes:
        # A token that the operator has given to all replicas signs along: with a new one all log in again, and who
        # can read the store alone can't make himself a session.
        return hmac.digest(shared(), token().encode() if admin.token_file else b"", "sha256")

    return Sessions(
        key=key,
        find_key=shared.find,
        lifetime=admin.session,
        clock=runtime.clock,
        records=store.records,
        background=runtime.background,
    )


def _admin_access(runtime: Runtime, policy: Policy, token: TokenFile, sessions: Sessions) -> AdminAccess:
    return AdminAccess(
        token=token,
        host_names=_own_names(runtime.settings),
        sessions=sessions,
        clock=runtime.clock,
        trusted=policy.trusted,
        is_rules_token=policy.is_token,
        is_https=policy.is_https,
    )


def _own_names(settings: Settings) -> list[str]:
    """Return the names by which browsers may address the server."""
    public = urlsplit(settings.public_url or "").hostname
    return [*settings.admin.host_names, *([public] if public else [])]


def _external_decision(
    runtime: Runtime, connections: HTTPConnectionPool, credentials: ClientCredentials
) -> ExternalDecision | None:
    access = runtime.settings.access
    if access.opa_url is None:
        return None
    agent = Agent(runtime.reactor, connectTimeout=access.opa_timeout, pool=connections)
    return ExternalDecision(
        url=access.opa_url,
        http=HTTPClient(NamedAgent(agent, runtime.user_agent)),
        reactor=runtime.reactor,
        timeout=access.opa_timeout,
        withheld=credentials.all_names,
    )


def _webhook_routes(runtime: Runtime, operations: Operations) -> WebhookRoutes:
    return WebhookRoutes(
        operations=operations,
        secrets=_webhook_secrets(runtime.settings),
        places=_places(runtime.settings),
        grammar=runtime.grammar,
        in_thread=runtime.threads,
    )


def _webhook_secrets(settings: Settings) -> dict[str, str | None]:
    webhook = settings.webhook
    given = {
        "github": webhook.github_secret,
        "gitlab": webhook.gitlab_token,
        "gitea": webhook.gitea_secret,
    }
    return {forge: secret.get_secret_value() if secret else None for forge, secret in given.items()}


def _places(settings: Settings) -> ForgeHosts:
    return ForgeHosts(
        {
            name: [name, *([upstream.url] if upstream.url else []), *upstream.aliases]
            for name, upstream in settings.upstreams.items()
            if name != ANY_HOST
        }
    )


def _guard(runtime: Runtime, mirrors: MirrorParts, credentials: ClientCredentials) -> Guard:
    if runtime.settings.access.mode == "trusted-network":
        return TrustedNetworkGuard(instances=mirrors.instances)
    return UpstreamGuard(
        verdicts=mirrors.verdicts,
        instances=mirrors.instances,
        background=runtime.background,
        credentials=credentials,
    )


def _credential_headers(settings: Settings) -> dict[str, tuple[str, ...]]:
    return {name: one.credential_headers for name, one in settings.upstreams.items()}


def _git_routes(
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
    views: ViewParts,
) -> GitRoutes:
    passthrough = PassThrough(
        client=upstream.client,
        remotes=upstream.remotes,
        spools=runtime.state / "spools",
        background=runtime.background,
        shown=mirrors.presented.to_read,
        credentials=credentials,
    )

    def used(identity: Identity, request: StreamingRequest) -> None:
        mirrors.tidying.used(identity)
        if mirrors.collection.known_as(identity) is not None:
            views.clients.note(identity.name, policy.client_of(request))

    archives, bundles = _snapshot_routes(runtime, mirrors, snapshots, policy, redirects)
    listings = RefListings(
        mirrors=mirrors.collection,
        freshness=mirrors.freshness,
        passthrough=passthrough,
        bundle_uris=bundles.bundle_uris,
        metrics=runtime.metrics,
        in_thread=runtime.threads,
    )
    commands = CommandReader(limit=runtime.settings.git.max_request_body, in_thread=runtime.threads)
    fetches = FetchAnswers(
        mirrors=mirrors.collection,
        supply=mirrors.supply,
        packs=_packs(runtime, upstream, store, mirrors, mirrored),
        listings=listings,
        commands=commands,
        patience=runtime.settings.git.fetch_wait,
        client_of=policy.client_of,
    )
    services = Services(
        listings=listings,
        upload_pack=UploadPack(
            commands=commands,
            listings=listings,
            fetches=fetches,
            cloned=CloneCount(
                metrics=runtime.metrics,
                tally=store.clones,
                asked=snapshots.scheduler.asked,
                wanted=snapshots.scheduler.want,
            ).note,
        ),
        pushes=Pushes(
            passthrough=passthrough,
            freshness=mirrors.freshness,
            pushed=mirrors.staleness.pushed,
        ),
        lfs=_lfs_routes(runtime, upstream, store, mirrors, passthrough, policy, credentials),
        snapshots=archives,
        bundles=bundles,
        ensure_refs=EnsureRefs(
            mirrors=mirrors.collection,
            supply=mirrors.supply,
            client_of=policy.client_of,
            patience=runtime.settings.git.fetch_wait,
        ),
    )
    return GitRoutes(
        remotes=upstream.remotes,
        guard=_guard(runtime, mirrors, credentials),
        services=services,
        grammar=runtime.grammar,
        used=used,
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
            first=mirrors.collection.first,
        ),
        metrics=runtime.metrics,
    )


def _snapshot_routes(
    runtime: Runtime, mirrors: MirrorParts, snapshots: SnapshotParts, policy: Policy, redirects: StoreRedirects
) -> tuple[SnapshotRoutes, BundleRoutes]:
    def requested(identity: Identity, name: str) -> None:
        snapshots.scheduler.asked(identity)
        snapshots.scheduler.want(identity, name)

    access = InstanceAccess(
        find_mirror=mirrors.collection.ready,
        ready_mirror=mirrors.collection.made,
        patience=runtime.settings.git.fetch_wait,
    )
    demand = Demand(
        requested=requested,
        warm=snapshots.scheduler.warm,
        check_staleness=mirrors.staleness.check,
    )
    archives = SnapshotRoutes(
        snapshots=snapshots.archives,
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


def _instance_of(mirrors: MirrorParts) -> InstanceOf:
    """Return what gives the id of a repository's instance to those who hand out leave that is good for that alone."""

    async def instance_of(identity: Identity, credential: str | None) -> str:
        instances = mirrors.instances
        await instances.look(identity)
        if instances.current(identity) is None:
            with suppress(UpstreamError):
                await mirrors.verdicts.admit(identity, credential)
        await instances.settled(identity, _DOUBT)
        found = instances.readable(identity)
        return "" if found is None else found.id

    return instance_of


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
        client=upstream.client,
        passthrough=passthrough,
        remotes=upstream.remotes,
        leave=LfsLeave(
            client=upstream.client,
            remotes=upstream.remotes,
            clock=runtime.clock,
            ttl=runtime.settings.access.auth_ttl,
            key=secrets.token_bytes(32),
        ),
        credentials=credentials,
        instance_of=_instance_of(mirrors),
        in_thread=runtime.threads,
        clock=runtime.clock,
        key=store.grant_secret,
        is_https=policy.is_https,
    )


def limits_of(settings: Settings, descriptors: int) -> Limits:
    """Return the bounds of the HTTP front.

    :param descriptors: how many files and connections may be open at once; idle clients must not take all of them.
    """
    limits = settings.limits
    # Clients are told less than is kept, so that none sends its next request into the closing.
    grace = min(_IDLE_GRACE, limits.keep_alive / 2)
    return Limits(
        line=limits.header_line,
        head=limits.header_size,
        headers=limits.header_count,
        head_timeout=limits.header_timeout,
        idle_timeout=limits.keep_alive - grace,
        idle_grace=grace,
        body_timeout=limits.body_timeout,
        write_timeout=limits.write_timeout,
        connections=min(limits.connections, descriptors // 2),
        connections_per_address=limits.connections_per_address,
    )
