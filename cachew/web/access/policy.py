"""Applies the operator's rules to requests, and finds out who the client is.

Behind a reverse proxy that is told by the proxy, and believed only of the proxies that are listed. A reverse proxy, a
tunnel or a load balancer on this machine makes every client look like a loopback one. Each of them leaves some trace in
the request; whoever removes all of them must not have ``trust-loopback`` set.

Nothing is asked of a route before the rules, and an external decision where there is one, let the request in. The
object API is the administrator's; the admin pages look after themselves.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from ipaddress import IPv6Address, ip_address
from typing import Any

from cachew.config.rules import Address, Asked, Network, Rule, decide, is_bearer, lets_in_without_token
from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import CASE_MATTERS, Grammar
from cachew.plumbing.errors import BadRequest, Forbidden
from cachew.web.access.login import AdminAccess
from cachew.web.access.opa import ExternalDecision
from cachew.web.app import route_path
from cachew.web.unrestricted import Unrestricted


class Policy:
    """Applies the rules to requests.

    :param rules: in their order.
    :param proxies: reverse proxies whose ``X-Forwarded-For`` is believed.
    :param trust_loopback: whether a client on this machine needs no token.
    :param grammar: how repositories are named.
    """

    def __init__(
        self,
        *,
        rules: Sequence[Rule],
        proxies: Collection[Network],
        trust_loopback: bool,
        grammar: Grammar = CASE_MATTERS,
    ) -> None:
        self._grammar = grammar
        self.replace(rules=rules, proxies=proxies, trust_loopback=trust_loopback)

    def replace(self, *, rules: Sequence[Rule], proxies: Collection[Network], trust_loopback: bool) -> None:
        """Go by these from the next request on."""
        self._rules = rules
        self._proxies = proxies
        self._trust_loopback = trust_loopback

    def admit(self, request: StreamingRequest) -> None:
        """Let a request pass that no rule denies.

        :raise Forbidden: when one does.
        """
        # A client that can't be told, where nothing depends on who it is, does no harm.
        if self._rules and decide(self._rules, self.asked(request)) == "deny":
            raise Forbidden("a rule of this server forbids this")

    def trusted(self, request: StreamingRequest) -> bool:
        """Say whether a request may administer without a token."""
        asked = self.asked(request)
        return lets_in_without_token(self._rules, asked, trust_loopback=self._trust_loopback)

    def client_of(self, request: StreamingRequest) -> str:
        """Return the client's address in words, for the log; a request's is found out once."""
        if not request.attributed_to:
            try:
                address = self._address(request)
            except BadRequest:
                address = None
            request.attributed_to = str(address or request.remote_address)
        return request.attributed_to

    def is_https(self, request: StreamingRequest) -> bool:
        """Say whether the client came over HTTPS: to this server, or to a listed proxy that says so."""
        if request.isSecure():
            return True
        peer = _peer(request)
        if peer is None or not self._is_proxy(peer):
            return False
        try:
            said = request.fields.get("x-forwarded-proto")
        except BadRequest:
            said = None
        return bool(said == "https")

    def is_token(self, authorization: str) -> bool:
        """Say whether an ``Authorization`` is the token of a rule."""
        return any(is_bearer(authorization, rule.token) for rule in self._rules if rule.token is not None)

    def looks_at(self, name: str) -> bool:
        """Say whether a rule asks for a header, by its lower-case name."""
        said = (rule.header.partition(":")[0] for rule in self._rules if rule.header is not None)
        return name in (one.strip().lower() for one in said)

    def asked(self, request: StreamingRequest) -> Asked:
        """Return what there is to judge of a request.

        :raise BadRequest: when a listed proxy says nonsense about who the client is.
        """
        method = request.method.decode("latin-1")
        return Asked(self._address(request), method, route_path(request), request.fields, self._grammar)

    def _address(self, request: StreamingRequest) -> Address | None:
        peer = _peer(request)
        fields = request.fields
        if peer is None or not self._is_proxy(peer):
            # A proxy that is not listed may be in front: its own address proves nothing about the client.
            return None if peer is not None and peer.is_loopback and came_through_proxy(fields) else peer
        hops = [hop.strip() for hop in fields.get("x-forwarded-for", "").split(",") if hop.strip()]
        for hop in reversed(hops):
            address = _parse(hop)
            if address is None:
                raise BadRequest("X-Forwarded-For holds something that is no address")
            if not self._is_proxy(address):
                # Who is told of by a header did not come from this machine, whatever the header says.
                return None if address.is_loopback or address.is_unspecified else address
        return None

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._proxies)


def _peer(request: StreamingRequest) -> Address | None:
    return _parse(str(getattr(request.getClientAddress(), "host", "")))


def _parse(text: str) -> Address | None:
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


_MARKS = frozenset({
    "via", "forwarded", "front-end-https", "client-ip", "true-client-ip", "incap-client-ip", "remote-addr", "cdn-loop",
    "surrogate-capability", "max-forwards", "ssl-client-cert", "x-accel-mapping", "x-arr-log-id", "x-arr-ssl",
    "x-azure-fdid", "x-azure-ref", "x-backend-server", "x-client-cert", "x-client-ip", "x-client-verify", "x-host",
    "x-iinfo", "x-nginx-proxy", "x-original-host", "x-original-remote-addr", "x-original-uri", "x-original-url",
    "x-real-ip", "x-remote-addr", "x-remote-ip", "x-remote-user", "x-request-start", "x-rewrite-url", "x-scheme",
    "x-sendfile-type", "x-ssl-client-verify", "x-url-scheme", "x-varnish",
})  # fmt: skip
_FAMILIES = (
    "akamai-", "cdn-", "cf-", "fastly-", "fly-", "ngrok-", "proxy-", "tailscale-", "x-akamai-", "x-amz-cf-", "x-amzn-",
    "x-auth-request-", "x-bluecoat-", "x-cloud-trace-", "x-envoy-", "x-forwarded", "x-goog-", "x-haproxy-", "x-nf-",
    "x-proxy", "x-squid-", "x-tailscale-", "x-traefik-", "x-vercel-", "x-zscaler-",
)  # fmt: skip
_ADDRESS = re.compile(r"forwarded|(client|connecting|user|cluster|remote|source|peer|socket)-?(ip|addr|address)(v6)?$")


def came_through_proxy(names: Iterable[str]) -> bool:
    """Say whether a request's headers tell of a proxy.

    :param names: the headers' names, in any case and spelling; one counts though its value is empty.
    """
    return any(map(_tells, names))


def _tells(name: str) -> bool:
    name = name.lower().replace("_", "-")
    return name in _MARKS or name.startswith(_FAMILIES) or _ADDRESS.search(name) is not None


class Admission(Unrestricted):
    """Applies what the operator has laid down for all routes.

    :param policy: the rules.
    :param access: who may administer.
    :param external: an external decision, None where there is none.
    """

    def __init__(self, *, policy: Policy, access: AdminAccess, external: ExternalDecision | None = None) -> None:
        self._policy = policy
        self._access = access
        self._external = external

    @property
    def decides(self) -> bool:  # type: ignore[override]
        """Whether there is an external decision."""
        return self._external is not None

    def client_of(self, request: StreamingRequest) -> str:
        """Name a request's client as the policy knows it."""
        return self._policy.client_of(request)

    def is_https(self, request: StreamingRequest) -> bool:
        """Say whether the client came over HTTPS."""
        return self._policy.is_https(request)

    def admit(self, request: StreamingRequest) -> None:
        """Apply the rules.

        :raise Forbidden: when they don't let it in.
        :raise Unauthorized: when they would, with a token.
        """
        self._policy.admit(request)
        path = route_path(request)
        if path == "/api" or path.startswith("/api/"):
            self._access.require(request)

    async def decide(self, request: StreamingRequest) -> None:
        """Ask for the external decision, if there is one to ask for.

        :raise Forbidden: when it is against it.
        """
        if self._external is not None:
            await self._external.require(self._policy.asked(request), _peer_of(request))


def _peer_of(request: StreamingRequest) -> str:
    address = request.getClientAddress()
    return f"{request.remote_address}:{getattr(address, 'port', 0)}"


_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")


def origin_of(request: StreamingRequest, is_https: Callable[[Any], bool]) -> str:
    """Return scheme and host as the client sees them; empty when it didn't say anything usable.

    A client that lies about its host lies to itself.

    :param is_https: whether a request came over HTTPS.
    """
    if request.own_url:
        return request.own_url
    host = request.getHeader("host") or ""
    if not _HOST.fullmatch(host):
        return ""
    return f"{'https' if is_https(request) else 'http'}://{host}"
