"""The guard in front of every route of a repository: who may read it, and with whose credential its upstream is asked.

The server's own credential is looked up where the upstream is asked, see :mod:`cachew.upstream.presented_credential`.
"""

from functools import partial

from cachew.http.requests import StreamingRequest
from cachew.mirrors.identity import Identity
from cachew.plumbing.background import Background
from cachew.upstream.verdicts import Verdicts
from cachew.web.access.clientcredentials import AUTHORIZATION_ALONE, ClientCredentials
from cachew.web.access.right import Present, Right


class UpstreamGuard:
    """Lets in whom the repository's upstream lets in.

    :param verdicts: what upstreams said.
    :param instances: knows which repositories the names stand for.
    :param background: where it is found out which repositories are public.
    :param credentials: says what of a request is its client's credential.
    """

    def __init__(
        self,
        *,
        verdicts: Verdicts,
        instances: Present,
        background: Background,
        credentials: ClientCredentials = AUTHORIZATION_ALONE,
    ) -> None:
        self._verdicts, self._instances = verdicts, instances
        self._background, self._credentials = background, credentials

    async def admit(self, request: StreamingRequest, identity: Identity) -> Right:
        """Let a request through.

        :return: what it may read.
        :raise UpstreamRefused: when the upstream does not let this client in.
        :raise UpstreamError: when it can't be asked and no verdict is valid.
        """
        authorization = self._credentials.of(request, identity.host)
        await self._instances.look(identity)
        may = await self._verdicts.admit(identity, authorization)
        if authorization is not None and self._verdicts.might_be_public(identity):
            looking = self._verdicts.find_out_whether_public(identity)
            self._background.start(looking, f"public or not, of {identity.name}")
        return Right(
            identity=identity,
            instance=self._instances.readable(identity) if may else None,
            # A credential goes nowhere where it isn't needed.
            authorization=None if self._verdicts.allows(identity, None) else authorization,
            era=self._instances.era(identity),
            present=self._instances,
            give=partial(self.admit, request, identity),
        )


class TrustedNetworkGuard:
    """Lets everybody in who reaches the port; upstreams are asked with the server's own credentials.

    :param instances: knows which repositories the names stand for.
    """

    def __init__(self, *, instances: Present) -> None:
        self._instances = instances

    async def admit(self, request: StreamingRequest, identity: Identity) -> Right:
        """Let a request through; nothing of the client's is shown to the upstream."""
        await self._instances.look(identity)
        return Right(
            identity=identity,
            instance=self._instances.readable_to_all(identity),
            authorization=None,
            era=self._instances.era(identity),
            present=self._instances,
            give=partial(self.admit, request, identity),
        )
