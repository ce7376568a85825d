"""The routes, and who is let in to them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.web.client import HTTPConnectionPool

import cachew
from cachew.cache.presigned import Presigns
from cachew.config.inforce import Reloaded
from cachew.config.settings import Settings
from cachew.http.collecting import BodyStore
from cachew.http.limits import Limits
from cachew.mirrors.identity import ANY_HOST
from cachew.plumbing.budget import Budget
from cachew.replicas.fleet import Fleet
from cachew.server.accessparts import (
    credential_headers,
    make_admin_access,
    make_external_decision,
    make_policy,
    make_sessions,
    own_names,
)
from cachew.server.cacheparts import StoreParts
from cachew.server.mirrorparts import MirrorParts
from cachew.server.repositoryparts import make_git_routes
from cachew.server.runtime import Runtime
from cachew.server.snapshotparts import SnapshotParts
from cachew.server.statusparts import StatusParts
from cachew.server.upstreamparts import UpstreamParts
from cachew.server.views import ViewParts, make_pages
from cachew.smarthttp.mirrorpacks import MirrorPacks
from cachew.web.access.guard import ClientCredentials
from cachew.web.access.login import AdminAccess
from cachew.web.access.policy import Admission, Policy
from cachew.web.access.sessions import Sessions
from cachew.web.access.tokenfile import TokenFile
from cachew.web.actions import RepositoryActions
from cachew.web.admin import AdminRoutes
from cachew.web.app import App, OwnAddress
from cachew.web.clientarchive import client_archive
from cachew.web.clientfiles import ClientRoutes
from cachew.web.forgeevents import ForgeHosts
from cachew.web.objects import ObjectRoutes
from cachew.web.pushnotices import PushNotices
from cachew.web.repositoriesapi import RepositoriesApi
from cachew.web.storedanswers import StoreRedirects
from cachew.web.webhook import WebhookRoutes

_FEWEST_BODY_FILES = 16
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
    status: StatusParts,
    reload: Callable[[], Awaitable[Reloaded]],
    views: ViewParts,
    fleet: Fleet,
) -> WebParts:
    """Make the routes.

    :param mirrored: has mirrors answer.
    :param status: what those see and do who look after the server.
    :param reload: reads the config again and follows it.
    :param views: what is remembered to be shown.
    :param fleet: the replicas.
    """
    policy = make_policy(runtime)
    token = TokenFile(runtime.settings.admin.token_file, runtime.state)
    sessions = make_sessions(runtime, store, token)
    access = make_admin_access(runtime, policy, token, sessions)
    opa_connections = HTTPConnectionPool(runtime.reactor)
    credentials = ClientCredentials(credential_headers(runtime.settings))
    opa = make_external_decision(runtime, opa_connections, credentials)
    webhooks = _webhook_routes(runtime, status.pushes)
    redirects = StoreRedirects(
        presigned=store.cache.presigned if any(isinstance(tier, Presigns) for tier in store.cache.tiers) else None,
        metrics=runtime.metrics,
        are_credentials=(credentials.is_named, policy.looks_at),
    )
    git = make_git_routes(
        runtime, upstream, store, mirrors, snapshots, mirrored, policy, access, credentials, redirects
    )
    actions = RepositoryActions(work=status.work, grammar=runtime.grammar)
    app = App(
        routes=[
            AdminRoutes(
                access=access,
                status=status.server,
                metrics=runtime.metrics,
                event_log=runtime.environment.log,
                reload=reload,
            ),
            RepositoriesApi(
                access=access,
                statuses=status.statuses,
                table=status.table,
                actions=actions,
                grammar=runtime.grammar,
            ),
            *make_pages(
                runtime, views=views, status=status, actions=actions, access=access, policy=policy, fleet=fleet
            ),
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
        access.answer_to(own_names(new))
        credentials.replace(credential_headers(new))
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


def _webhook_routes(runtime: Runtime, pushes: PushNotices) -> WebhookRoutes:
    return WebhookRoutes(
        pushes=pushes,
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
        "bitbucket": webhook.bitbucket_secret,
        "azure-devops": webhook.azure_devops_password,
        "gitee": webhook.gitee_secret,
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
