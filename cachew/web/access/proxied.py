"""Which requests have come through a proxy, whatever their connection's address says (pure).

A reverse proxy, a tunnel or a load balancer on this machine makes every client look like a loopback one. Each of them
leaves some trace in the request; whoever removes all of them must not have ``trust-loopback`` set.
"""

import re
from collections.abc import Iterable

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
