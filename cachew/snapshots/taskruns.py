"""The schedule's tasks that are being done."""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.mirrors.identity import Identity
from cachew.plumbing.background import log_failure
from cachew.plumbing.errors import MirrorGone
from cachew.plumbing.jobs import Slots
from cachew.snapshots.schedule import Run, Task
from cachew.snapshots.taskhistory import TaskHistory
from cachew.snapshots.timetable import IsDue

_MOST_BEGUN = 100
"""Tasks that are being done or wait for a place, of long ones and of short ones."""

IsLong = Callable[[str, str], bool]
"""Whether a task will take long, given the repository's name and its own."""

Perform = Callable[[Identity, str, Run | None, IsDue], Awaitable[Run | None]]
"""Does a task unless it turns out not to be due; gives how it was done last, None to be asked again soon."""


class TaskRuns:
    """Does tasks, each at most once at a time.

    :param perform: does one.
    :param slots: bounds how many are done at once.
    :param is_long: tells which get no place that is kept for short ones.
    :param history: is told how they were done.
    """

    log = Logger()

    def __init__(self, *, perform: Perform, slots: Slots, is_long: IsLong, history: TaskHistory) -> None:
        self._perform = perform
        self._slots = slots
        self._is_long = is_long
        self._history = history
        self._running: dict[Task, Deferred[None]] = {}
        self._long: set[Task] = set()

    def __contains__(self, task: Task) -> bool:
        return task in self._running

    def begin(self, task: Task, identity: Identity, is_due: IsDue) -> None:
        """Begin a task, unless it, or very many like it, have begun: long ones that wait keep no short one from it."""
        if task in self._running:
            return
        long = self._is_long(task.repository, task.name)
        if (len(self._long) if long else len(self._running) - len(self._long)) >= _MOST_BEGUN:
            return
        work = Deferred.fromCoroutine(self._do(task, identity, is_due, long))
        if not work.called:
            self._running[task] = work
            if long:
                self._long.add(task)
        work.addBoth(self._ended, task)

    def _ended(self, _: object, task: Task) -> None:
        self._running.pop(task, None)
        self._long.discard(task)

    async def _do(self, task: Task, identity: Identity, is_due: IsDue, long: bool) -> None:
        last = self._history.runs.get(task)
        run: Run | None = Run(0.0, False, last.number if last is not None else 0)
        try:
            async with self._slots.take(task.repository, long=long):
                run = await self._perform(identity, task.name, last, is_due)
        except CancelledError:
            return
        except MirrorGone:
            # One that is being made, too: whoever asks next has it begun again.
            run = last
        except Exception:
            log_failure(self.log, "{task.name} of {task.repository}", Failure(), task=task)
        self._history.note(task, run, last)

    async def stop(self) -> None:
        """Break off what is being done, and wait for its end."""
        running = list(self._running.values())
        for work in running:
            work.cancel()
        await DeferredList(running)
