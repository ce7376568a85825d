"""Takes up a changed config while the server runs.

The config is read again as at the start. One with a mistake changes nothing. Otherwise each part that can follow is
handed what is new to it, and what can't be changed before the next start is named.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.logger import Logger

from cachew.config.contradictions import dotted
from cachew.config.differences import differences, is_changeable
from cachew.config.inforce import Reloaded, SettingsInForce
from cachew.config.load import ConfigErrors
from cachew.config.settings import Settings
from cachew.plumbing.shared import Shared

Follower = Callable[[Settings], object]
"""Has a part of the server follow new settings."""


class Reload:
    """Reads the config again and has the server follow.

    :param read: reads it; may block.
    :param in_thread: for the reading.
    :param in_force: the settings that count now.
    :param followers: the parts that can follow.
    """

    log = Logger()

    def __init__(
        self,
        *,
        read: Callable[[], Settings],
        in_thread: Callable[..., Awaitable[Any]],
        in_force: SettingsInForce,
        followers: Sequence[Follower],
    ) -> None:
        self._read = read
        self._in_thread = in_thread
        self._in_force = in_force
        self._followers = followers
        self._started = in_force.now
        self._reading: Shared[str, Reloaded] = Shared()

    async def __call__(self) -> Reloaded:
        """Read the config and follow it."""
        return await self._reading.run("config", self._reload)

    async def _reload(self) -> Reloaded:
        try:
            settings = await self._in_thread(self._read)
        except ConfigErrors as errors:
            for line in errors.lines():
                self.log.error("the config was not taken up: {problem}", problem=line)
            return Reloaded(problems=errors.lines())
        found = self._compared(settings)
        for follow in self._followers:
            follow(settings)
        self._in_force.replace(settings)
        self._say(found)
        return found

    def _compared(self, settings: Settings) -> Reloaded:
        applied = [path for path in differences(self._in_force.now, settings) if is_changeable(path)]
        waiting = [path for path in differences(self._started, settings) if not is_changeable(path)]
        return Reloaded(applied=[*map(dotted, applied)], waiting=[*map(dotted, waiting)])

    def _say(self, found: Reloaded) -> None:
        self.log.info("read the config anew; changed: {keys}", keys=", ".join(found.applied) or "nothing")
        if found.waiting:
            self.log.warn("these keys count from the next start on: {keys}", keys=", ".join(found.waiting))
