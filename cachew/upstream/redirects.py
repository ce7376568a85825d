"""Which redirects of an upstream are followed, and where repositories have moved (pure).

Only the answer to `info/refs` may redirect, as in git itself: the new address must end in the same tail, so that the
repository's base can be told from it. What it leads to is judged as if it had been asked for by name: a redirect is no
way past a rule, and no credential goes along to where it would not have gone. Where it led is remembered for the
requests that follow with the same credentials, since `git-upload-pack` and pushes can't be redirected once their body
is under way.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urljoin, urlsplit

from cachew.plumbing.errors import UpstreamRedirected
from cachew.upstream import headers as http
from cachew.upstream.hosts import Hosts, origin

CODES = frozenset({301, 302, 303, 307, 308})
MOST = 20
"""How many redirects of `info/refs` are followed: as many as git follows (its ``http.c``)."""

_LONGEST_HOST = 253
_UNENCODED = re.compile(rb"[ \x80-\xff]")
"""What some hosts put into a ``Location`` as it is, and libcurl, hence git, percent-encodes."""
_MARKS = ("/info/refs?service=", "/git-upload-pack", "/git-receive-pack", "/info/lfs/")
_OBJECTS = re.compile(
    r"/objects/(?:info/(?:packs|(?:http-)?alternates)|[0-9a-f]{2}/[0-9a-f]{38,62}|pack/pack-[0-9a-f]{40,64}\.(?:pack|idx))$"
)
"""What else a repository is asked for where it is served as files."""


Objection = Callable[[str, str], str | None]
"""``objection(source, target)``: why what was asked for at one URL must not come from another, None when it may."""

MaySee = Callable[[str, str], bool]
"""``may_see(credential, url)``: whether a credential that is shown at one place of a host may be shown at another."""


def no_objection(source: str, target: str) -> str | None:
    """Let every admitted place stand for every other."""
    return None


@dataclass(frozen=True)
class Redirects:
    """Judges where upstreams redirect to.

    :param hosts: which places are upstreams.
    :param objection: the operator's rules.
    :param may_see: which credentials are for which places of their host.
    """

    hosts: Hosts
    objection: Objection = no_objection
    may_see: MaySee = lambda credential, url: True

    def follow(self, *, asked: str, current: str, location: str) -> str:
        """Return where a redirect of `info/refs` leads.

        :param asked: the URL that was asked for first.
        :param current: the URL that has redirected.
        :param location: the ``Location`` that it answered.
        :raise UpstreamRedirected: when it must not be followed.
        """
        target = follow(current=current, location=location, hosts=self.hosts)
        source = split_operation(asked)[0]
        reason = self.objection(source, split_operation(target)[0])
        if reason:
            raise UpstreamRedirected(source, reason)
        return target

    def shown(self, credential: str | None, source: str, target: str) -> str | None:
        """Return what of a credential is shown where a redirect has led; it never leaves its origin."""
        if credential is None or not same_origin(source, target):
            return None
        source, target = (split_operation(url)[0].removesuffix(".git") for url in (source, target))
        return credential if source == target or self.may_see(credential, target) else None


def location_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the address that a response redirects to, percent-encoded; empty when it names none."""
    said = http.first(headers, b"location") or b""
    return _UNENCODED.sub(lambda found: b"%%%02X" % found[0][0], said).decode("ascii")


def split_operation(url: str) -> tuple[str, str]:
    """Return a repository's base URL and the operation after it, which is empty when there is none known."""
    for mark in _MARKS:
        position = url.rfind(mark)
        if position > 0:
            return url[:position], url[position:]
    position = found.start() if (found := _OBJECTS.search(url)) else len(url)
    return url[:position], url[position:]


def same_origin(one: str, other: str) -> bool:
    """Whether credentials for one URL may be sent to the other."""
    return origin(one) == origin(other)


def follow(*, current: str, location: str, hosts: Hosts) -> str:
    """Judge a redirect of `info/refs` and return where it leads.

    :param current: the URL that was asked.
    :param location: the ``Location`` that it answered.
    :raise UpstreamRedirected: when it must not be followed.
    """
    base, tail = split_operation(current)
    try:
        named = urljoin(current, location)
        target = hosts.placed(named)
        reason = _objection(current, tail, named, target, hosts)
    except ValueError:
        raise UpstreamRedirected(base, "redirected to a malformed address") from None
    if reason:
        raise UpstreamRedirected(base, reason)
    return target


def _objection(current: str, tail: str, named: str, target: str, hosts: Hosts) -> str | None:
    if target == current:
        return "redirected to where it was asked"
    if len(target) > 2048 or not named.isascii() or not named.isprintable():
        return "redirected to a malformed address"
    parts = urlsplit(named)
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "redirected to an address with credentials or a fragment in it"
    if not hosts.admits(split_operation(target)[0]):
        return f"redirected to {str(parts.hostname)[:_LONGEST_HOST]}, which is not among the configured upstreams"
    if current.startswith("https:") and not (parts.scheme == "https" and target.startswith("https:")):
        return "redirected from https to http"
    if not target.endswith(tail):
        return "redirected to an address that is not a repository's"
    return None


class Moves:
    """Remembers where repositories have moved, for whom.

    :param capacity: moves remembered; the longest unused goes first.
    """

    def __init__(self, *, capacity: int = 1000) -> None:
        self._capacity = capacity
        self._moves: OrderedDict[tuple[str, bytes], str] = OrderedDict()

    def note(self, base: str, authorization: str | None, moved: str) -> None:
        """Note where the answer to `info/refs` came from in the end."""
        key = _key(base, authorization)
        self._moves.pop(key, None)
        if moved != base:
            self._moves[key] = moved
        while len(self._moves) > self._capacity:
            self._moves.popitem(last=False)

    def resolve(self, base: str, authorization: str | None) -> str:
        """Return where the repository is now for who has this credential."""
        key = _key(base, authorization)
        if key not in self._moves:
            return base
        self._moves.move_to_end(key)
        return self._moves[key]


def _key(base: str, authorization: str | None) -> tuple[str, bytes]:
    return base, sha256((authorization or "").encode("utf-8", "surrogateescape")).digest()
