"""What a request may read: the right that the guard has given it, to one instance of a repository.

A right is looked at anew whenever a request has waited for something: the repository may have become another one
meanwhile, or it may be in doubt whether it has.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Instance
from cachew.plumbing.errors import Superseded


class Present(Protocol):
    """Knows which instance each repository is of now; see :class:`cachew.mirrors.instances.Instances`."""

    async def look(self, identity: Identity) -> None:
        """See what the other replicas know of a repository that is asked for."""

    def readable(self, identity: Identity) -> Instance | None:
        """Return the instance of which somebody who may read may have what is kept."""

    def readable_to_all(self, identity: Identity) -> Instance | None:
        """Return the same where nobody is asked who may read."""

    def is_current(self, instance: Instance) -> bool:
        """Whether an instance is the present one of its repository."""

    def era(self, identity: Identity) -> int:
        """Return the number of the present era of a repository."""

    async def settled(self, identity: Identity, seconds: float) -> None:
        """Wait until it is no longer in doubt whether a repository is the same."""


class OfAMirror(Protocol):
    """A mirror, as far as it matters here."""

    @property
    def ready(self) -> bool:
        """Whether it can be read."""

    @property
    def instance(self) -> Instance:
        """Whose it is."""


@dataclass(frozen=True)
class Right:
    """See the module.

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
    present: Present
    give: Callable[[], Awaitable["Right"]] = field(repr=False)

    def covers(self, mirror: OfAMirror) -> bool:
        """Whether the request may be answered from a mirror."""
        return self.instance is not None and mirror.ready and mirror.instance == self.instance

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
