"""How the schedule's tasks were done last and who has asked for them, in a file that outlives restarts.

When the machine's clock is put forward or back, what is remembered goes with it: nothing is due too early, or not for
as long as the clock was wrong.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from twisted.logger import Logger

from cachew.mirrors.identity import Identity
from cachew.plumbing.clock import Clock
from cachew.plumbing.jsonfile import replace_content
from cachew.plumbing.threads import InThread
from cachew.snapshots import schedule
from cachew.snapshots.schedule import Intervals, Memory, Run, Task
from cachew.snapshots.timetable import Timetable

T = TypeVar("T")

_BETWEEN_FORGETTING = 600.0
_BETWEEN_WRITING = 60.0
"""Seconds between two times at which the memory is written: a crash forgets what was done in between."""

_JUMP = 2.0
"""Seconds from which the clock was not merely adjusted."""

_NEVER = float("-inf")


class TaskHistory:
    """Remembers what was done and asked for.

    :param clock: tells when, and that the time of day was put forward or back.
    :param threads: for the file.
    :param file: what is remembered across restarts.
    :param seed: what is this replica's own; see :class:`Timetable`.
    :param intervals: how often things are done.
    """

    log = Logger()

    def __init__(self, *, clock: Clock, threads: InThread, file: Path, seed: str, intervals: Intervals) -> None:
        self._clock = clock
        self._threads = threads
        self._file = file
        self.timetable = Timetable(clock=clock, seed=seed)
        self.intervals = intervals
        self._ahead: float | None = None
        self.runs: dict[Task, Run] = {}
        """How each task was done last."""
        self._succeeded: dict[Task, float] = {}
        self._asked: dict[str, float] = {}
        self.wanted: dict[Task, float] = {}
        """When somebody asked for each task, for those that are done only while somebody asks."""
        self._forgotten_at = self._written_at = _NEVER
        self._loaded = self._changed = False

    def now(self) -> float:
        """Return the time of day, after what is remembered was brought in line with it."""
        now = self._clock.now()
        ahead, self._ahead = self._ahead, now - self._clock.seconds()
        jump = 0.0 if ahead is None else self._ahead - ahead
        if abs(jump) >= _JUMP:
            way = "forward" if jump > 0 else "back"
            self.log.warn("the clock was put {way} by {seconds:.0f} seconds", way=way, seconds=abs(jump))
            moved = schedule.shifted(Memory(self.runs, self.wanted, self._asked), jump)
            self.runs, self.wanted, self._asked = dict(moved.runs), dict(moved.wanted), dict(moved.asked)
            self.timetable.earliest.clear()
            self._changed = True
        return now

    def since_success(self, tasks: Iterable[Task]) -> float:
        """Return how many seconds ago the task succeeded for which that is longest ago; 0 where none ever did."""
        known = []
        for task in tasks:
            run = self.runs.get(task)
            at = run.at if run is not None and run.succeeded else self._succeeded.get(task)
            if at is not None:
                known.append(at)
        return max(0.0, self._clock.now() - min(known)) if known else 0.0

    def asked_within(self, repository: str, seconds: float, now: float) -> bool:
        """Whether anybody has asked for a repository lately."""
        return now - self._asked.get(repository, _NEVER) < seconds

    def go_by(self, intervals: Intervals) -> None:
        """Take things for due so often from now on."""
        self.intervals = intervals
        self.timetable.earliest.clear()

    def asked(self, identity: Identity) -> None:
        """Note that somebody asks for a repository in a way in which what is made of it is of use."""
        now, repository = self.now(), identity.name
        if not self.asked_within(repository, self.intervals.asked_for, now):
            self.timetable.earliest.pop(repository, None)
        self._asked[repository] = now
        self._changed = True

    def want(self, identity: Identity, name: str) -> None:
        """Note that somebody asked for a task, so that it goes on being done."""
        if name not in self.intervals.always:
            self.wanted[Task(identity.name, name)] = self.now()
            self.timetable.earliest.pop(identity.name, None)
            self._changed = True

    def requested(self, identity: Identity, name: str) -> None:
        """Note that somebody asks for what a task makes."""
        self.asked(identity)
        self.want(identity, name)

    def note(self, task: Task, run: Run | None, last: Run | None) -> None:
        """Note how a task was done.

        :param run: how; None when that is not to be remembered.
        :param last: what was known of it when it was begun.
        """
        # What is dated by the new time already must not be moved by a jump that nobody has noticed yet.
        now = self.now()
        if last is not None and last.succeeded:
            self._succeeded[task] = last.at
        if run is not None and run is not last:
            self.runs[task] = run if run.succeeded else replace(run, at=now)
            self.timetable.earliest.pop(task.repository, None)
            self._changed = True

    def forget(self, repository: str) -> None:
        """Know nothing any more of what was done for a repository, or asked for."""
        self.runs = _of_others(self.runs, repository)
        self.wanted = _of_others(self.wanted, repository)
        self._succeeded = _of_others(self._succeeded, repository)
        self._asked.pop(repository, None)
        self.timetable.earliest.pop(repository, None)
        self._changed = True

    def forget_old(self, repositories: Collection[str], now: float, *, forget: float, asked_for: float) -> None:
        """Know nothing any more of repositories that are gone, and of what nobody has asked for since.

        :param forget: seconds since when.
        :param asked_for: seconds for which tasks are done because somebody has asked for a repository.
        """
        self.wanted = schedule.still_wanted(self.wanted, now, forget)
        if self._clock.seconds() - self._forgotten_at < _BETWEEN_FORGETTING:
            return
        self._forgotten_at = self._clock.seconds()
        self.runs = schedule.still_known(self.runs, repositories, now, forget)
        keep = max(forget, asked_for)
        self._asked = {name: at for name, at in self._asked.items() if now - at < keep}
        self.timetable.keep(repositories)

    async def recall(self) -> None:
        """Read the file, once."""
        if self._loaded:
            return
        known = schedule.not_ahead(await self._threads(remembered, self._file), self.now())
        self.runs = {**known.runs, **self.runs}
        self.wanted = {**known.wanted, **self.wanted}
        self._asked = {**known.asked, **self._asked}
        self._loaded = True

    async def remember(self, repositories: Iterable[str], *, at_once: bool = False) -> None:
        """Write the file if anything has changed, and it was not written just now.

        :param repositories: those that there are.
        :param at_once: whether it is written in any case.
        """
        lately = self._clock.seconds() - self._written_at < _BETWEEN_WRITING
        if self._changed and (at_once or not lately):
            self._changed, self._written_at = False, self._clock.seconds()
            runs = schedule.of_repositories(self.runs, repositories)
            try:
                await self._threads(_write, self._file, Memory(runs, dict(self.wanted), dict(self._asked)))
            except BaseException:
                self._changed = True
                raise


def _of_others(known: Mapping[Task, T], repository: str) -> dict[Task, T]:
    return {task: value for task, value in known.items() if task.repository != repository}


def _write(file: Path, memory: Memory) -> None:
    replace_content(file, memory.encode())


def remembered(path: Path) -> Memory:
    """Read the schedule's memory (blocking); what is missing or damaged is empty: then everything is due."""
    try:
        return Memory.decode(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return Memory()
