"""Every setting there is: its name, its default, what it means and what is allowed (pure).

These models, and those of what they are made of, are the one description of the config file.
:mod:`cachew.config.load` reads a file into them, :mod:`cachew.config.document` writes the documented default config and
the reference's table from them. Keys in the file are these names with hyphens. Durations are seconds and sizes bytes
once read.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator

from cachew.config.accesssettings import AccessSettings, AdminSettings
from cachew.config.cachetiers import CacheTier, PackCacheSettings
from cachew.config.credentialkinds import Credential
from cachew.config.gitsettings import GitSettings
from cachew.config.types import (
    AtLeastOne,
    BaseUrl,
    Bound,
    Duration,
    DurationOrZero,
    FilePath,
    HostName,
    HttpUrl,
    Interval,
    Secret,
    Section,
    Size,
    Text,
    Texts,
    Token,
    key,
    not_empty,
)
from cachew.config.upstreams import ProxySettings, Upstream


class PrefetchSettings(Section):
    """Repositories that are mirrored before anybody asks for them, and are kept up to date."""

    repositories: Annotated[Texts, AfterValidator(not_empty)] = key(
        ...,
        "Their names as they stand after /git/: host/path. A * in the last part stands for all of an owner's that the "
        "host's API lists, ** on GitLab for those of groups in the group as well.",
        example='["github.com/org/repo", "github.com/org/web-*"]',
    )
    interval: Interval = key("10m", "How often they are brought up to date.")
    most: AtLeastOne = key(1000, "How many repositories one pattern may stand for.")


class WebhookSettings(Section):
    """Push events that make mirrors fetch at once. An endpoint without its secret is closed."""

    github_secret: Secret | None = key(None, "Secret of POST /webhook/github.", example='"${GITHUB_WEBHOOK_SECRET}"')
    gitlab_token: Token | None = key(
        None, "Secret or signing token (whsec_…) of POST /webhook/gitlab.", example='"${GITLAB_WEBHOOK_TOKEN}"'
    )
    gitea_secret: Secret | None = key(None, "Secret of POST /webhook/gitea.", example='"${GITEA_WEBHOOK_SECRET}"')
    bitbucket_secret: Secret | None = key(
        None, "Secret of POST /webhook/bitbucket.", example='"${BITBUCKET_WEBHOOK_SECRET}"'
    )
    azure_devops_password: Secret | None = key(
        None,
        "Password of POST /webhook/azure-devops, with any user name.",
        example='"${AZURE_DEVOPS_WEBHOOK_PASSWORD}"',
    )
    gitee_secret: Secret | None = key(
        None, "Password or signing key of POST /webhook/gitee.", example='"${GITEE_WEBHOOK_SECRET}"'
    )


class LimitSettings(Section):
    """What one client, or all of them, may cost."""

    connections: AtLeastOne = key(
        4096, "Open client connections; never more than half of the open files that the process may have."
    )
    connections_per_address: AtLeastOne = key(512, "Open connections of one client address.")
    ids_per_minute: AtLeastOne = key(
        2000, "Objects that no ref leads to, which one client address may have fetched by their ids in a minute."
    )
    listings: Bound = key("256MB", "Memory for ref listings, of all repositories together; unused ones go first.")
    header_line: Bound = key("16KiB", "The longest line of a request's head.")
    header_size: Bound = key("64KiB", "The longest head of a request.")
    header_count: AtLeastOne = key(200, "The most headers of a request.")
    header_timeout: Duration = key("30s", "How long a request's head may take.")
    keep_alive: Duration = key(
        "75s", "How long a connection is kept idle after an answer; clients are told a little less."
    )
    request_bodies: Bound = key("1GB", "What request bodies may hold while they come in, on disk beyond 1 MiB each.")
    request_bodies_per_address: Bound = key(
        "256MB", "What those of one client address may hold; one of git.max-request-body always may."
    )
    body_timeout: Duration = key("60s", "How long a client that sends a body may be silent.")
    write_timeout: Duration = key("300s", "How long a client may take nothing of its response.")
    max_object: Size = key("50GB", "The largest object that the object API takes; 0: no bound.")
    min_free: Size = key(
        "2GB",
        "Free space on the state directory's filesystem below which nothing new is mirrored and nothing long received "
        "to its end; 0: no bound.",
    )
    threads: AtLeastOne = key(8, "Threads for files and compression.")
    store_threads: AtLeastOne = key(16, "Threads for calls to object stores.")


class ManholeSettings(Section):
    """A Python shell over SSH, off unless listen is set."""

    listen: Text | None = key(
        None,
        "Endpoint on loopback, or a unix socket of one's own: unix:PATH:mode=600.",
        example='"tcp:2222:interface=127.0.0.1"',
    )
    authorized_keys: FilePath | None = key(
        None, "File of the public keys that may log in.", example='"/etc/cachew/authorized_keys"'
    )


class TracingSettings(Section):
    """Traces of requests, from the client through git processes, upstream requests and store calls, by OpenTelemetry.
    Needs the extra otel."""

    endpoint: HttpUrl | None = key(
        None,
        "Where traces are sent, by OTLP over HTTP; unset: there are none.",
        example='"http://127.0.0.1:4318/v1/traces"',
    )
    service_name: Text = key("cachew", "What this server is called in them.")
    one_in: AtLeastOne = key(1, "Of how many requests one is traced; who sends a traceparent decides that himself.")


class Settings(Section):
    """The whole config file."""

    state: FilePath = key("./state", "Directory of everything that outlives a restart.")
    listen: Annotated[Texts, AfterValidator(not_empty)] = key(
        ("tcp:8080:interface=127.0.0.1",),
        "Twisted endpoints, or tls:PORT:certificate=FILE:key=FILE, whose files are read anew when they change.",
    )
    public_url: BaseUrl | None = key(
        None,
        "Where clients find this server, when a proxy is in front: what bundle lists, login links and install scripts "
        "name; by default what a request's Host says.",
        example='"https://cachew.example/"',
    )
    hsts: DurationOrZero = key("0s", "For how long browsers shall come back over HTTPS only; 0s: they are not told.")
    log_level: Literal["debug", "info", "warn", "error", "critical"] = key("info", "The least level that is logged.")
    log_format: Literal["text", "json"] = key("text", "One line of text or one JSON object per event.")
    shutdown_readiness_delay: DurationOrZero = key("0s", "How long readiness fails before the listeners close.")
    shutdown_timeout: DurationOrZero = key("30s", "How long running responses may take to end at shutdown.")
    stall_report: DurationOrZero = key(
        "1s", "How long the thread that answers everybody may stand still before the log says where; 0s: it never does."
    )
    upstreams: Mapping[HostName, Upstream] = key(
        {"github.com": {}, "gitlab.com": {}, "bitbucket.org": {}, "codeberg.org": {}},
        "The hosts whose repositories are served.",
    )
    proxy: ProxySettings = key({}, "The way out.")
    git: GitSettings = key({}, "Mirrors.")
    pack_cache: PackCacheSettings = key({}, "Answers to fetches.")
    cache: Annotated[tuple[CacheTier, ...], AfterValidator(not_empty)] = key(
        ({"backend": "disk"},), "Tiers of the cache, nearest first."
    )
    access: AccessSettings = key({}, "Who may read what.")
    admin: AdminSettings = key({}, "The dashboard.")
    credentials: tuple[Credential, ...] = key((), "What the server itself shows upstreams; it fills mirrors only.")
    prefetch: tuple[PrefetchSettings, ...] = key((), "Repositories that are mirrored before anybody asks.")
    webhook: WebhookSettings = key({}, "Push events.")
    limits: LimitSettings = key({}, "Limits.")
    manhole: ManholeSettings = key({}, "A shell inside the server.")
    tracing: TracingSettings = key({}, "Traces of requests.")
