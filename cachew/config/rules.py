"""What the operator's rules say about a request (pure).

Rules are tried in order and the first whose conditions all hold decides. *deny* refuses the request whatever it is;
*allow* opens what otherwise needs the admin token. Neither opens a private repository: that is its upstream's to say.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Literal, Protocol

from cachew.mirrors.identity import CASE_MATTERS, Grammar, Identity, parse_decoded
from cachew.plumbing.errors import BadPath, UnknownPath
from cachew.plumbing.percent import decoded_text, lower

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Verdict = Literal["allow", "deny"]

BEARER = re.compile(r"\s*bearer(?!\S)\s*(.*)", re.IGNORECASE | re.DOTALL)
"""An ``Authorization`` that shows a token, after whatever blanks."""
_NEEDS_TOKEN = ("/admin", "/metrics", "/api")


class Secret(Protocol):
    """A text that does not show itself."""

    def get_secret_value(self) -> str:
        """Return it."""


class Rule(Protocol):
    """One rule; a condition that is empty or None holds always."""

    @property
    def action(self) -> Verdict:
        """What becomes of the request."""

    @property
    def cidr(self) -> Collection[Network]:
        """Networks, one of which the client is in."""

    @property
    def method(self) -> Collection[str]:
        """Methods, one of which the request has."""

    @property
    def path(self) -> str | None:
        """What the path begins with, in whole segments; a repository's as cachew names it, whatever was asked for."""

    @property
    def header(self) -> str | None:
        """A header that the request has, as ``Name: value``."""

    @property
    def token(self) -> Secret | None:
        """A bearer token that the request carries."""


@dataclass(frozen=True)
class Asked:
    """What rules look at.

    :param address: the client's, None when it can't be known.
    :param path: percent-decoded once.
    :param headers: names in lower case.
    :param grammar: how repositories are named.
    """

    address: Address | None
    method: str
    path: str
    headers: Mapping[str, str]
    grammar: Grammar = CASE_MATTERS


def decide(rules: Sequence[Rule], asked: Asked) -> Verdict | None:
    """Return what the first rule that applies says, None when none does."""
    return next((rule.action for rule in rules if _applies(rule, asked)), None)


def lets_in_without_token(rules: Sequence[Rule], asked: Asked, *, trust_loopback: bool) -> bool:
    """Say whether a request needs nothing but what its own route asks of it."""
    verdict = decide(rules, asked)
    if verdict is not None:
        return verdict == "allow"
    if trust_loopback and asked.address is not None and asked.address.is_loopback:
        return True
    return not any(_begins(asked.path, prefix) for prefix in _NEEDS_TOKEN)


def _applies(rule: Rule, asked: Asked) -> bool:
    return (
        _within(rule, asked.address)
        and (not rule.method or asked.method in rule.method)
        and (rule.path is None or _below(asked, rule.path))
        and (rule.header is None or _has(asked.headers, rule.header))
        and (rule.token is None or is_bearer(asked.headers.get("authorization", ""), rule.token))
    )


def closes_redirect(rules: Sequence[Rule], source: Identity, target: Identity, grammar: Grammar) -> bool:
    """Say whether a redirect from one repository to another may lead anybody past a rule.

    What a redirect leads to is shared by clients of all kinds, so it is enough that some client who may ask for the one
    may not ask for the other.

    :param source: what was asked for.
    :param target: what it was redirected to.
    :param grammar: how repositories are named.
    """
    let_by = False
    for rule in rules:
        at_source, at_target = _concerns(rule, source, grammar), _concerns(rule, target, grammar)
        if rule.action == "deny" and at_target and (let_by or not at_source):
            return True
        if rule.action == "allow" and at_target and not (rule.cidr or rule.method or rule.header or rule.token):
            return False
        let_by = let_by or (rule.action == "allow" and at_source and not at_target)
    return False


def _concerns(rule: Rule, identity: Identity, grammar: Grammar) -> bool:
    """Say whether a rule's path is a repository's, above it or below it."""
    if rule.path is None:
        return True
    place = f"/git/{identity.host}/{identity.path}"
    if _below(Asked(None, "GET", f"{place}/info/refs", {}, grammar), rule.path):
        return True
    wanted = decoded_text(rule.path)
    return _begins(lower(wanted), lower(place)) if grammar.ignores_case(identity.host) else _begins(wanted, place)


def is_bearer(authorization: str, token: Secret) -> bool:
    """Say whether an ``Authorization`` is a token's, in a time that tells nothing about it."""
    shown, secret = BEARER.match(authorization), token.get_secret_value()
    # An empty secret is nobody's.
    return bool(secret) and shown is not None and compare_digest(shown[1].strip().encode(), secret.encode())


def _within(rule: Rule, address: Address | None) -> bool:
    if address is None:
        # Whoever can't be told apart gets no exception, and no way around a ban.
        return not rule.cidr or rule.action == "deny"
    return not rule.cidr or any(address in network for network in rule.cidr)


def _below(asked: Asked, prefix: str) -> bool:
    """Say whether what is asked for lies below a rule's path, which may be percent-encoded."""
    wanted = decoded_text(prefix)
    if any(_begins(path, wanted) for path in _spellings(asked)):
        return True
    host = wanted.removeprefix("/git/").partition("/")[0].lower()
    if not wanted.startswith("/git/") or not asked.grammar.ignores_case(host):
        return False
    return any(_begins(lower(path), lower(wanted)) for path in _spellings(asked))


def _spellings(asked: Asked) -> Iterator[str]:
    """Give a path as it was asked for and, when it is a repository's, as cachew understands it."""
    yield asked.path
    try:
        found = parse_decoded(asked.path)
        identity = asked.grammar.normal(found.identity)
    except (BadPath, UnknownPath):
        return  # refused by its route, or none of a repository
    yield f"/git/{identity.host}/{identity.path}/{found.operation}"


def _begins(path: str, prefix: str) -> bool:
    whole = prefix.rstrip("/")
    return path == whole or path.startswith(f"{whole}/")


def _has(headers: Mapping[str, str], line: str) -> bool:
    name, _, value = line.partition(":")
    shown = headers.get(name.strip().lower())
    return shown is not None and compare_digest(shown.encode(), value.strip().encode())
