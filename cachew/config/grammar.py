"""How repositories are named on a server with these settings (pure)."""

from collections.abc import Mapping
from typing import Literal, Protocol
from urllib.parse import urlsplit

from cachew.mirrors.identity import Grammar

IGNORE_CASE = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"})
"""Public forges on which no two repositories differ in upper and lower case alone."""


Forge = Literal["github", "gitlab", "gitea"]
_FORGES: dict[str, Forge] = {"github.com": "github", "gitlab.com": "gitlab", "codeberg.org": "gitea"}


class NamedHost(Protocol):
    """A host, as far as its names matter."""

    @property
    def forge(self) -> Forge | None:
        """Whose API it has, None for what is known of the host."""

    @property
    def url(self) -> str | None:
        """Where its repositories are, None where its name says."""

    @property
    def ignore_case(self) -> bool | None:
        """Whether case makes no difference there, None for what is known of the host."""


def grammar_of(upstreams: Mapping[str, NamedHost]) -> Grammar:
    """Return the rules by which repositories are named.

    :param upstreams: the config's ``[upstreams]``.
    """
    said = {name.lower(): _ignores_case(upstream) for name, upstream in upstreams.items()}
    known = dict.fromkeys(IGNORE_CASE, True)
    return Grammar(known | {name: ignores for name, ignores in said.items() if ignores is not None})


def forge_of(upstreams: Mapping[str, NamedHost], host: str) -> Forge | None:
    """Return whose API a host has, None where that is not known.

    :param upstreams: the config's ``[upstreams]``.
    """
    said = next((upstream for name, upstream in upstreams.items() if name.lower() == host), None)
    if said is None:
        return _FORGES.get(host)
    return said.forge or _FORGES.get(urlsplit(said.url).hostname or "" if said.url else host)


def _ignores_case(upstream: NamedHost) -> bool | None:
    if upstream.ignore_case is None and upstream.url and (urlsplit(upstream.url).hostname or "") in IGNORE_CASE:
        return True
    return upstream.ignore_case
