"""Fetches of one mirror, each in its place, and what is noted of how they end."""

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.logger import Logger

from cachew.mirrors.gitrunner import GitRunner
from cachew.mirrors.identity import Identity
from cachew.mirrors.life import MirrorLife
from cachew.mirrors.place import MirrorPlace
from cachew.plumbing.clock import Clock
from cachew.plumbing.jobs import Slots
from cachew.plumbing.metrics import Metrics


class Fetches:
    """Runs the fetches of one mirror.

    :param life: what becomes of the mirror.
    :param place: where it lies.
    :param git: has the places of fetches.
    :param clock: what time it is.
    :param metrics: where fetches are counted.
    :param on_grown: told when something has come.
    """

    log = Logger()

    def __init__(
        self,
        *,
        life: MirrorLife,
        place: MirrorPlace,
        git: GitRunner,
        clock: Clock,
        metrics: Metrics,
        on_grown: Callable[[Identity], object],
    ) -> None:
        self._life = life
        self._place = place
        self._git = git
        self._clock = clock
        self._metrics = metrics
        self._on_grown = on_grown

    async def of_refs(self, work: Coroutine[Any, Any, None]) -> None:
        """Fetch towards the upstream's refs."""
        await self._run(self._git.fetches, work)

    async def by_id(self, work: Coroutine[Any, Any, None]) -> None:
        """Fetch what clients have asked for by its id."""
        await self._run(self._git.by_id, work)

    async def _run(self, places: Slots, work: Coroutine[Any, Any, None]) -> None:
        name, started = self._life.identity.name, self._clock.seconds()
        try:
            async with places.take(name):
                await work
        except BaseException as error:
            self._life.last_error = str(error)
            self._metrics.fetches.labels("failed").inc()
            raise
        finally:
            work.close()
            self._life.changed()
        self.done()
        self._on_grown(self._life.identity)
        seconds = self._clock.seconds() - started
        self._metrics.fetches.labels("ok").inc()
        self._metrics.fetch_seconds.observe(seconds)
        self.log.info("fetched {repository} in {seconds:.2f}s", repository=name, seconds=seconds)

    def done(self) -> None:
        """Take note that something has come just now."""
        self._life.last_fetch = self._clock.now()
        self._life.last_error = None
        self._place.touch()
