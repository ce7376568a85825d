"""What the operator's rules say of redirects."""

from typing import Any

import pytest

from cachew.config.inforce import SettingsInForce
from cachew.config.load import load
from cachew.upstream.hosts import Hosts
from cachew.web.access.redirectrules import RedirectRules

UPSTREAMS = """
[upstreams."a.example"]
url = "http://10.0.0.5:3000/"
[upstreams."b.example"]
url = "http://10.0.0.6/git/"
[upstreams."twin.example"]
url = "http://10.0.0.5:3000/"
[upstreams."*"]
"""
A, B = "http://10.0.0.5:3000/org/x", "http://10.0.0.6/git/org/x"
CLOSED = "a rule of this server closes"


def said(rules: str, source: str, target: str) -> str:
    """Return the objection to a redirect, nothing when there is none."""
    settings = load(f"{UPSTREAMS}\n{rules}", environ={})
    hosts = Hosts(upstreams={name: one.url for name, one in settings.upstreams.items()})
    return RedirectRules(in_force=SettingsInForce(settings), hosts=hosts).objection(source, target) or ""


def rule(action: str, path: str, more: str = "") -> str:
    condition = f'path = "{path}"\n' if path else ""
    return f'[[access.rule]]\naction = "{action}"\n{condition}{more}\n'


@pytest.mark.parametrize(
    ("rules", "source", "target"),
    [
        (rule("deny", "/git/b.example"), A, B),
        (rule("deny", "/git/b.example/org"), A, B + ".git"),
        (rule("deny", "/git/b.example/org/x/git-upload-pack"), A, B),
        (rule("deny", "/git/a.example/org/y"), A, "http://10.0.0.5:3000/org/y"),
        (rule("deny", "/git/twin.example/org/y"), A, "http://10.0.0.5:3000/org/y"),
        (rule("deny", "/git/github.com"), A, "https://github.com/Org/X"),
        (rule("deny", "/git/GitHub.com/org".lower()), A, "https://github.com/ORG/x"),
        (rule("deny", "/git/b.example", 'cidr = "10.0.0.0/8"'), A, B),
        (rule("deny", "/git/b.example", 'method = "POST"'), A, B),
        (rule("allow", "/git/a.example") + rule("deny", "/git"), A, B),
        (rule("allow", "/git/a.example") + rule("deny", "", 'cidr = "10.0.0.0/8"'), A, B),
        (rule("allow", "/git/b.example", 'cidr = "10.0.0.0/8"') + rule("deny", "/git/b.example"), A, B),
        (rule("deny", "/git/b.example/org/My%20Project"), A, "http://10.0.0.6/git/org/My%20Project"),
    ],
)
def test_a_redirect_is_no_way_past_a_rule(rules: str, source: str, target: str) -> None:
    """What some client must not ask for by name is not had through a redirect from what it may ask for."""
    assert CLOSED in said(rules, source, target)


@pytest.mark.parametrize(
    ("rules", "source", "target"),
    [
        ("", A, B),
        (rule("deny", "/git/b.example"), A, A + ".git"),
        (rule("deny", "/git/b.example"), A, "http://10.0.0.5:3000/org/y"),
        (rule("deny", "/git/b.example"), B, B + "-renamed"),
        (rule("deny", "/git", 'cidr = "10.0.0.0/8"'), A, B),
        (rule("deny", "", 'cidr = "10.0.0.0/8"'), A, B),
        (rule("allow", "/git/b.example") + rule("deny", "/git/b.example"), A, B),
        (rule("deny", "/metrics"), A, B),
        (rule("deny", "/git/github.com/org/y"), "https://github.com/org/x", "https://github.com/Org/X"),
    ],
)
def test_a_redirect_that_no_rule_is_about_is_followed(rules: str, source: str, target: str) -> None:
    """Rules that say the same of both, or nothing of the target, are in no redirect's way."""
    assert said(rules, source, target) == ""


def test_a_policy_server_is_not_passed_by() -> None:
    """It decides by the path that a client asked for, so nothing else is served for it."""
    opa = '[access]\nopa-url = "http://127.0.0.1:8181/x"'
    assert "policy server" in said(opa, A, B)
    assert said(opa, A, A + ".git") == ""


def test_hosts_name_what_redirects_lead_to() -> None:
    """What no client could ask for by name is no upstream's place, though it be of its origin."""
    upstreams: dict[str, Any] = {"b.example": "http://10.0.0.6/git/", "github.com": None, "*": None}
    hosts = Hosts(upstreams=upstreams)
    assert hosts.names_of("http://10.0.0.6/git/org/x.git") == [("b.example", "org/x")]
    assert hosts.names_of("https://GitHub.com/org/My%20x") == [("github.com", "org/My x")]
    assert hosts.names_of("https://public.example.com/x/y") == [("public.example.com", "x/y")]
    for url in ("http://10.0.0.6/other/x", "http://10.0.0.6/", "https://10.0.0.6/git/x", "http://github.com/x", "x"):
        assert hosts.names_of(url) == [] and not hosts.admits(url)
