"""The way to upstreams, made out of the settings."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from treq.client import HTTPClient

from cachew.config.credentialkinds import GitHubAppCredential
from cachew.config.grammar import grammar_of
from cachew.config.settings import Settings
from cachew.config.upstreams import Upstream
from cachew.plumbing.threads import Threads
from cachew.replicas.notes import Notes
from cachew.replicas.records import Records
from cachew.server.credentialparts import CredentialMaker
from cachew.server.environment import Environment
from cachew.server.runtime import Runtime
from cachew.upstream.agent import Agents, make_agents
from cachew.upstream.authenticatedposts import AuthenticatedPosts
from cachew.upstream.backoff import Backoff
from cachew.upstream.client import UpstreamBounds, UpstreamClient
from cachew.upstream.credentials import Credentials
from cachew.upstream.fixedsuffixes import FixedSuffixes
from cachew.upstream.forges import Forges
from cachew.upstream.hosts import ANY, Hosts, origin
from cachew.upstream.jsonapi import JsonApi
from cachew.upstream.pinned_addresses import Pins
from cachew.upstream.proxies import CredentialsFile, GitConnections, Proxies, Proxy, no_credentials
from cachew.upstream.redirects import Redirects
from cachew.upstream.remotes import Remotes
from cachew.upstream.spellings import Spellings
from cachew.upstream.tlsfiles import TlsFiles
from cachew.web.access.redirectrules import RedirectRules

_API_TIMEOUT = 30.0
_API_LIMIT = 16 * 1024 * 1024
"""Bytes; a page of a hundred repositories has about half a megabyte on GitHub."""


@dataclass(frozen=True)
class UpstreamParts:
    """The way to upstreams.

    :param posts: ask upstreams with the server's own credentials.
    :param forges: list the repositories of an owner.
    :param spellings: how they want repositories to be spelled.
    :param stop: closes the connections that are kept alive.
    :param follow: has them follow other settings.
    """

    client: UpstreamClient
    credentials: Credentials
    remotes: Remotes
    posts: AuthenticatedPosts
    forges: Forges
    spellings: Spellings
    stop: Callable[[], Awaitable[object]]
    follow: Callable[[Settings], None]


def make_upstream(runtime: Runtime, *, records: Records) -> UpstreamParts:
    """Make the way to upstreams.

    :param records: where replicas tell each other what they found out.
    """
    settings, reactor = runtime.settings, runtime.reactor
    hosts = Hosts(upstreams=_urls(settings), others=_apis(settings))
    proxies = make_proxies(settings, runtime.threads)
    agents = make_agents(
        reactor=reactor,
        hosts=hosts,
        proxies=proxies,
        connect_timeout=settings.git.connect_timeout,
        user_agent=runtime.user_agent,
        traced=settings.tracing.endpoint is not None,
        tls=_tls_files(settings),
    )
    runtime.metrics.begin_hosts(hosts.labels)
    own = CredentialMaker(
        agent=agents.pooled,
        processes=runtime.processes,
        threads=runtime.threads,
        reactor=reactor,
        clock=runtime.clock,
        environment=_of_commands(runtime.environment),
    )
    credentials = Credentials(
        sources=own.sources(settings.credentials),
        ignores_case=lambda url: _ignores_case(runtime.in_force.now.upstreams, url),
    )
    spellings = Spellings(
        fixed=_fixed_suffixes(settings, hosts),
        path=runtime.state / "spellings.json",
        shared=Notes(what="spelling", records=records),
        reactor=reactor,
        clock=runtime.clock,
        in_thread=runtime.threads,
        background=runtime.background,
    )
    client = UpstreamClient(
        reactor=reactor,
        agents=agents,
        redirects=Redirects(
            hosts,
            objection=RedirectRules(in_force=runtime.in_force, hosts=hosts).objection,
            may_see=credentials.may_see,
        ),
        spellings=spellings,
        backoff=Backoff(clock=runtime.clock, random=random.random),
        metrics=runtime.metrics,
        bounds=UpstreamBounds(
            connect=settings.git.connect_timeout,
            check=settings.git.ref_check_timeout,
            first_byte=settings.git.first_byte_timeout,
            idle=settings.git.idle_timeout,
            listing=settings.git.max_listing,
        ),
    )
    pins = Pins(reactor=reactor, hosts=hosts, timeout=settings.git.connect_timeout)
    routes = GitConnections(proxies=proxies, pins=pins)
    remotes = Remotes(url_for=hosts.url_for, client=client, credentials=credentials, pins=routes)

    def follow(new: Settings) -> None:
        hosts.replace(upstreams=_urls(new), others=_apis(new))
        spellings.replace(fixed=_fixed_suffixes(new, hosts))
        runtime.metrics.begin_hosts(hosts.labels)
        proxies.replace(**_ways(new, runtime.threads))
        credentials.replace(own.sources(new.credentials))
        remotes.relocate()

    forges = Forges(api=lambda url: _json_api(url, agents, reactor), credentials=credentials)
    return UpstreamParts(
        client=client,
        credentials=credentials,
        remotes=remotes,
        posts=AuthenticatedPosts(client=client, credentials=credentials),
        forges=forges,
        spellings=spellings,
        stop=agents.stop,
        follow=follow,
    )


def _json_api(url: str, agents: Agents, reactor: Any) -> JsonApi:
    http = HTTPClient(agents.pooled)
    return JsonApi(url=url, http=http, reactor=reactor, timeout=_API_TIMEOUT, limit=_API_LIMIT)


def _tls_files(settings: Settings) -> TlsFiles:
    places = [(origin(one.url or f"https://{name}/"), one) for name, one in settings.upstreams.items() if name != ANY]
    return TlsFiles(
        authorities={host: one.ca_file for (_, host, _), one in places if one.ca_file},
        own={
            (host, port): one.client_certificate_file for (_, host, port), one in places if one.client_certificate_file
        },
    )


def _urls(settings: Settings) -> Mapping[str, str | None]:
    return {name: upstream.url for name, upstream in settings.upstreams.items()}


def _apis(settings: Settings) -> list[str]:
    return [one.api_url for one in settings.credentials if isinstance(one, GitHubAppCredential)]


def _fixed_suffixes(settings: Settings, hosts: Hosts) -> Callable[[str], str | None]:
    said = {name: upstream.suffix for name, upstream in settings.upstreams.items()}
    return FixedSuffixes(said=said, hosts=hosts).of


def _ignores_case(upstreams: Mapping[str, Upstream], url: str) -> bool:
    """Say of an upstream's URL whether case makes no difference in its path.

    An address at which several hosts of the config are found ignores case when all of them do.
    """
    grammar = grammar_of(upstreams)
    said: dict[tuple[str, str, int], bool] = {}
    for name, upstream in upstreams.items():
        if name != ANY:
            place = origin(upstream.url or f"https://{name}/")
            said[place] = said.get(place, True) and grammar.ignores_case(name.lower())
    try:
        place = origin(url)
    except ValueError:
        return False
    if place in said:
        return said[place]
    scheme, host, port = place
    return scheme == "https" and grammar.ignores_case(host if port == 443 else f"{host}:{port}")


def _of_commands(environment: Environment) -> Mapping[str, str]:
    """Return what credential commands find around them: their own files are in the home directory."""
    home = {"HOME": environment.home} if environment.home else {}
    return {"PATH": environment.search_path, **home}


def make_proxies(settings: Settings, threads: Threads) -> Proxies:
    """Make what says through which proxy an upstream is reached."""
    return Proxies(**_ways(settings, threads))


class _Ways(TypedDict):
    default: Proxy | None
    direct: Sequence[str]
    own: Mapping[str, Proxy | None]


def _ways(settings: Settings, threads: Threads) -> _Ways:
    def proxy(url: str, file: Path | None) -> Proxy:
        return Proxy(url, no_credentials if file is None else CredentialsFile(file, threads))

    own = {
        upstream.url or f"https://{name}/": (
            None if upstream.proxy == "none" else proxy(upstream.proxy, upstream.proxy_credentials_file)
        )
        for name, upstream in settings.upstreams.items()
        if upstream.proxy is not None
    }
    default = settings.proxy
    return {
        "default": None if default.url is None else proxy(default.url, default.credentials_file),
        "direct": default.no_proxy,
        "own": own,
    }
