"""Where an upstream may send a download to: the storages of LFS objects (pure).

An upstream names its storage itself, in answers that clients can bring about, so what it names is believed only as far
as it does no harm: its own place, which is the operator's word, or HTTPS with a public name, whose address is checked
once more when a connection is made. Nobody gets at the place of *another* configured upstream this way, nor within its
own at a repository that a rule keeps from who may ask for this one.
"""

import re
from urllib.parse import urljoin, urlsplit

from cachew.plumbing.errors import UpstreamUnreachable
from cachew.upstream.hosts import is_public_name, origin
from cachew.upstream.redirects import Redirects, same_origin

_LONGEST = 8192
_WITHIN = re.compile(r"(https?://[^/?]+/[^?]+?)(?:\.git/|/info/lfs/|/gitlab-lfs/)")


def name_of(href: str) -> str:
    """Return what an address is called in messages: addresses of storages may be secrets as a whole."""
    scheme, host, port = origin(href)
    return f"{scheme}://{host}:{port}"


def may_hold(href: str, *, home: str, redirects: Redirects) -> bool:
    """Whether an upstream may name this address.

    :param href: the address.
    :param home: the repository's URL.
    :param redirects: the configured upstreams, and the operator's rules.
    """
    if len(href) > _LONGEST or not href.isascii() or not href.isprintable() or set(href) & set(' "<>\\^`{|}'):
        return False
    try:
        scheme, host, port = origin(href)
        parts = urlsplit(href)
    except ValueError:
        return False
    if parts.username is not None or parts.password is not None or parts.fragment:
        return False
    if same_origin(href, home):
        return redirects.objection(home, _repository_of(href)) is None
    hosts = redirects.hosts
    elsewhere = not hosts.may_be_private(host, port) and not hosts.lists(href)
    return scheme == "https" and is_public_name(host) and elsewhere


def _repository_of(href: str) -> str:
    """Return the URL of the repository within whose place an address lies, as far as it can be told."""
    found = _WITHIN.match(href)
    return found[1] if found else href.partition("?")[0]


def follow_storage(*, current: str, location: str, home: str, redirects: Redirects) -> str:
    """Judge a redirect of a storage and return where it leads.

    :raise UpstreamUnreachable: when it must not be followed.
    """
    try:
        target = urljoin(current, location)
        downgraded = current.startswith("https:") and not target.startswith("https:")
    except ValueError:
        target, downgraded = "", True
    if downgraded or not may_hold(target, home=home, redirects=redirects):
        raise UpstreamUnreachable(name_of(current), "redirected a download to where none is fetched from")
    return target
