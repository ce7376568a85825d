"""Where repositories really are, and the way there (pure)."""

from typing import Literal

from pydantic import StrictBool

from cachew.config.types import Addresses, BaseUrl, FilePath, HeaderNames, HttpUrl, ProxyUrl, Section, Texts, key


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
    client_certificate_file: FilePath | None = key(
        None,
        "PEM file of the certificate, its chain and its key that the server shows it, for all clients: for a gate that "
        "machines pass, never one that is somebody's login there.",
        example='"/etc/cachew/client.pem"',
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
    forge: Literal["github", "gitlab", "gitea"] | None = key(
        None,
        "Whose API it has, for patterns in [[prefetch]]; gitea is Forgejo's too. Known of github.com, gitlab.com and "
        "codeberg.org.",
        example='"gitea"',
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
