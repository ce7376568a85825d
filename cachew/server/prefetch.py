"""Repositories that the config names: mirrored before anybody asks for them, kept up to date, never the least used."""

from collections.abc import Awaitable, Callable, Sequence

from twisted.logger import Logger

from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import CachewError


class Prefetch:
    """Brings some repositories up to date at every turn.

    :param repositories: which.
    :param bring: has one mirrored, or fetched into its mirror; its end is not waited for.
    :param used: told of each, so that others make room first.
    """

    log = Logger()

    def __init__(
        self,
        *,
        repositories: Sequence[Identity],
        bring: Callable[[Identity], Awaitable[object]],
        used: Callable[[Identity], object],
    ) -> None:
        self._repositories = repositories
        self._bring = bring
        self._used = used

    async def turn(self) -> None:
        """Begin to bring all of them up to date; what fails is tried again at the next turn."""
        for identity in self._repositories:
            try:
                await self._bring(identity)
            except CachewError as error:
                self.log.warn(
                    "{repository} can't be fetched ahead: {error}", repository=identity.name, error=str(error)
                )
            self._used(identity)
