"""The web side of the composition root: who is let in, and what answers.

It takes the parts from the house and gives the root resource; nothing is kept here.
"""

import secrets
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from treq.client import HTTPClient
from twisted.web.client import Agent

from cachew.config.settings import Settings
from cachew.http.limits import Limits
from cachew.plumbing.errors import CachewError
from cachew.replicas.secret import SharedSecret
from cachew.smarthttp.backend import Backend
from cachew.smarthttp.lfsobjects import LfsObjects
from cachew.web.access.guard import TrustedNetworkGuard, UpstreamGuard
from cachew.web.access.login import AdminAccess, admin_token
from cachew.web.access.opa import ExternalDecision
from cachew.web.access.policy import Policy
from cachew.web.admin import AdminRoutes
from cachew.web.app import App, route_path
from cachew.web.dashboard import DashboardRoutes
from cachew.web.ensure import EnsureRefs
from cachew.web.git import GitRoutes, Guard
from cachew.web.lfs import LfsRoutes
from cachew.web.objects import ObjectRoutes
from cachew.web.packs import Packs
from cachew.web.passthrough import PassThrough
from cachew.web.uploadpack import UploadPack
from cachew.web.webhook import WebhookRoutes

if TYPE_CHECKING:
    from cachew.server.composition import House


def _guard(house: "House") -> Guard:
    if house.ground.settings.access.mode == "trusted-network":
        return TrustedNetworkGuard()
    return UpstreamGuard(verdicts=house.verdicts, background=house.ground.background)


def _git_routes(house: "House", access: AdminAccess) -> GitRoutes:
    ground, git = house.ground, house.ground.settings.git
    passthrough = PassThrough(
        client=house.outside.client,
        remotes=house.outside.remotes,
        spools=ground.state / "spools",
        background=ground.background,
        shown=house.shown.to_read,
    )
    lfs = _lfs_routes(house, passthrough)
    backend = Backend(
        processes=ground.processes,
        exec_path=_exec_path(house),
        slots=house.serving_slots,
        home=ground.state / "home",
        search_path=ground.surroundings.search_path,
    )
    packs = Packs(
        cache=house.pack_cache,
        backend=backend,
        client=house.outside.client,
        remotes=house.outside.remotes,
        freshness=house.freshness,
        metrics=ground.metrics,
        shown=house.shown.to_read,
    )
    upload_pack = UploadPack(
        mirrors=house.mirrors,
        freshness=house.freshness,
        supply=house.supply,
        packs=packs,
        passthrough=passthrough,
        background=ground.background,
        metrics=ground.metrics,
        body_limit=git.max_request_body,
        bundle_uris=house.artefacts.routes.bundle_uris,
        cloned=house.cloned,
    )
    return GitRoutes(
        remotes=house.outside.remotes,
        guard=_guard(house),
        upload_pack=upload_pack,
        passthrough=passthrough,
        lfs=lfs,
        artefacts=house.artefacts.routes,
        ensure_refs=EnsureRefs(mirrors=house.mirrors, supply=house.supply),
        freshness=house.freshness,
        used=house.tidying.used,
        is_ours=lambda authorization: access.is_bearer(authorization) or house.policy.is_token(authorization),
        pushed=lambda identity: ground.background.start(
            house.artefacts.staleness.fetch(identity), f"fetch of {identity.name}"
        ),
    )


def _lfs_routes(house: "House", passthrough: PassThrough) -> LfsRoutes:
    ground = house.ground
    return LfsRoutes(
        objects=LfsObjects(
            cache=house.cache,
            client=house.outside.client,
            spools=ground.state / "spools",
            min_free=ground.settings.limits.min_free,
            background=ground.background,
            metrics=ground.metrics,
        ),
        client=house.outside.client,
        passthrough=passthrough,
        remotes=house.outside.remotes,
        in_thread=ground.threads,
        now=ground.surroundings.wall_clock,
        key=SharedSecret(
            records=house.records,
            name="lfs-grants",
            own=secrets.token_bytes(32),
            seconds=ground.reactor.seconds,
            background=ground.background,
        ),
        is_https=house.policy.is_https,
    )


def admin_access(house: "House") -> AdminAccess:
    """Make what says who may administer."""
    admin = house.ground.settings.admin
    return AdminAccess(
        token=admin_token(admin.token_file, house.ground.state),
        host_names=admin.host_names,
        lifetime=admin.session,
        clock=house.ground.reactor,
        trusted=house.policy.trusted,
        is_rules_token=house.policy.is_token,
        is_https=house.policy.is_https,
    )


def _decide(house: "House") -> Callable[[Any], Awaitable[None]] | None:
    ground, access = house.ground, house.ground.settings.access
    if access.opa_url is None:
        return None
    agent = Agent(ground.reactor, connectTimeout=access.opa_timeout, pool=house.opa_connections)
    opa = ExternalDecision(url=access.opa_url, http=HTTPClient(agent), clock=ground.reactor, timeout=access.opa_timeout)
    return lambda request: opa.require(house.policy.asked(request), _peer_of(request))


def make_app(house: "House", dashboard: DashboardRoutes, access: AdminAccess) -> App:
    """Make the root resource."""
    ground, webhook = house.ground, house.ground.settings.webhook
    given = {
        "github": webhook.github_secret,
        "gitlab": webhook.gitlab_token,
        "gitea": webhook.gitea_secret,
    }
    return App(
        routes=[
            AdminRoutes(
                access=access,
                operations=house.operations,
                metrics=ground.metrics,
                levels=ground.surroundings.log_levels,
            ),
            dashboard,
            WebhookRoutes(
                operations=house.operations,
                secrets={forge: secret.get_secret_value() if secret else None for forge, secret in given.items()},
                hosts={
                    urlsplit(upstream.url).netloc: name
                    for name, upstream in ground.settings.upstreams.items()
                    if upstream.url
                },
            ),
            ObjectRoutes(cache=house.cache, limit=ground.settings.limits.max_object or None),
        ],
        git=_git_routes(house, access).handle,
        admit=lambda request: _admit(request, house.policy, access),
        decide=_decide(house),
        client_of=house.policy.client_of,
        is_https=house.policy.is_https,
        hsts=ground.settings.hsts,
        metrics=ground.metrics,
        clock=ground.reactor,
        version=ground.surroundings.version,
    )


def _exec_path(house: "House") -> Path:
    search_path = house.ground.surroundings.search_path
    try:
        done = subprocess.run(["git", "--exec-path"], env={"PATH": search_path}, capture_output=True, check=True)
    except FileNotFoundError:
        raise CachewError(f"git is not installed, or not in any directory of PATH ({search_path})") from None
    return Path(done.stdout.decode().strip())


def _admit(request: Any, policy: Policy, access: AdminAccess) -> None:
    """Apply the operator's rules; the object API is the admin's, and the admin pages look after themselves."""
    policy.admit(request)
    path = route_path(request)
    if path == "/api" or path.startswith("/api/"):
        access.require(request)


def _peer_of(request: Any) -> str:
    address = request.getClientAddress()
    return f"{request.remote_address}:{getattr(address, 'port', 0)}"


def limits_of(settings: Settings, descriptors: int) -> Limits:
    """Return the bounds of the HTTP front.

    :param descriptors: how many files and connections may be open at once; idle clients must not take all of them.
    """
    limits = settings.limits
    return Limits(
        line=limits.header_line,
        head=limits.header_size,
        headers=limits.header_count,
        head_timeout=limits.header_timeout,
        idle_timeout=limits.keep_alive,
        body_timeout=limits.body_timeout,
        write_timeout=limits.write_timeout,
        connections=min(limits.connections, descriptors // 2),
        connections_per_address=limits.connections_per_address,
    )
