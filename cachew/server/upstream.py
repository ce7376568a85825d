"""The way to upstreams, made out of the settings."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cachew.config.settings import GitHubAppCredential
from cachew.server.credentials import make_credentials
from cachew.server.runtime import Ground
from cachew.upstream.agent import make_agents
from cachew.upstream.backoff import Backoff
from cachew.upstream.client import Timeouts, UpstreamClient
from cachew.upstream.credentials import Credentials
from cachew.upstream.hosts import Hosts
from cachew.upstream.pinned_addresses import Pins
from cachew.upstream.remote import Remotes


@dataclass(frozen=True)
class Outside:
    """The way to upstreams."""

    client: UpstreamClient
    credentials: Credentials
    remotes: Remotes
    stop: Any


def make_outside(ground: Ground) -> Outside:
    """Make the way to upstreams."""
    settings, reactor = ground.settings, ground.reactor
    urls: Mapping[str, str | None] = {name: upstream.url for name, upstream in settings.upstreams.items()}
    apis = [one.api_url for one in settings.credentials if isinstance(one, GitHubAppCredential)]
    hosts = Hosts(upstreams=urls, others=apis)
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
