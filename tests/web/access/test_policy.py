"""The operator's rules about requests."""

from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import SecretStr
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.web.resource import Resource

from cachew.config.rules import Network, Verdict
from cachew.http.site import make_site
from cachew.mirrors.identity import Grammar
from cachew.plumbing.errors import BadRequest, Forbidden
from cachew.web.access.policy import Policy
from tests.fakes.clock import FakeClock
from tests.web.adminfront import Wire


@dataclass(frozen=True)
class Rule:
    """A rule as the config has it."""

    action: Verdict
    cidr: tuple[Network, ...] = ()
    method: tuple[str, ...] = ()
    path: str | None = None
    header: str | None = None
    token: SecretStr | None = None


class Asked:
    """What a policy looks at of a request."""

    def __init__(self, path: str = "/metrics", method: str = "GET", peer: Any = "10.1.2.3", **fields: str) -> None:
        self.method, self.prepath = method.encode(), ()
        self.postpath = tuple(segment.encode() for segment in path.lstrip("/").split("/"))
        self.fields = {name.replace("_", "-"): value for name, value in fields.items()}
        kind = IPv6Address if ":" in str(peer) else IPv4Address
        self.peer = kind("TCP", peer, 1) if isinstance(peer, str) else peer
        self.secure = False
        self.remote_address = getattr(self.peer, "host", None) or "unix"
        self.attributed_to = ""

    def getClientAddress(self) -> Any:
        return self.peer

    def isSecure(self) -> bool:
        return self.secure


Request: Any = Asked
"""Stands in for a :class:`~cachew.http.requests.StreamingRequest`."""


def policy(*rules: Rule, proxies: tuple[str, ...] = (), trust_loopback: bool = False) -> Policy:
    return Policy(rules=rules, proxies=[ip_network(proxy) for proxy in proxies], trust_loopback=trust_loopback)


TEN = (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize("path", ["/metrics", "/admin", "/admin/repositories", "/api/v1/stats"])
@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.2.3", "::1"])
def test_without_rules_a_token_is_needed(path: str, peer: str) -> None:
    """Nobody administers without a token unless a rule says so; a loopback address proves nothing."""
    assert not policy().trusted(Request(path, peer=peer))


@pytest.mark.parametrize(
    ("request_", "trusted"),
    [
        (Request("/metrics"), True),
        (Request("/metrics/"), True),
        (Request("/metricsx"), True),
        (Request("/metrics", peer="11.1.2.3"), False),
        (Request("/metrics", method="POST"), False),
        (Request("/admin/"), False),
        (Request("/metrics", peer="::ffff:10.1.2.3"), True),
        (Request("/metrics", peer=UNIXAddress(b"/s")), False),
    ],
)
def test_a_rule_opens_a_single_path_to_a_network(request_: Request, trusted: bool) -> None:
    """A rule opens exactly what all its conditions describe (``/metricsx`` is no path that needs a token)."""
    assert policy(Rule("allow", TEN, ("GET",), "/metrics")).trusted(request_) is trusted


def test_paths_match_in_whole_segments() -> None:
    """A rule about a path is not about another path that begins with the same letters."""
    rules = policy(Rule("deny", path="/api/"))
    rules.admit(Request("/apix"))
    for path in ("/api", "/api/", "/api/v1"):
        with pytest.raises(Forbidden):
            rules.admit(Request(path))


@pytest.mark.parametrize(
    "path",
    [
        "/git/git.example/org/repo/info/refs",
        "/git/git.example/org/repo.git/info/refs",
        "/git/GIT.Example:443/org/repo.git//snapshot.tar.zst",
    ],
)
def test_a_repository_has_one_name(path: str) -> None:
    """A rule about a repository holds however its name is spelled."""
    rules = policy(Rule("deny", path="/git/git.example/org/repo"))
    with pytest.raises(Forbidden):
        rules.admit(Request(path))
    rules.admit(Request(path.replace("org/repo", "org/repository")))


@pytest.mark.parametrize("rule", ["/git/h.example/My Org", "/git/h.example/My%20Org"])
@pytest.mark.parametrize("path", ["/git/h.example/My Org/100%/info/refs", "/git/H.Example:443/My Org/ü/info/refs"])
def test_a_rule_may_be_about_any_name(rule: str, path: str) -> None:
    """A rule about a name with blanks holds however the rule and the request write it."""
    with pytest.raises(Forbidden):
        policy(Rule("deny", path=rule)).admit(Request(path))
    policy(Rule("deny", path=rule)).admit(Request(path.replace("My Org", "My Organisation")))


@pytest.mark.parametrize("rule", ["/git/h.example/Org/Secret", "/git/h.example/org/secret"])
@pytest.mark.parametrize("path", ["/git/h.example/org/secret/info/refs", "/git/H.example/ORG/SECRET.GIT/info/refs"])
def test_a_rule_ignores_case_where_the_host_does(rule: str, path: str) -> None:
    """A rule about a repository holds in any case on a host that ignores it, and on no other."""
    grammar = Grammar({"h.example": True})
    with pytest.raises(Forbidden):
        Policy(rules=[Rule("deny", path=rule)], proxies=(), trust_loopback=False, grammar=grammar).admit(Request(path))
    policy(Rule("deny", path="/git/h.example/OrG/sEcret")).admit(Request(path))


def test_the_first_rule_that_applies_decides() -> None:
    """An exception stands before its rule."""
    rules = policy(Rule("allow", TEN, path="/metrics"), Rule("deny", path="/metrics"))
    rules.admit(Request())
    with pytest.raises(Forbidden):
        rules.admit(Request(peer="11.1.2.3"))


def test_a_rule_may_look_at_a_header() -> None:
    """A header is compared whole, its name in any case."""
    rules = policy(Rule("allow", header="X-Team: build"))
    assert rules.trusted(Request(x_team="build"))
    assert not rules.trusted(Request(x_team="builders"))
    assert not rules.trusted(Request())


def test_an_empty_secret_opens_nothing() -> None:
    """A rule whose token or header value came out empty lets nobody in: neither without nor with an empty one."""
    for shown in ({}, {"authorization": "Bearer"}, {"authorization": "Bearer "}, {"x_key": ""}):
        assert not policy(Rule("allow", path="/metrics", token=SecretStr(""))).trusted(Request(**shown))
        assert not policy(Rule("allow", header="X-Team:")).trusted(Request(**shown))


def test_a_rule_may_ask_for_a_token() -> None:
    """A rule's token opens what the rule is about; nobody else's does, nor does the bare text."""
    rules = policy(Rule("allow", path="/metrics", token=SecretStr("monitoring")))
    assert rules.trusted(Request(authorization="Bearer monitoring"))
    assert rules.is_token("bearer monitoring")
    for other in ("Bearer other", "monitoring", "Basic monitoring", "Bearer"):
        assert not rules.trusted(Request(authorization=other)) and not rules.is_token(other)
    assert not rules.trusted(Request("/admin/", authorization="Bearer monitoring"))


def test_only_a_listed_proxy_is_believed_about_https() -> None:
    """``X-Forwarded-Proto`` counts when a listed proxy says it, and from nobody else."""
    rules = policy(proxies=("10.0.0.7/32",))
    assert rules.is_https(Request(peer="10.0.0.7", x_forwarded_proto="https"))
    assert not rules.is_https(Request(peer="10.0.0.7", x_forwarded_proto="http"))
    assert not rules.is_https(Request(peer="10.0.0.8", x_forwarded_proto="https"))
    direct = Request(peer="10.0.0.8")
    direct.secure = True
    assert rules.is_https(direct)


@pytest.mark.parametrize(
    ("request_", "trusted"),
    [
        (Request(peer="127.0.0.1"), True),
        (Request(peer="::1"), True),
        (Request(peer="10.1.2.3"), False),
        (Request(peer="127.0.0.1", x_forwarded_for="10.1.2.3"), False),
        (Request(peer="127.0.0.1", x_forwarded_for="127.0.0.1"), False),
        (Request(peer="127.0.0.1", forwarded="for=10.1.2.3"), False),
        (Request(peer="127.0.0.1", user_agent="git/2.39.5", accept="*/*", host="localhost", git_protocol="v"), True),
    ],
)
def test_loopback_may_be_trusted(request_: Request, trusted: bool) -> None:
    """With ``trust-loopback`` a client on this machine needs no token, unless it comes through a proxy here."""
    assert policy(trust_loopback=True).trusted(request_) is trusted


MARKS = """
    Via X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Port X-Forwarded-Server X-Forwarded-Ssl
    X-Forwarded-Prefix X-Forwarded-User X-Original-Forwarded-For Forwarded X-Real-IP CF-Connecting-IP CF-Ray CF-Visitor
    CF-IPCountry CDN-Loop True-Client-IP X-Client-IP X-Cluster-Client-IP Fastly-Client-IP Fly-Client-IP X-Azure-ClientIP
    X-Azure-SocketIP X-AppEngine-User-IP X-Envoy-External-Address X-Amzn-Trace-Id X-Amz-Cf-Id Akamai-Origin-Hop
    Front-End-Https X-Scheme X-ProxyUser-Ip WL-Proxy-Client-IP Proxy-Client-IP Proxy-Connection Tailscale-User-Login
    X-Varnish X-Nginx-Proxy X-Original-URL X-Rewrite-URL X-Arr-Log-Id X_Forwarded_For Surrogate-Capability X-Host
"""


@pytest.mark.parametrize("name", MARKS.split())
@pytest.mark.parametrize("value", ["127.0.0.1", ""])
def test_whoever_comes_through_a_proxy_is_not_loopback(name: str, value: str) -> None:
    """Any trace of a proxy, a tunnel or a load balancer, though it be empty, takes a loopback client's trust away."""
    request = Request(peer="127.0.0.1")
    request.fields[name.lower()] = value
    assert not policy(trust_loopback=True).trusted(request)
    assert not policy(Rule("allow", (ip_network("127.0.0.0/8"),))).trusted(request)


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("1.1.1.1, 10.1.2.3", "10.1.2.3"),
        ("10.1.2.3, 172.16.0.9", "10.1.2.3"),
        ("nonsense, 10.1.2.3", "10.1.2.3"),
        ("[2001:db8::1]", "2001:db8::1"),
    ],
)
def test_a_listed_proxy_says_who_the_client_is(forwarded: str, address: str) -> None:
    """The client is the last address that is no listed proxy's; what stands before it anybody may have written."""
    rules = policy(proxies=("172.16.0.0/16",))
    assert rules.client_of(Request(peer="172.16.0.7", x_forwarded_for=forwarded)) == address


@pytest.mark.parametrize(("proxy", "client"), [("172.16.0.0/16", "10.1.2.3"), ("10.0.0.0/8", "172.16.0.7")])
def test_a_request_of_the_server_has_its_clients_address(proxy: str, client: str) -> None:
    """What is told of a request as it comes over a connection is an address in words, however often it is asked for."""
    told: list[str] = []
    rules = policy(proxies=(proxy,))

    class Told(Resource):
        isLeaf = True

        def render(self, request: Any) -> bytes:
            told.extend([rules.client_of(request), rules.client_of(request)])
            return b""

    wire = Wire(peerAddress=IPv4Address("TCP", "172.16.0.7", 1))
    channel: Any = make_site(Told(), reactor=FakeClock()).buildProtocol(wire.getPeer())
    channel.makeConnection(wire)
    channel.dataReceived(b"GET / HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 10.1.2.3\r\nConnection: close\r\n\r\n")
    assert told == [client, client]


def test_an_unlisted_proxy_is_not_believed() -> None:
    """Without being listed, a peer speaks for itself only."""
    assert policy().client_of(Request(peer="172.16.0.7", x_forwarded_for="10.1.2.3")) == "172.16.0.7"


def test_a_client_that_can_not_be_told_gets_no_exception() -> None:
    """Through a proxy that does not say for whom, allow rules about networks do not hold and deny rules do."""
    request = Request(peer="127.0.0.1")
    assert not policy(Rule("allow", TEN), proxies=("127.0.0.1/32",), trust_loopback=True).trusted(request)
    with pytest.raises(Forbidden):
        policy(Rule("deny", TEN), proxies=("127.0.0.1/32",)).admit(request)


def test_a_proxy_that_speaks_nonsense_is_refused() -> None:
    """An address that is none, told by a listed proxy, is a bad request; the log shows the proxy."""
    request = Request(peer="10.0.0.7", x_forwarded_for="unknown")
    rules = policy(Rule("deny", TEN), proxies=("10.0.0.7/32",))
    with pytest.raises(BadRequest):
        rules.admit(request)
    assert rules.client_of(request) == "10.0.0.7"


@pytest.mark.parametrize(
    "forwarded", ["127.0.0.1", "10.9.9.9, 127.0.0.1", "::1", "[::1]", "::ffff:127.0.0.1", "127.8.9.1", "0.0.0.0", "::"]
)
@pytest.mark.parametrize("proxy", ["172.16.0.1", "127.0.0.1"])
def test_an_address_that_came_by_header_is_never_loopback(forwarded: str, proxy: str) -> None:
    """A listed proxy that tells of a client on this machine tells of nobody who is trusted."""
    rules = Policy(rules=[], proxies=[ip_network(f"{proxy}/32")], trust_loopback=True)
    assert not rules.trusted(Request(peer=proxy, x_forwarded_for=forwarded))
