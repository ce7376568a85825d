"""Which hosts and addresses may be talked to at all.

Clients choose hosts, so this is the fence against being sent to places that only the server can reach. A name is
admitted when the operator lists it, or by ``"*"`` when it looks like a public name. Whatever the name, the addresses
it resolves to are judged again when a connection is made (:mod:`cachew.upstream.agent`); only hosts for which the
operator wrote a ``url`` may lie in a private network.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import SplitResult, urlsplit

from cachew.plumbing.errors import UnknownPath
from cachew.plumbing.percent import decoded_text, encoded_path

ANY = "*"
"""The entry that admits every public host name."""

OTHER = "other"
"""What all hosts together are called that the operator does not name."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LOCAL_SUFFIXES = (
    "localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "arpa",
    "test", "example", "invalid", "onion", "alt",
)  # fmt: skip

# RFC 6890 and the IANA special-purpose registries; 168.63.129.16 is a cloud's metadata service on a public address.
_CLOSED_V4 = tuple(map(IPv4Network, (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16", "172.16.0.0/12",
    "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
    "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)))  # fmt: skip
_OPEN_V6 = IPv6Network("2000::/3")
_CLOSED_V6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2620:4f:8000::/48", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")
_MOST_ANSWERING = 1000


class AddressRefused(Exception):
    """A host has no address that may be connected to."""


def is_public_address(address: str) -> bool:
    """Whether an address belongs to the public internet.

    IPv6 addresses that carry an IPv4 one (mapped, NAT64, 6to4) are judged by it.

    :param address: an IPv4 or IPv6 address, without brackets.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return not any(parsed in network for network in _CLOSED_V4)
    if parsed.scope_id is not None:
        return False
    carried = _carried(parsed)
    if carried is not None:
        return is_public_address(str(carried))
    return parsed in _OPEN_V6 and not any(parsed in network for network in _CLOSED_V6)


def is_closed_address(host: str) -> bool:
    """Whether a host is an address that does not belong to the public internet; names are not."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return not is_public_address(host)


def _carried(address: IPv6Address) -> IPv4Address | None:
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def is_public_name(host: str) -> bool:
    """Whether a host name can be one of the public internet: no address in any notation, no local domain."""
    labels = host.lower().split(".")
    if len(labels) < 2 or len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return False
    return not _NUMERIC.fullmatch(labels[-1]) and labels[-1] not in _LOCAL_SUFFIXES


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, lower-case host and port of a URL: what must be equal for credentials to stay.

    :raise ValueError: when it is no http or https URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an http or https URL")
    return parts.scheme, parts.hostname.lower(), parts.port or DEFAULT_PORTS[parts.scheme]


class AnsweringAddresses:
    """Which of a host's addresses has answered last; of many hosts the longest unused goes first.

    A host may have several, one of which is dead. Connections of this server's own try them one after the other within
    fractions of a second; git's library gives the first of a family half of five minutes (curl/curl#11693, #13986). So
    git is told first of the one that has just answered.
    """

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, int], str] = OrderedDict()

    def note(self, host: str, port: int, address: str) -> None:
        """Note that a host has answered at an address."""
        self._last[host, port] = address
        self._last.move_to_end((host, port))
        if len(self._last) > _MOST_ANSWERING:
            self._last.popitem(last=False)

    def first(self, host: str, port: int, addresses: Iterable[str]) -> list[str]:
        """Return a host's addresses in their order, but for the one that has answered last, which comes first."""
        last = self._last.get((host, port))
        return sorted(addresses, key=lambda address: address != last)


class Hosts:
    """The hosts that the operator admits.

    :param upstreams: host (with its port when that is not 443) to the URL where its repositories are, None for
        ``https://HOST/``; the key ``"*"`` admits every public host name.
    :param others: further URLs of the operator's, which are asked but hold no repositories.
    """

    def __init__(self, *, upstreams: Mapping[str, str | None], others: Iterable[str] = ()) -> None:
        self.answering = AnsweringAddresses()
        self.replace(upstreams=upstreams, others=others)

    def replace(self, *, upstreams: Mapping[str, str | None], others: Iterable[str] = ()) -> None:
        """Admit these from now on, and no others."""
        self._urls = {host.lower(): url for host, url in upstreams.items() if host != ANY}
        self._any = ANY in upstreams
        self._origins = frozenset(origin(url) for url in self._urls.values() if url)
        self._others = frozenset(map(origin, others))
        self._named = {origin(url or f"https://{host}/"): host for host, url in self._urls.items()}

    def url_for(self, host: str, path: str) -> str:
        """Return the upstream URL of a repository.

        :param host: lower-case, with its port when that is not the default.
        :param path: the repository's path, percent-decoded and without a leading slash.
        :raise UnknownPath: when the host is not admitted.
        """
        url = self._urls.get(host)
        if url:
            return f"{url.rstrip('/')}/{encoded_path(path)}"
        if host in self._urls or (self._any and _is_public_netloc(host)):
            return f"https://{host}/{encoded_path(path)}"
        raise UnknownPath(f"host {host} is not among the configured upstreams")

    def admits(self, url: str) -> bool:
        """Whether a URL that an upstream redirects to is one that clients could ask for."""
        return bool(self.names_of(url))

    def names_of(self, url: str) -> list[tuple[str, str]]:
        """Return what clients call the repository at a URL: pairs of host and path, none when they have no name for it.

        :param url: the repository's URL, with or without ``.git``.
        """
        try:
            where, parts = origin(url), urlsplit(url)
        except ValueError:
            return []
        found = [(host, path) for host, base in self._urls.items() if base and (path := _below(base, where, parts))]
        netloc, path = _netloc(parts), _path_of(parts.path)
        listed = netloc in self._urls and not self._urls[netloc]
        public = self._any and netloc not in self._urls and _is_public_netloc(netloc)
        return [*found, (netloc, path)] if parts.scheme == "https" and path and (listed or public) else found

    def placed(self, url: str) -> str:
        """Return a URL of a configured host's public name as one of where its repositories are; any other as it is.

        Hosts call themselves by that name, though the operator has them asked at another address.
        """
        parts = urlsplit(url)
        base = self._urls.get(_netloc(parts))
        if parts.scheme not in DEFAULT_PORTS or not base or self.admits(url):
            return url
        root = urlsplit(base).path.rstrip("/") + "/"
        path = parts.path.removeprefix(root if parts.path.startswith(root) else "/")
        return f"{base.rstrip('/')}/{path}{f'?{parts.query}' if parts.query else ''}"

    def lists(self, url: str) -> bool:
        """Whether a URL lies at the place of an upstream that the operator names."""
        scheme, host, port = where = origin(url)
        named = host if port == DEFAULT_PORTS["https"] else f"{host}:{port}"
        return where in self._origins or (scheme == "https" and named in self._urls and not self._urls[named])

    @property
    def labels(self) -> list[str]:
        """All that :meth:`label` can return."""
        return [*self._named.values(), OTHER]

    def label(self, url: str) -> str:
        """Return what the operator calls the host of a URL, one word for all that he doesn't name."""
        try:
            return self._named.get(origin(url), OTHER)
        except ValueError:
            return OTHER

    def withholds(self, host: str, port: int) -> bool:
        """Whether a host is an address that must not be connected to, whoever resolves what is none."""
        return is_closed_address(host) and not self.may_be_private(host, port)

    def may_be_private(self, host: str, port: int) -> bool:
        """Whether the operator named this very host and port in a URL, so that its address is their word."""
        return any(host.lower() == name and port == at for _, name, at in self._origins | self._others)


def _below(base: str, where: tuple[str, str, int], parts: SplitResult) -> str:
    """Return the path of a repository below a base URL, nothing when it doesn't lie there."""
    root = urlsplit(base).path.rstrip("/") + "/"
    inside = origin(base) == where and parts.path.startswith(root)
    return _path_of(parts.path.removeprefix(root)) if inside else ""


def _path_of(path: str) -> str:
    return "/".join(map(decoded_text, path.strip("/").removesuffix(".git").split("/")))


def _netloc(parts: SplitResult) -> str:
    host = (parts.hostname or "").lower()
    return host if parts.port in (None, DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _is_public_netloc(netloc: str) -> bool:
    host, colon, port = netloc.partition(":")
    return is_public_name(host) and (not colon or (port.isdecimal() and 0 < int(port) < 65536))
