"""The guard in front of every route of a repository: who may read it, and with whose credential its upstream is asked.

A guard has two parts. ``admit`` lets a request through or raises; ``credential`` says what of the client's own the
upstream may be shown on its behalf. The server's own is looked up where the upstream is asked, see
:mod:`cachew.upstream.presented_credential`.
"""

from typing import Any

from cachew.mirrors.identity import Identity
from cachew.plumbing.background import Background
from cachew.upstream.verdicts import Verdicts
from cachew.web.access.clientcredentials import AUTHORIZATION_ALONE, ClientCredentials


class UpstreamGuard:
    """Lets in whom the repository's upstream lets in.

    :param verdicts: what upstreams said.
    :param background: where it is found out which repositories are public.
    :param credentials: says what of a request is its client's credential.
    """

    def __init__(
        self,
        *,
        verdicts: Verdicts,
        background: Background,
        credentials: ClientCredentials = AUTHORIZATION_ALONE,
    ) -> None:
        self._verdicts, self._background, self._credentials = verdicts, background, credentials

    async def admit(self, request: Any, identity: Identity) -> None:
        """Let a request through.

        :raise UpstreamRefused: when the upstream does not let this client in.
        :raise UpstreamError: when it can't be asked and no verdict is valid.
        """
        authorization = self._credentials.of(request, identity.host)
        await self._verdicts.admit(identity, authorization)
        if authorization is not None and self._verdicts.might_be_public(identity):
            looking = self._verdicts.find_out_whether_public(identity)
            self._background.start(looking, f"public or not, of {identity.name}")

    def credential(self, request: Any, identity: Identity) -> str | None:
        """Return the client's own; None when everybody may read the repository.

        A credential goes nowhere where it isn't needed.
        """
        return None if self._verdicts.allows(identity, None) else self._credentials.of(request, identity.host)


class TrustedNetworkGuard:
    """Lets everybody in who reaches the port; upstreams are asked with the server's own credentials."""

    async def admit(self, request: Any, identity: Identity) -> None:
        """Let a request through."""

    def credential(self, request: Any, identity: Identity) -> str | None:
        """Return nothing of the client's."""
        return None
