"""What the operator's rules say about a request."""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

import pytest
from pydantic import SecretStr

from cachew.config.rules import Asked, Network, Verdict, closes_redirect, decide, is_bearer, lets_in_without_token
from cachew.mirrors.identity import Grammar, Identity

TEN = (ip_network("10.0.0.0/8"),)
GRAMMAR = Grammar({"github.com": True})


@dataclass(frozen=True)
class Rule:
    """A rule as the config has it."""

    action: Verdict = "deny"
    cidr: tuple[Network, ...] = ()
    method: tuple[str, ...] = ()
    path: str | None = None
    header: str | None = None
    token: SecretStr | None = None


def asked(path: str = "/metrics", *, address: str | None = "10.1.2.3", method: str = "GET", **headers: str) -> Asked:
    """Return what there is to judge of a request."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Asked(None if address is None else ip_address(address), method, path, names, GRAMMAR)


def test_the_first_rule_that_applies_decides() -> None:
    """All of its conditions hold then; where none applies nothing is said."""
    rules = [Rule("allow", TEN, ("GET", "HEAD"), "/metrics"), Rule("deny", path="/metrics"), Rule("allow", TEN)]
    assert decide(rules, asked()) == "allow" and decide(rules, asked(method="POST")) == "deny"
    assert decide(rules, asked("/api")) == "allow" and decide(rules, asked("/api", address="11.0.0.1")) is None


@pytest.mark.parametrize(
    ("path", "prefix", "holds"),
    [
        ("/metrics", "/metrics", True),
        ("/metrics/", "/metrics", True),
        ("/metricsx", "/metrics", False),
        ("/metrics", "/metrics/", True),
        ("/anything", "/", True),
        ("/git/h/org/repo/info/refs", "/git/h/org", True),
        ("/git/h/org/repository/info/refs", "/git/h/org/repo", False),
        ("/git/h/org/repo.git/info/refs", "/git/h/org/repo", True),
        ("/git/H/org/repo.git/info/refs", "/git/h/org/repo", True),
        ("/git/h:443/org/repo/info/refs", "/git/h/org/repo/info", True),
        ("/git/h/a b/repo/info/refs", "/git/h/a%20b", True),
        ("/git/h/Org/repo/info/refs", "/git/h/org", False),
        ("/git/github.com/Org/repo/info/refs", "/git/github.com/org", True),
        ("/git/github.com/org/repo/info/refs", "/git/github.com/Org", True),
    ],
)
def test_paths_are_compared_as_cachew_understands_them(path: str, prefix: str, holds: bool) -> None:
    """In whole segments, whichever spelling of a repository's name was asked for."""
    assert (decide([Rule(path=prefix)], asked(path)) == "deny") is holds


def test_who_can_not_be_told_apart_gets_no_exception() -> None:
    """And no way around a ban."""
    assert decide([Rule("allow", TEN)], asked(address=None)) is None
    assert decide([Rule("deny", TEN)], asked(address=None)) == "deny"


@pytest.mark.parametrize(
    ("shown", "holds"),
    [
        ("Bearer hush", True), ("bearer  hush ", True), ("Bearer\thush", True), ("Basic hush", False),
        ("Bearer hus", False),
        ("Bearer \u00e4", False), ("hush", False), ("", False),
    ],
)  # fmt: skip
def test_tokens(shown: str, holds: bool) -> None:
    """The scheme in any case, the token to the letter."""
    token = SecretStr("hush")
    assert is_bearer(shown, token) is holds
    assert (decide([Rule("allow", token=token)], asked(authorization=shown)) == "allow") is holds


def test_headers() -> None:
    """The name in any case, the value to the letter; one that is not there is not empty."""
    rules = [Rule("allow", header="X-Team: build")]
    assert decide(rules, asked(x_team="build")) == "allow"
    assert [decide(rules, one) for one in (asked(), asked(x_team="Build"), asked(x_team="b\u00fcild"))] == [None] * 3


@pytest.mark.parametrize(
    ("path", "address", "trust_loopback", "let_in"),
    [
        ("/git/h/o/r/info/refs", "11.0.0.1", False, True),
        ("/_liveness", None, False, True),
        ("/apix", "11.0.0.1", False, True),
        ("/api", "127.0.0.1", False, False),
        ("/admin/x", "127.0.0.1", True, True),
        ("/metrics", "::1", True, True),
        ("/metrics", "11.0.0.1", True, False),
        ("/metrics", None, True, False),
    ],
)
def test_without_rules(path: str, address: str | None, trust_loopback: bool, let_in: bool) -> None:
    """What is administered needs the token, unless it comes from this machine and that is trusted."""
    request = asked(path, address=address)
    assert lets_in_without_token([], request, trust_loopback=trust_loopback) is let_in
    assert not lets_in_without_token([Rule("deny")], request, trust_loopback=trust_loopback)
    assert lets_in_without_token([Rule("allow")], request, trust_loopback=trust_loopback)


A, B = Identity("h", "org/a"), Identity("h", "org/b")


@pytest.mark.parametrize(
    ("rules", "closed"),
    [
        ([], False),
        ([Rule(path="/git/h/org/b")], True),
        ([Rule(path="/git/h/org/b/info/refs")], True),
        ([Rule(path="/git/h/org/b/git-upload-pack", cidr=TEN)], True),
        ([Rule(path="/git/h/org")], False),
        ([Rule(path="/git/h/org/a")], False),
        ([Rule()], False),
        ([Rule("allow", path="/git/h/org/a"), Rule(path="/git/h/org")], True),
        ([Rule("allow", path="/git/h/org/b"), Rule(path="/git/h/org/b")], False),
        ([Rule("allow", TEN, path="/git/h/org/b"), Rule(path="/git/h/org/b")], True),
    ],
)
def test_a_redirect_that_leads_somebody_past_a_rule(rules: list[Rule], closed: bool) -> None:
    """Who may ask for the one repository but not for the other is not to be led there."""
    assert closes_redirect(rules, A, B, GRAMMAR) is closed
