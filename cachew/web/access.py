"""The guard in front of every route of a repository: who may read it, and with whose credential its upstream is asked."""

from collections.abc import Callable
from typing import Any, Protocol

from cachew.mirrors.identity import Identity
from cachew.upstream.verdicts import Verdicts


class UpstreamGuard:
    """Lets in whom the repository's upstream lets in.

    :param verdicts: what upstreams said.
    """

    def __init__(self, *, verdicts: Verdicts) -> None:
        self._verdicts = verdicts

    async def admit(self, request: Any, identity: Identity) -> str | None:
        """Let a request through.

        :return: the client's own ``Authorization``, None when everybody may read the repository.
        :raise UpstreamRefused: when the upstream does not let this client in.
        :raise UpstreamError: when it can't be asked and no verdict is valid.
        """
        authorization = _authorization(request)
        await self._verdicts.admit(identity, authorization)
        # A public repository is asked for anonymously: a credential goes nowhere where it isn't needed.
        return None if self._verdicts.allows(identity, None) else authorization


class ServerCredentials(Protocol):
    """The server's own credentials."""

    async def header_for(self, url: str) -> str | None:
        """Return an ``Authorization`` value for a URL."""


class TrustedNetworkGuard:
    """Lets everybody in who reaches the port; upstreams are asked with the server's own credentials.

    :param credentials: those.
    :param url_of: where a repository's upstream is.
    """

    def __init__(self, *, credentials: ServerCredentials, url_of: Callable[[Identity], str]) -> None:
        self._credentials, self._url_of = credentials, url_of

    async def admit(self, request: Any, identity: Identity) -> str | None:
        """Let a request through.

        :return: the server's own credential for the repository.
        """
        return await self._credentials.header_for(self._url_of(identity))


def _authorization(request: Any) -> str | None:
    values = request.requestHeaders.getRawHeaders(b"authorization")
    return None if not values else str(values[0].decode("latin-1"))
