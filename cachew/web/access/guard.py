"""The guard in front of every route of a repository: who may read it, and with whose credential its upstream is asked.

Which headers are a credential is known by host; this server's own cookie is none.

The server's own credential is looked up where the upstream is asked, see :mod:`cachew.upstream.presented_credential`.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from cachew.http.requests import StreamingRequest, text_of
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.mirrors.instances import Instances
from cachew.mirrors.mirror import Mirror
from cachew.plumbing.background import Background
from cachew.plumbing.errors import Superseded
from cachew.upstream.verdicts import Verdicts
from cachew.web.access.login import COOKIE

AUTHORIZATION = "authorization"


Look = Callable[[Identity], Awaitable[None]]
"""Sees what the other replicas know of a repository that is asked for."""


@dataclass(frozen=True)
class Right:
    """What a request may read: one instance of a repository, or only what its upstream answers.

    It is looked at anew whenever a request has waited for something: the repository may have become another one
    meanwhile, or it may be in doubt whether it has.

    :param identity: the repository.
    :param instance: of which the request may have what is kept; None when only the upstream may answer it.
    :param authorization: what of the client's own the upstream may be shown, None for nothing.
    :param era: in which it was given.
    :param present: knows the present instance.
    :param give: gives it anew.
    """

    identity: Identity
    instance: Instance | None
    authorization: str | None = field(repr=False)
    era: int
    present: Instances
    give: Callable[[], Awaitable["Right"]] = field(repr=False)

    def covers(self, mirror: Mirror) -> bool:
        """Whether the request may be answered from a mirror."""
        return self.instance is not None and mirror.life.ready and mirror.life.instance == self.instance

    def require(self, instance: Instance) -> None:
        """See that what is about to be sent is not of an instance that has ended while the request waited.

        :raise Superseded: when it is.
        """
        if not self.present.is_current(instance):
            raise Superseded(f"{self.identity.name} has become another repository")

    async def renewed(self) -> "Right":
        """Return the right as it is now.

        :raise UpstreamRefused: when the upstream does not let this client in any more.
        :raise UpstreamError: when it can't be asked.
        """
        same = self.present.era(self.identity) == self.era
        return self if same and self.instance is not None else await self.give()

    async def settled(self, seconds: float) -> "Right":
        """Return the right once it is no longer in doubt whether the repository is the same, if that takes no longer.

        :raise UpstreamRefused: when the upstream does not let this client in any more.
        :raise UpstreamError: when it can't be asked.
        """
        if self.instance is not None:
            return self
        await self.present.settled(self.identity, seconds)
        return await self.renewed()


class ClientCredentials:
    """Knows by host which headers of a request are its client's credential.

    :param names: host, as in identities, to the headers that are credentials there besides ``Authorization``.
    """

    def __init__(self, names: Mapping[str, Collection[str]]) -> None:
        self.replace(names)

    def replace(self, names: Mapping[str, Collection[str]]) -> None:
        """Know these from now on."""
        self._names = {host: frozenset(name.lower() for name in named) for host, named in names.items()}

    def at(self, host: str) -> frozenset[str]:
        """Return their lower-case names for a host."""
        return self._names.get(host, frozenset())

    def all_names(self) -> frozenset[str]:
        """Return their lower-case names for any host."""
        return frozenset().union(*self._names.values())

    def is_named(self, name: str) -> bool:
        """Whether a header, by its lower-case name, is a credential at any host."""
        return any(name in named for named in self._names.values())

    def of(self, request: StreamingRequest, host: str) -> str | None:
        """Return a request's credential at a host, None when it shows none.

        :raise BadRequest: when it is no text.
        """
        return credential_of(lambda name: shown(request, name), self.at(host))


def credential_of(header: Callable[[str], str | None], names: Collection[str]) -> str | None:
    """Return what a request shows, None when that is nothing.

    It is one text, as :mod:`cachew.upstream.presented_credential` has it.

    :param header: returns a header's text, one character for each byte, None or nothing when there is none.
    :param names: lower-case names of further headers that are credentials.
    """
    authorization = header(AUTHORIZATION)
    others = [f"{name}: {value}" for name in sorted({*names} - {AUTHORIZATION}) if (value := header(name))]
    return "\n".join([authorization or "", *others]) if others else authorization


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


class UpstreamGuard:
    """Lets in whom the repository's upstream lets in.

    :param verdicts: what upstreams said.
    :param instances: knows which repositories the names stand for.
    :param look: what is done first; None where there is one server only.
    :param background: where it is found out which repositories are public.
    :param credentials: says what of a request is its client's credential.
    """

    def __init__(
        self,
        *,
        verdicts: Verdicts,
        instances: Instances,
        background: Background,
        look: Look | None = None,
        credentials: ClientCredentials = AUTHORIZATION_ALONE,
    ) -> None:
        self._verdicts = verdicts
        self._instances = instances
        self._look = look
        self._background = background
        self._credentials = credentials

    async def admit(self, request: StreamingRequest, identity: Identity) -> Right:
        """Let a request through.

        :return: what it may read.
        :raise UpstreamRefused: when the upstream does not let this client in.
        :raise UpstreamError: when it can't be asked and no verdict is valid.
        """
        authorization = self._credentials.of(request, identity.host)
        if self._look is not None:
            await self._look(identity)
        memory = self._verdicts.memory
        may = memory.allows(identity, authorization) or await self._verdicts.admit(identity, authorization)
        if authorization is not None and self._verdicts.might_be_public(identity):
            looking = self._verdicts.find_out_whether_public(identity)
            self._background.start(looking, f"public or not, of {identity.name}")
        instance = self._instances.readable(identity) if may else None
        # A credential goes nowhere where it isn't needed. Before anything was listed it may be: there are hosts that
        # tell everybody what they speak, and refs only those who may read.
        needed = instance is None or not memory.allows(identity, None)
        return Right(
            identity=identity,
            instance=instance,
            authorization=authorization if needed else None,
            era=self._instances.era(identity),
            present=self._instances,
            give=partial(self.admit, request, identity),
        )


class TrustedNetworkGuard:
    """Lets everybody in who reaches the port; upstreams are asked with the server's own credentials.

    :param instances: knows which repositories the names stand for.
    :param look: what is done first; None where there is one server only.
    """

    def __init__(self, *, instances: Instances, look: Look | None = None) -> None:
        self._instances = instances
        self._look = look

    async def admit(self, request: StreamingRequest, identity: Identity) -> Right:
        """Let a request through; nothing of the client's is shown to the upstream."""
        if self._look is not None:
            await self._look(identity)
        return Right(
            identity=identity,
            instance=self._instances.readable_to_all(identity),
            authorization=None,
            era=self._instances.era(identity),
            present=self._instances,
            give=partial(self.admit, request, identity),
        )
