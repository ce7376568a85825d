"""Every setting there is: its name, its default, what it means and what is allowed (pure).

These models are the one description of the config file. :mod:`cachew.config.load` reads a file into them,
:mod:`cachew.config.document` writes the documented default config and the reference's table from them. Keys in the file
are these names with hyphens. Durations are seconds and sizes bytes once read.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool

from cachew.config.types import (
    Address,
    Addresses,
    AtLeastOne,
    BaseUrl,
    Bound,
    Count,
    Duration,
    DurationOrZero,
    FilePath,
    HeaderLine,
    HeaderNames,
    HostName,
    HttpUrl,
    Method,
    Methods,
    Networks,
    ObjectPrefix,
    OwnHostNames,
    ProxyUrl,
    Rooted,
    Secret,
    Section,
    Size,
    Text,
    Texts,
    Token,
    key,
    not_empty,
    one_or_many,
)


class DefaultUpstreams(Section):
    """What stands in [upstreams] itself, beside its tables; :mod:`cachew.config.defaultupstreams` reads it."""

    defaults: StrictBool = key(
        True, "Whether github.com, gitlab.com, bitbucket.org and codeberg.org are served; each goes with HOST = false."
    )


class Upstream(Section):
    """Where a host's repositories really are. The table's name is what clients write after /git/; naming a host
    admits it beside the default four. "*" admits every public host name. "github.com" = false in [upstreams] takes
    one of the four away, defaults = false all of them."""

    url: BaseUrl | None = key(
        None, "Base URL of its repositories, which may be a private address.", example='"https://10.0.0.5:3000/"'
    )
    ca_file: FilePath | None = key(
        None, "PEM file of the authority that signed its certificate.", example='"/etc/cachew/ca.pem"'
    )
    suffix: Literal["auto", ".git", ""] | None = key(
        None,
        'What its repositories\' names end in: ".git", nothing, or "auto" for what each is found to answer; by default '
        '".git" for gitlab.com and "auto" for others.',
        example='".git"',
    )
    credential_headers: HeaderNames = key(
        (),
        "Headers besides Authorization by which its clients prove themselves; they are relayed to it alone.",
        example='["Cookie"]',
    )
    aliases: Addresses = key(
        (),
        "Other names of this host, by which its webhooks may call repositories: host names, or base URLs.",
        example='["git.internal:3000", "https://code.example/git/"]',
    )
    proxy: ProxyUrl | None = key(
        None,
        'URL of the proxy that leads to it, or "none"; by default that of [proxy].',
        example='"http://other.example:3128"',
    )
    proxy_credentials_file: FilePath | None = key(
        None, "File that holds USER:PASSWORD for that proxy.", example='"/etc/cachew/git-proxy-password"'
    )
    ignore_case: StrictBool | None = key(
        None,
        "Whether no two of its repositories differ in upper and lower case alone; by default true of github.com, "
        "gitlab.com, bitbucket.org and codeberg.org.",
        example="true",
    )


class ProxySettings(Section):
    """The proxy through which upstreams are reached, by the server as by its git. Without url the environment's
    https_proxy and no_proxy count. Loopback is always reached directly."""

    url: HttpUrl | None = key(None, "The proxy's URL, without a password.", example='"http://proxy.example:3128"')
    credentials_file: FilePath | None = key(
        None, "File that holds USER:PASSWORD for it.", example='"/etc/cachew/proxy-password"'
    )
    no_proxy: Texts = key(
        (),
        "Hosts that are reached directly: names with what lies below them, addresses, networks, each with a port or "
        "without.",
        example='["git.example", "10.0.0.0/8"]',
    )


class GitSettings(Section):
    """Mirrors: how fresh they are, what is made from them and when, and what it may cost."""

    ref_check_interval: DurationOrZero = key("10s", "How long an upstream's ref listing is good; 0s asks every time.")
    ref_check_timeout: Duration = key("10s", "The most time that asking an upstream for its refs may take.")
    fetch_wait: Duration = key("30s", "How long a client waits for a fetch before the upstream itself is asked.")
    fetch_timeout: Duration = key("10m", "The most time that one fetch into a mirror may take.")
    clone_timeout: Duration = key("2h", "The most time that mirroring a repository for the first time may take.")
    serve_timeout: Duration = key(
        "10m",
        "How long a git process that serves clients may give nothing before it is ended; the upstream answers then.",
    )
    connect_timeout: Duration = key("10s", "The most time that connecting to an upstream may take.")
    first_byte_timeout: Duration = key("60s", "How long an upstream may be silent before its answer begins.")
    idle_timeout: Duration = key("60s", "How long an upstream may be silent in the midst of its answer.")
    snapshot_interval: DurationOrZero = key("1h", "How often snapshots are made; 0s: on request only.")
    bundle_interval: DurationOrZero = key(
        "1h", "How often the bundle lists for ``git clone --bundle-uri`` are brought up to date; 0s: on request only."
    )
    mirror_snapshot_interval: DurationOrZero = key("2h", "How often mirror snapshots are made; 0s: never.")
    scrub_interval: DurationOrZero = key(
        "24h", "How often all that is kept is read and verified: mirrors, packs, cached objects; 0s: never."
    )
    scrub_rate: Bound = key("50MB", "How many bytes a second that may read.")
    repack_interval: DurationOrZero = key("24h", "How often mirrors are repacked; 0s: never.")
    snapshot_max_age: Duration = key("24h", "An unchanged snapshot is made again when it is older than this.")
    replica_timeout: Duration = key(
        "60s", "How long a replica that makes something may be silent before another one makes it."
    )
    snapshot_timeout: Duration = key("1h", "The most time that making one snapshot may take.")
    snapshot_concurrency: AtLeastOne = key(
        2,
        "How many snapshots, bundles and repacks may be made at a time; of two and more a quarter, at least one, is "
        "kept for those that take seconds.",
    )
    lfs_snapshots: StrictBool = key(True, "Whether LFS snapshots are made of repositories that use LFS.")
    lfs_timeout: Duration = key("30m", "The most time that fetching a repository's LFS objects may take.")
    bundle_cache_ttl: Duration = key("2h", "How long a bundle is kept in the cache.")
    max_processes: AtLeastOne | None = key(
        None, "How many git processes serve clients at a time; by default four more than twice the cores.", example="12"
    )
    max_fetches: AtLeastOne = key(
        8, "How many fetches into mirrors may run at a time, and as many of what clients ask for by id."
    )
    max_clones: AtLeastOne = key(4, "How many repositories may be mirrored for the first time at a time.")
    queue_limit: AtLeastOne = key(1000, "How many requests may wait for a git process before others get 503.")
    max_request_body: Bound = key("64MB", "The largest request body of a fetch, after decompression.")
    max_listing: Bound = key("256MB", "The largest ref listing that is taken from an upstream.")
    pack_threads: Count = key(2, "Threads of each packing git process; 0: no bound but the number of cores.")
    pack_window_memory: Size = key("256MB", "Memory for each packing thread's delta window; 0: no bound.")
    mirror_limit: Size = key("0", "What all mirrors may occupy, least recently used ones go first; 0: no bound.")
    forget_after: DurationOrZero = key("0s", "A mirror nobody has asked for this long is removed; 0s: never.")


class PackCacheSettings(Section):
    """Answers to fetches, kept as files so that the same fetch is computed once."""

    enabled: StrictBool = key(True, "Whether there is one; without, every answer is computed anew.")
    limit: Size = key("20GB", "What it may occupy; 0: no bound but min-free.")
    min_free: Size = key("5GB", "Free space that it leaves on its filesystem; 0: no bound.")


class MemoryTier(Section):
    """A tier in memory."""

    backend: Literal["memory"] = key("memory", "In memory.")
    limit: Bound = key("1GB", "What it may occupy, what is being written and read included.")
    max_ttl: Duration = key("1h", "The longest that an object is kept.")


class DiskTier(Section):
    """A tier on a filesystem."""

    backend: Literal["disk"] = key("disk", "On a filesystem.")
    path: FilePath | None = key(
        None, "Its directory; by default cache in the state directory.", example='"/srv/cachew"'
    )
    limit: Size = key("100GB", "What it may occupy; 0: no bound but min-free.")
    min_free: Size = key("5GB", "Free space that it leaves on its filesystem; 0: no bound.")
    max_ttl: Duration = key("168h", "The longest that an object is kept.")


class S3Tier(Section):
    """A tier in an S3-compatible object store, shared between replicas."""

    backend: Literal["s3"] = key("s3", "In an S3-compatible object store.")
    bucket: Text = key(..., "The bucket, which must exist.", example='"cachew"')
    prefix: ObjectPrefix = key("", "What the names of all its objects begin with.")
    endpoint: BaseUrl | None = key(None, "URL of the store; by default AWS.", example='"http://10.0.0.6:9000/"')
    region: Text = key("us-east-1", "The store's region.")
    access_key: Secret | None = key(None, "Access key; by default the machine's role.", example='"${S3_KEY}"')
    secret_key: Secret | None = key(None, "Secret that belongs to the access key.", example='"${S3_SECRET}"')
    path_style: StrictBool = key(True, "Whether the bucket is part of the path rather than of the host name.")
    limit: Size = key(
        "0",
        "What its visible objects may occupy; what goes is kept for an hour for those who still read it. 0: no bound.",
    )
    max_ttl: Duration = key("168h", "The longest that an object is kept.")
    timeout: Duration = key("30s", "How long the store may be silent.")


CacheTier = Annotated[MemoryTier | DiskTier | S3Tier, Field(discriminator="backend")]


class AccessRule(Section):
    """One rule; the first whose conditions all hold decides. deny refuses; allow opens what otherwise needs the admin
    token, but no private repository. A request that no rule decides goes on as without rules."""

    action: Literal["allow", "deny"] = key(..., "What happens to the requests that it describes.", example='"allow"')
    cidr: Networks = key((), "Networks, one of which the client is in.", example='"10.0.0.0/8"')
    method: Methods = key((), "Methods, one of which the request has.", example='["GET", "HEAD"]')
    path: Rooted | None = key(None, "What the request's path begins with, in whole segments.", example='"/metrics"')
    header: HeaderLine | None = key(None, "A header that the request has.", example='"X-Team: build"')
    token: Token | None = key(None, "A bearer token that the request carries.", example='"${MONITORING_TOKEN}"')


class AccessTest(Section):
    """A request without token and what must become of it, checked at start."""

    address: Address = key(..., "The client's address.", example='"10.1.2.3"')
    method: Method = key("GET", "The request's method.")
    path: Rooted = key(..., "The request's path.", example='"/metrics"')
    header: Annotated[tuple[HeaderLine, ...], BeforeValidator(one_or_many)] = key(
        (), "The request's headers.", example='["X-Team: build", "Authorization: Bearer ${MONITORING_TOKEN}"]'
    )
    expect: Literal["allow", "deny"] = key(..., "What must become of it.", example='"allow"')


class AccessSettings(Section):
    """Who may read what."""

    mode: Literal["upstream", "trusted-network"] = key(
        "upstream", "upstream: who the repository's upstream lets in; trusted-network: whoever reaches the port."
    )
    auth_ttl: Duration = key("60s", "How long an upstream's yes to a credential is good.")
    public_grace: DurationOrZero = key(
        "1h", "How long after a repository was seen public its clients are served while that is asked again."
    )
    trust_loopback: StrictBool = key(False, "Whether loopback clients may use /admin, /metrics and /api without token.")
    proxies: Networks = key((), "Reverse proxies whose X-Forwarded-For is believed.", example='["10.0.0.7/32"]')
    opa_url: HttpUrl | None = key(
        None,
        "Decision of an Open Policy Agent that every request needs besides; no answer is a no.",
        example='"http://127.0.0.1:8181/v1/data/cachew/authz/allow"',
    )
    opa_timeout: Duration = key("1s", "How long that decision may take.")
    rule: tuple[AccessRule, ...] = key((), "Rules, the first that matches decides.")
    test: tuple[AccessTest, ...] = key((), "Requests and what the rules must say about them.")


class AdminSettings(Section):
    """The dashboard, the metrics and the object API."""

    token_file: FilePath | None = key(
        None, "File with the admin token; by default one is made in the state directory.", example='"/etc/cachew/token"'
    )
    host_names: OwnHostNames = key(
        (), "Names by which browsers may address this server, beside localhost.", example='["cachew.example"]'
    )
    session: Duration = key("12h", "How long a login to the dashboard is good.")


class TokenCredential(Section):
    """A fixed token."""

    kind: Literal["token"] = key("token", "A fixed token.")
    url_prefix: BaseUrl = key(
        ..., "The upstream URLs it is for; the longest prefix wins.", example='"https://github.com/"'
    )
    username: Text = key("x-access-token", "User name that goes with it.")
    token: Token | None = key(None, "The token.", example='"${GITHUB_TOKEN}"')
    token_file: FilePath | None = key(None, "File that holds the token.", example='"/etc/cachew/github-token"')


class NetrcCredential(Section):
    """A netrc file."""

    kind: Literal["netrc"] = key("netrc", "A netrc file.")
    url_prefix: BaseUrl = key(..., "The upstream URLs it is for.", example='"https://git.example/"')
    file: FilePath = key(..., "The file.", example='"/etc/cachew/netrc"')


class CommandCredential(Section):
    """A program that speaks git's credential protocol."""

    kind: Literal["command"] = key("command", "A program that speaks git's credential protocol.")
    url_prefix: BaseUrl = key(..., "The upstream URLs it is for.", example='"https://gitlab.example/"')
    command: Annotated[tuple[Text, ...], AfterValidator(not_empty)] = key(
        ..., "The program and its arguments; get is added.", example='["/usr/local/bin/git-credential-x"]'
    )


class GitHubAppCredential(Section):
    """Installation tokens of a GitHub App."""

    kind: Literal["github-app"] = key("github-app", "Installation tokens of a GitHub App.")
    url_prefix: BaseUrl = key(
        ..., "The upstream URLs it is for; apps may share them.", example='"https://github.com/org/"'
    )
    app_id: Text = key(..., "The app's or client's id.", example='"123456"')
    private_key_file: FilePath = key(..., "PEM file of the app's private key.", example='"/etc/cachew/app.pem"')
    installation_id: Text | None = key(
        None, "The installation for owners that have none of their own.", example='"654321"'
    )
    api_url: BaseUrl = key("https://api.github.com/", "Base URL of GitHub's API.")


Credential = Annotated[
    TokenCredential | NetrcCredential | CommandCredential | GitHubAppCredential, Field(discriminator="kind")
]


class PrefetchSettings(Section):
    """Repositories that are mirrored before anybody asks for them, and are kept up to date."""

    repositories: Annotated[Texts, AfterValidator(not_empty)] = key(
        ..., "Their names as they stand after /git/: host/path.", example='["github.com/org/repo"]'
    )
    interval: Duration = key("10m", "How often they are brought up to date.")


class WebhookSettings(Section):
    """Push events that make mirrors fetch at once. An endpoint without its secret is closed."""

    github_secret: Secret | None = key(None, "Secret of POST /webhook/github.", example='"${GITHUB_WEBHOOK_SECRET}"')
    gitlab_token: Token | None = key(None, "Token of POST /webhook/gitlab.", example='"${GITLAB_WEBHOOK_TOKEN}"')
    gitea_secret: Secret | None = key(None, "Secret of POST /webhook/gitea.", example='"${GITEA_WEBHOOK_SECRET}"')


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
        "2GB", "Free space on the state directory's filesystem below which nothing new is mirrored; 0: no bound."
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
