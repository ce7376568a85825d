"""Repositories that the config names: mirrored before anybody asks for them, kept up to date, never the least used."""

from collections.abc import Awaitable, Callable, Iterator, Sequence

from twisted.logger import Logger

from cachew.config.namepatterns import NamePattern
from cachew.mirrors.identity import Identity
from cachew.plumbing.errors import CachewError
from cachew.plumbing.together import all_of


class NamedByPattern:
    """The repositories that a pattern stands for, as their forge lists them.

    :param pattern: the pattern.
    :param listed: has the forge list the paths of all repositories of the pattern's owner, so many at most.
    :param identity_of: reads a name, or raises :class:`CachewError`.
    :param most: how many repositories it may stand for.
    """

    log = Logger()

    def __init__(
        self,
        *,
        pattern: NamePattern,
        listed: Callable[[NamePattern, int], Awaitable[Sequence[str]]],
        identity_of: Callable[[str], Identity],
        most: int,
    ) -> None:
        self._pattern = pattern
        self._listed = listed
        self._identity_of = identity_of
        self._most = most
        self._last: list[Identity] = []

    async def __call__(self) -> Sequence[Identity]:
        """Return them; when the forge does not list them, those that it listed last."""
        pattern = self._pattern
        name = f"{pattern.host}/{pattern.owner}/{pattern.name}"
        try:
            # One more, so that it is seen whether there are more.
            paths = await self._listed(pattern, self._most + 1)
        except CachewError as error:
            self.log.warn("{pattern} can't be listed: {error}", pattern=name, error=str(error))
            return self._last
        if len(paths) > self._most:
            self.log.warn(
                "{pattern} stands for more than {count} repositories; the others are left out (prefetch.most)",
                pattern=name,
                count=self._most,
            )
        self._last = list(self._identities(paths[: self._most]))
        return self._last

    def _identities(self, paths: Sequence[str]) -> Iterator[Identity]:
        for path in filter(self._pattern.matches, paths):
            try:
                yield self._identity_of(f"{self._pattern.host}/{path}")
            except CachewError as error:
                self.log.warn("{repository} can't be fetched ahead: {error}", repository=path, error=str(error))


class Prefetch:
    """Brings some repositories up to date at every turn.

    :param repositories: those that are named.
    :param patterns: give those that patterns stand for.
    :param bring: has one mirrored, or fetched into its mirror, and returns when that is done.
    :param used: told of each, so that others make room first.
    :param at_once: how many are brought at a time: what clients ask for has the other places.
    """

    log = Logger()

    def __init__(
        self,
        *,
        repositories: Sequence[Identity],
        patterns: Sequence[Callable[[], Awaitable[Sequence[Identity]]]],
        bring: Callable[[Identity], Awaitable[object]],
        used: Callable[[Identity], object],
        at_once: int,
    ) -> None:
        self._repositories = repositories
        self._patterns = patterns
        self._bring = bring
        self._used = used
        self._at_once = at_once

    async def turn(self) -> None:
        """Bring all of them up to date; what fails is tried again at the next turn."""
        named = [*self._repositories]
        for listed in self._patterns:
            named += await listed()
        queue = iter(dict.fromkeys(named))
        # That it was broken off is all that can come of the work, but for our own faults.
        await all_of(self._work(queue) for _ in range(self._at_once))

    async def _work(self, queue: Iterator[Identity]) -> None:
        for identity in queue:
            try:
                await self._bring(identity)
            except CachewError as error:
                self.log.warn(
                    "{repository} can't be fetched ahead: {error}", repository=identity.name, error=str(error)
                )
            self._used(identity)
