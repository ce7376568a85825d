"""Who is let in: operators, clients, and those whom somebody else decides about."""

import hmac
import secrets
from urllib.parse import urlsplit

from treq.client import HTTPClient
from twisted.web.client import Agent, HTTPConnectionPool

from cachew.config.settings import Settings
from cachew.replicas.memoryrecords import MemoryRecords
from cachew.replicas.secret import SharedSecret
from cachew.server.cacheparts import StoreParts
from cachew.server.mirrorparts import MirrorParts
from cachew.server.runtime import Runtime
from cachew.upstream.agent import NamedAgent
from cachew.upstream.useragent import TracedAgent
from cachew.web.access.guard import ClientCredentials, TrustedNetworkGuard, UpstreamGuard
from cachew.web.access.login import AdminAccess
from cachew.web.access.opa import ExternalDecision
from cachew.web.access.policy import Policy
from cachew.web.access.sessions import Sessions
from cachew.web.access.tokenfile import TokenFile
from cachew.web.git import Guard


def make_policy(runtime: Runtime) -> Policy:
    """Make the rules of the operator."""
    access = runtime.settings.access
    return Policy(
        rules=access.rule,
        proxies=access.proxies,
        trust_loopback=access.trust_loopback,
        grammar=runtime.grammar,
    )


def make_sessions(runtime: Runtime, store: StoreParts, token: TokenFile) -> Sessions:
    """Make what knows the browsers that are logged in."""
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


def make_admin_access(runtime: Runtime, policy: Policy, token: TokenFile, sessions: Sessions) -> AdminAccess:
    """Make what says who may administer."""
    return AdminAccess(
        token=token,
        host_names=own_names(runtime.settings),
        sessions=sessions,
        clock=runtime.clock,
        trusted=policy.trusted,
        is_rules_token=policy.is_token,
        is_https=policy.is_https,
    )


def own_names(settings: Settings) -> list[str]:
    """Return the names by which browsers may address the server."""
    public = urlsplit(settings.public_url or "").hostname
    return [*settings.admin.host_names, *([public] if public else [])]


def make_external_decision(
    runtime: Runtime, connections: HTTPConnectionPool, credentials: ClientCredentials
) -> ExternalDecision | None:
    """Make what asks an Open Policy Agent; None where there is none to ask."""
    access = runtime.settings.access
    if access.opa_url is None:
        return None
    agent = NamedAgent(Agent(runtime.reactor, connectTimeout=access.opa_timeout, pool=connections), runtime.user_agent)
    return ExternalDecision(
        url=access.opa_url,
        http=HTTPClient(agent if runtime.settings.tracing.endpoint is None else TracedAgent(agent)),
        reactor=runtime.reactor,
        timeout=access.opa_timeout,
        withheld=credentials.all_names,
    )


def make_guard(runtime: Runtime, store: StoreParts, mirrors: MirrorParts, credentials: ClientCredentials) -> Guard:
    """Make what says who may read a repository."""
    look = None if isinstance(store.records, MemoryRecords) else mirrors.instances.look
    if runtime.settings.access.mode == "trusted-network":
        return TrustedNetworkGuard(instances=mirrors.instances, look=look)
    return UpstreamGuard(
        verdicts=mirrors.verdicts,
        instances=mirrors.instances,
        look=look,
        background=runtime.background,
        credentials=credentials,
    )


def credential_headers(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return which headers are credentials, by host."""
    return {name: one.credential_headers for name, one in settings.upstreams.items()}
