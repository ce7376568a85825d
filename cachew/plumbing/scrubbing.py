"""Reading everything that is kept once in a long while, so that what a disk forgets by itself is found in time.

What nobody asks for shows its damage to nobody. A scrub reads it all, a little at a time: on the average no more bytes
a second than it may. When the last one ended is written down, so that restarts neither skip nor repeat it.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import CachewError
from cachew.plumbing.jsonfile import write_json
from cachew.plumbing.threads import Threads

Pace = Callable[[int], Awaitable[object]]
"""Awaited with the bytes that were just read; gives others their turn at the disk."""

Area = Callable[[Pace], Awaitable[None]]
"""Reads all of one kind, and sees to what is damaged."""

_TURN = 60.0
_FIRST = 600.0
"""Seconds after which what has never been scrubbed is."""


class Scrub:
    """Scrubs again and again.

    :param areas: what is read, each with its name for the log.
    :param interval: seconds from the end of one scrub to the next; 0 for never.
    :param rate: bytes a second.
    :param file: where it is written down when the last one ended.
    :param reactor: for the pace.
    :param clock: tells when it was done last.
    :param threads: for the file.
    """

    log = Logger()

    def __init__(
        self,
        *,
        areas: Sequence[tuple[str, Area]],
        interval: float,
        rate: int,
        file: Path,
        reactor: IReactorTime,
        clock: Clock,
        threads: Threads,
    ) -> None:
        self._areas = areas
        self.replace(interval=interval, rate=rate)
        self._file = file
        self._reactor = reactor
        self._clock = clock
        self._threads = threads
        self._read = 0
        self._ended: float | None = None

    def replace(self, *, interval: float, rate: int) -> None:
        """Scrub so often and so fast from now on."""
        self._interval = interval
        self._rate = rate

    @property
    def turn_interval(self) -> float:
        """Seconds between two looks at whether it is time."""
        return min(_TURN, self._interval or _TURN)

    async def turn(self) -> None:
        """Scrub everything, if it is time."""
        if not self._interval:
            return
        if self._ended is None:
            self._ended = await self._threads(_ended_at, self._file)
        now = self._clock.now()
        if self._ended is None or self._ended > now:
            self._ended = now - self._interval + min(self._interval, _FIRST)
        if now - self._ended >= self._interval:
            await self._scrub()
            self._ended = self._clock.now()
            await self._threads(_note, self._file, self._ended)

    async def _scrub(self) -> None:
        started, self._read = self._reactor.seconds(), 0
        for name, area in self._areas:
            try:
                await area(self._pace)
            except (CachewError, OSError) as error:
                self.log.warn("scrubbing {area} failed: {error}", area=name, error=str(error))
        seconds = self._reactor.seconds() - started
        self.log.info("scrubbed {size} bytes in {seconds:.0f}s", size=self._read, seconds=seconds)

    async def _pace(self, size: int) -> None:
        self._read += size
        await deferLater(self._reactor, size / self._rate)


def _ended_at(file: Path) -> float | None:
    try:
        return float(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _note(file: Path, at: float) -> None:
    with suppress(OSError):
        write_json(file, at)
