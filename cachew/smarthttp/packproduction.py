"""A pack while it is produced: spooled for those who follow it, and handed over to be kept when it is whole."""

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from cachew.plumbing.production import Received, Room
from cachew.plumbing.spool import Spool
from cachew.plumbing.streams import Source


class PackProduction(Received):
    """An answer on its way.

    :param keep: called when all of it is in the spool.
    :param lost: called with what kept it from being kept.
    :param room: tells whether the disk still has room for more of it.
    """

    def __init__(
        self,
        *,
        source: Source,
        path: Path,
        keep: Callable[[Spool], Coroutine[Any, Any, None]],
        lost: Callable[[Exception], object],
        room: Room,
    ) -> None:
        super().__init__(source=source, spool=Spool(path=path), room=room)
        self._keep, self._lost = keep, lost

    async def whole(self) -> None:
        """Keep it, if it is a whole pack."""
        await self._keep(self.spool)

    def broke_off(self, failure: Exception) -> None:
        """Tell the log when it was whole; otherwise the failure is for the followers."""
        if self.spool.state == "finished":
            self._lost(failure)
