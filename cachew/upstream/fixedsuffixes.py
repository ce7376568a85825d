"""How the config has the URLs of repositories end, by the hosts that they are of."""

from collections.abc import Mapping
from urllib.parse import urlsplit

from cachew.upstream.hosts import Hosts

_DOT_GIT = frozenset({"gitlab.com"})
"""Hosts that are known to serve repositories only below ``PATH.git``."""


class FixedSuffixes:
    """Says which of an upstream's URLs need not be found out.

    :param said: what the config says of each host: the suffix, ``auto`` where it is to be found out, None for nothing.
    :param hosts: the hosts.
    """

    def __init__(self, *, said: Mapping[str, str | None], hosts: Hosts) -> None:
        self._said = said
        self._hosts = hosts

    def of(self, url: str) -> str | None:
        """Return how a repository's URL ends, None where that is to be found out."""
        named = (self._at(host, url) for host, _ in self._hosts.names_of(url))
        return next((suffix for suffix in named if suffix is not None), None)

    def _at(self, host: str, url: str) -> str | None:
        said = self._said.get(host)
        if said is None and (urlsplit(url).hostname or "") in _DOT_GIT:
            return ".git"
        return None if said == "auto" else said
