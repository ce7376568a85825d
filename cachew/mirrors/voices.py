"""As whom upstreams are asked: nobody, a client, or this server."""

from collections.abc import Awaitable, Callable

from cachew.mirrors.badhours import BadHours
from cachew.mirrors.identity import Identity
from cachew.mirrors.instance import Voice
from cachew.plumbing.errors import UpstreamError
from cachew.upstream.remotes import Remotes
from cachew.upstream.verdicts import Verdicts


class Voices:
    """Tells them apart.

    :param remotes: the ways to upstreams; None on a network whose clients are trusted, where none is asked but as
        this server.
    :param verdicts: gives what upstreams said of who may read.
    :param begin: has a repository listed that is served to everybody.
    :param bad_hours: knows which hosts refuse everything to whom.
    """

    def __init__(
        self,
        *,
        remotes: Remotes | None,
        verdicts: Callable[[], Verdicts],
        begin: Callable[[Identity], Awaitable[object]],
        bad_hours: BadHours,
    ) -> None:
        self._remotes = remotes
        self._verdicts = verdicts
        self._begin = begin
        self.bad_hours = bad_hours

    async def of(self, identity: Identity, credential: str | None) -> Voice:
        """Say whose a credential is that an upstream was shown."""
        if self._remotes is None:
            return Voice.OWN
        if credential is None:
            return Voice.ANONYMOUS
        try:
            own = await self._remotes.authorization(identity)
        except UpstreamError:
            return Voice.CLIENT
        return Voice.OWN if credential == own else Voice.CLIENT

    async def ask_anonymously(self, identity: Identity) -> None:
        """Ask an upstream whether it serves a repository to everybody, so that its answer comes to who hears it."""
        if self._remotes is None:
            return
        verdicts = self._verdicts()
        await verdicts.find_out_whether_public(identity)
        if verdicts.memory.allows(identity, None):
            await self._begin(identity)

    def knows(self, identity: Identity, credential: str | None) -> bool:
        """Say whether a credential was let in before by an answer about the present instance."""
        return self._verdicts().memory.knows(identity, credential)
