"""Which headers of a request are its client's credential at an upstream."""

from collections.abc import Collection, Mapping

from cachew.http.headertext import text_of
from cachew.http.requests import StreamingRequest
from cachew.upstream.clientcredential import credential_of
from cachew.web.access.login import COOKIE


class ClientCredentials:
    """Knows them by host.

    :param names: host, as in identities, to the headers that are credentials there besides ``Authorization``.
    """

    def __init__(self, names: Mapping[str, Collection[str]]) -> None:
        self._names = {host: frozenset(name.lower() for name in named) for host, named in names.items()}

    def at(self, host: str) -> frozenset[str]:
        """Return their lower-case names for a host."""
        return self._names.get(host, frozenset())

    def all_names(self) -> frozenset[str]:
        """Return their lower-case names for any host."""
        return frozenset().union(*self._names.values())

    def of(self, request: StreamingRequest, host: str) -> str | None:
        """Return a request's credential at a host, None when it shows none.

        :raise BadRequest: when it is no text.
        """
        return credential_of(lambda name: shown(request, name), self.at(host))


def shown(request: StreamingRequest, name: str) -> str | None:
    """Return the text of one header of a request without what is this server's own, None when there is none.

    :raise BadRequest: when it is no text.
    """
    values = request.requestHeaders.getRawHeaders(name.encode("ascii"))
    text = text_of(name, values) if values else None
    return _others_cookies(text) if text and name == "cookie" else text


def _others_cookies(text: str) -> str | None:
    pairs = [pair.strip() for pair in text.split(";")]
    return "; ".join(pair for pair in pairs if pair and pair.partition("=")[0].strip() != COOKIE) or None


AUTHORIZATION_ALONE = ClientCredentials({})
"""Where no host has credentials of its own kind."""
