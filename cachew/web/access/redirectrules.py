"""What the operator's rules say of redirects: their target is judged as a request for that name would be."""

from cachew.config.grammar import grammar_of
from cachew.config.inforce import SettingsInForce
from cachew.config.rules import closes_redirect
from cachew.mirrors.identity import Grammar, Identity
from cachew.plumbing.errors import BadPath, UnknownPath
from cachew.upstream.hosts import Hosts


class RedirectRules:
    """Judges where upstreams redirect to.

    :param in_force: the settings that count.
    :param hosts: the hosts.
    """

    def __init__(self, *, in_force: SettingsInForce, hosts: Hosts) -> None:
        self._in_force = in_force
        self._hosts = hosts

    def objection(self, source: str, target: str) -> str | None:
        """Return why what was asked for at one URL must not come from another, None when it may."""
        settings = self._in_force.now
        grammar = grammar_of(settings.upstreams)
        try:
            sources, targets = self._named(source, grammar), self._named(target, grammar)
        except (BadPath, UnknownPath):
            return "redirected to an address that is no repository's"
        if not targets - sources:
            return None
        if settings.access.opa_url is not None:
            return "redirected to another repository, which the policy server was not asked about; use its new address"
        pairs = [(one, other) for one in sources for other in _best_of(targets, one.host)]
        if any(closes_redirect(settings.access.rule, one, other, grammar) for one, other in pairs):
            return "redirected to a repository that a rule of this server closes"
        return None

    def _named(self, url: str, grammar: Grammar) -> set[Identity]:
        return {grammar.from_decoded(f"{host}/{path}") for host, path in self._hosts.names_of(url)}


def _best_of(targets: set[Identity], host: str) -> set[Identity]:
    """Return the names that begin with a host, where there are any."""
    return {one for one in targets if one.host == host} or targets
