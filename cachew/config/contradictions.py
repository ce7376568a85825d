"""Settings that are each allowed but not together (pure)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import urlsplit

from cachew.config.cachetiers import DiskTier, S3Tier
from cachew.config.credentialkinds import GitHubAppCredential, TokenCredential
from cachew.config.endpoints import reach_of_shell
from cachew.config.grammar import forge_of, grammar_of
from cachew.config.namepatterns import is_pattern, pattern_of
from cachew.config.rulepaths import no_host, no_route
from cachew.config.rules import Asked, lets_in_without_token
from cachew.config.settings import Settings
from cachew.config.upstreams import Upstream
from cachew.plumbing.errors import BadPath, UnknownPath
from cachew.plumbing.percent import decoded_text

_LONGEST_ADDRESS = 3600.0
"""Seconds for which an address in a store may be good."""


@dataclass(frozen=True)
class Problem:
    """Something wrong with the config.

    :param path: the key, from the top.
    :param message: what is wrong, and what is allowed.
    :param with_path: the other key that it contradicts.
    """

    path: tuple[str | int, ...]
    message: str
    with_path: tuple[str | int, ...] = ()

    @property
    def paths(self) -> list[tuple[str | int, ...]]:
        """Both keys that are concerned, or the one."""
        return [self.path, self.with_path] if self.with_path else [self.path]

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.message}" if self.path else self.message


def dotted(path: tuple[str | int, ...]) -> str:
    """Write a key's path as TOML would: ``upstreams."git.example".url``, ``cache[0].limit``."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            bare = step.replace("-", "").replace("_", "").isalnum() and step.isascii()
            text += ("." if text else "") + (step if bare else f'"{step}"')
    return text


def contradictions(settings: Settings) -> Iterator[Problem]:
    """Yield every contradiction in settings that are valid one by one."""
    yield from _upstreams(settings)
    yield from _git(settings)
    yield from _cache(settings)
    yield from _access(settings)
    yield from _access_tests(settings)
    yield from _proxy(settings)
    yield from _credentials(settings)
    yield from _prefetch(settings)
    yield from _limits(settings)
    yield from _listening(settings)


def _upstreams(settings: Settings) -> Iterator[Problem]:
    for host, upstream in settings.upstreams.items():
        if host != "*" and (reason := no_host(host)):
            yield Problem(("upstreams", host), f"can't be what clients write after /git/: {reason}")
        if host == "*" and upstream.url is not None:
            yield Problem(("upstreams", "*", "url"), 'must not be set; "*" stands for every public host at its own URL')
        if host == "*" and upstream.ca_file is not None:
            yield Problem(("upstreams", "*", "ca-file"), "must not be set; name the host whose authority it is")
        yield from _client_certificate(host, upstream)
        if host == "*" and upstream.credential_headers:
            message = "must not be set; name the host that its clients prove themselves to"
            yield Problem(("upstreams", "*", "credential-headers"), message)
        if host == "*" and upstream.proxy is not None:
            yield Problem(("upstreams", "*", "proxy"), "must not be set; [proxy] leads to every host")
        if upstream.proxy_credentials_file is not None and upstream.proxy in (None, "none"):
            path = ("upstreams", host, "proxy-credentials-file")
            yield Problem(path, "must not be set without a proxy of its own")
        if upstream.ca_file is not None and upstream.url is not None and urlsplit(upstream.url).scheme == "http":
            yield Problem(("upstreams", host, "ca-file"), "must not be set where url is http, which has no certificate")


def _client_certificate(host: str, upstream: Upstream) -> Iterator[Problem]:
    path = ("upstreams", host, "client-certificate-file")
    if upstream.client_certificate_file is not None and host == "*":
        yield Problem(path, "must not be set; name the host that wants to see it")
    elif upstream.client_certificate_file is not None and urlsplit(upstream.url or "").scheme == "http":
        yield Problem(path, "must not be set where url is http, which shows none")


def _proxy(settings: Settings) -> Iterator[Problem]:
    proxy = settings.proxy
    if proxy.url is None and proxy.credentials_file is not None:
        yield Problem(("proxy", "credentials-file"), "must not be set without url")
    if proxy.url is None and proxy.no_proxy:
        yield Problem(("proxy", "no-proxy"), "must not be set without url")


def _git(settings: Settings) -> Iterator[Problem]:
    git = settings.git
    if git.fetch_wait > git.fetch_timeout:
        yield Problem(("git", "fetch-wait"), "must not be longer than fetch-timeout")
    if git.fetch_timeout > git.clone_timeout:
        yield Problem(("git", "fetch-timeout"), "must not be longer than clone-timeout")
    if git.snapshot_max_age < git.snapshot_interval:
        yield Problem(("git", "snapshot-max-age"), "must not be shorter than snapshot-interval")


def _cache(settings: Settings) -> Iterator[Problem]:
    seen: dict[PurePath, int] = {}
    stores: dict[tuple[str | None, str, str], int] = {}
    last = len(settings.cache) - 1
    for index, tier in enumerate(settings.cache):
        if isinstance(tier, S3Tier) and not isinstance(settings.cache[last], S3Tier):
            # What the last tier doesn't have, or not any more, is removed from all others.
            message = f"must not be s3 before a last tier (cache[{last}]) that is not; what replicas share comes last"
            yield Problem(("cache", index, "backend"), message)
        if isinstance(tier, S3Tier):
            # What one tier takes for a copy of its own that may go would be the other's only one.
            first = stores.setdefault((tier.endpoint, tier.bucket, tier.prefix), index)
            if first != index:
                yield Problem(("cache", index, "prefix"), f"must not be shared with cache[{first}] in one bucket")
        if isinstance(tier, DiskTier):
            path = _absolute(tier.path or settings.state / "cache")
            if reason := _overlap(path, _absolute(settings.state)):
                yield Problem(("cache", index, "path"), reason)
            for other, number in seen.items():
                if path.is_relative_to(other) or other.is_relative_to(path):
                    yield Problem(("cache", index, "path"), f"must not be shared with cache[{number}]")
            seen[path] = index
        if isinstance(tier, S3Tier) and (tier.access_key is None) != (tier.secret_key is None):
            yield Problem(("cache", index, "access-key"), "access-key and secret-key are set both or neither")
        if isinstance(tier, S3Tier) and tier.redirect and not 1 <= tier.redirect <= _LONGEST_ADDRESS:
            message = "must be between 1s and 1h, for which the store keeps what has been replaced, or 0s"
            yield Problem(("cache", index, "redirect"), message)


def _absolute(path: PurePath) -> PurePath:
    return PurePath(os.path.abspath(path))


def _overlap(cache: PurePath, state: PurePath) -> str:
    """Say why a directory can't be a tier's in view of the state directory, nothing when it can."""
    own = state / "cache"
    if state.is_relative_to(cache):
        return "must not be the state directory, nor lie around it"
    if cache.is_relative_to(state) and cache != own:
        return f'must not lie in the state directory, but for "{own}", which is the default'
    return ""


def _access(settings: Settings) -> Iterator[Problem]:
    for index, rule in enumerate(settings.access.rule):
        if rule.path is not None and (reason := no_route(rule.path)):
            yield Problem(("access", "rule", index, "path"), reason)
        if not (rule.cidr or rule.method or rule.path is not None or rule.header or rule.token):
            yield Problem(("access", "rule", index), "must have a condition: cidr, method, path, header or token")


def _access_tests(settings: Settings) -> Iterator[Problem]:
    access = settings.access
    for index, test in enumerate(access.test):
        pairs = (line.partition(":") for line in test.header)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        asked = Asked(test.address, test.method, decoded_text(test.path), headers, grammar_of(settings.upstreams))
        allowed = lets_in_without_token(access.rule, asked, trust_loopback=access.trust_loopback)
        if allowed != (test.expect == "allow"):
            found = "allow" if allowed else "deny"
            yield Problem(("access", "test", index, "expect"), f"is {test.expect}, but the rules say {found}")


def _credentials(settings: Settings) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    apps_seen: dict[tuple[str, str, str], int] = {}
    for index, credential in enumerate(settings.credentials):
        if isinstance(credential, GitHubAppCredential):
            app = (credential.url_prefix.lower(), credential.api_url.lower(), credential.app_id)
            if (same := apps_seen.setdefault(app, index)) != index:
                message = f"is the same app for the same URLs as that of credentials[{same}]"
                yield Problem(("credentials", index, "app-id"), message)
        if isinstance(credential, TokenCredential) and (credential.token is None) == (credential.token_file is None):
            yield Problem(("credentials", index, "token"), "exactly one of token and token-file must be set")
        first = seen.setdefault(credential.url_prefix, index)
        # Apps stand beside each other: each repository has the one that is installed for it.
        apps = all(isinstance(settings.credentials[one], GitHubAppCredential) for one in (first, index))
        if first != index and not apps:
            yield Problem(("credentials", index, "url-prefix"), f"is the same as that of credentials[{first}]")


def _prefetch(settings: Settings) -> Iterator[Problem]:
    grammar = grammar_of(settings.upstreams)
    for index, group in enumerate(settings.prefetch):
        for place, name in enumerate(group.repositories):
            where = ("prefetch", index, "repositories", place)
            try:
                host = pattern_of(name).host if is_pattern(name) else grammar.from_decoded(name).host
            except (BadPath, UnknownPath) as error:
                yield Problem(where, f'"{name}" is no repository\'s name, such as "github.com/org/repo": {error}')
                continue
            if host not in settings.upstreams and "*" not in settings.upstreams:
                yield Problem(where, f'"{name}" is at a host that is not among the upstreams')
            elif is_pattern(name) and forge_of(settings.upstreams, host) is None:
                yield Problem(where, f'"{name}" needs to be told whose API the host has: upstreams."{host}".forge')


def _limits(settings: Settings) -> Iterator[Problem]:
    limits = settings.limits
    if limits.header_size < limits.header_line:
        yield Problem(("limits", "header-size"), "must not be less than header-line")


def _listening(settings: Settings) -> Iterator[Problem]:
    if len(set(settings.listen)) < len(settings.listen):
        yield Problem(("listen",), "must not name an endpoint twice")
    manhole = settings.manhole
    if manhole.listen is not None and manhole.authorized_keys is None:
        yield Problem(("manhole", "authorized-keys"), "must be set when listen is; nobody may log in without a key")
    if manhole.listen is not None and (reason := reach_of_shell(manhole.listen)):
        yield Problem(("manhole", "listen"), reason)
    if manhole.listen is not None and manhole.listen in settings.listen:
        yield Problem(("manhole", "listen"), "must not be an endpoint of the server", with_path=("listen",))
