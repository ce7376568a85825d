"""How repositories are named on a server with these settings (pure)."""

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from cachew.mirrors.identity import Grammar

IGNORE_CASE = frozenset({"github.com", "gitlab.com", "bitbucket.org", "codeberg.org"})
"""Public forges on which no two repositories differ in upper and lower case alone."""


class Upstream(Protocol):
    """A host, as far as its names matter."""

    @property
    def url(self) -> str | None:
        """Where its repositories are, None where its name says."""

    @property
    def ignore_case(self) -> bool | None:
        """Whether case makes no difference there, None for what is known of the host."""


def grammar_of(upstreams: Mapping[str, Upstream]) -> Grammar:
    """Return the rules by which repositories are named.

    :param upstreams: the config's ``[upstreams]``.
    """
    said = {name.lower(): _ignores_case(upstream) for name, upstream in upstreams.items()}
    known = dict.fromkeys(IGNORE_CASE, True)
    return Grammar(known | {name: ignores for name, ignores in said.items() if ignores is not None})


def _ignores_case(upstream: Upstream) -> bool | None:
    if upstream.ignore_case is None and upstream.url and (urlsplit(upstream.url).hostname or "") in IGNORE_CASE:
        return True
    return upstream.ignore_case
