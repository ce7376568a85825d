"""Keeps archives fresh: at every turn it does what is due, a few things at a time.

One scheduler serves all repositories. What a task does is handed in, and what was done is in
:mod:`cachew.snapshots.taskhistory`, when it is due again in :mod:`cachew.snapshots.timetable`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from cachew.mirrors.identity import Identity
from cachew.plumbing.jobs import Slots
from cachew.plumbing.periodic import Periodic
from cachew.snapshots.schedule import Intervals, Task
from cachew.snapshots.taskhistory import TaskHistory
from cachew.snapshots.taskruns import IsLong, Perform, TaskRuns

TURN = 15.0
"""The most seconds between two looks at what is due."""

_TURNS_AN_INTERVAL = 10
_QUICKEST_TURN = 0.1

PATIENCE = 60.0
"""Seconds in which nobody's asking makes a task be done a second time."""

_MOST_LOOKED_AT = 1000

_BEGUN_AT_ONCE = 20
"""Tasks that are begun before others have their turn: of most of them nothing is to be done, which shows at once."""

_AT_ONCE = 500
"""Repositories that are looked at before others have their turn: a few milliseconds."""


async def _at_once() -> None:
    """Go on."""


class Scheduler(Service):
    """Begins what is due: archives, bundles and repacks of every mirrored repository.

    :param repositories: gives the repositories whose mirrors are ready.
    :param perform: does a task.
    :param slots: bounds how much is done at once; of its own, since what a task waits for may need others.
    :param reactor: gives the turns.
    :param history: knows what was done and asked for, and how often things are done.
    :param is_long: tells which tasks get no place that is kept for short ones.
    :param known: awaited before a turn: tells when it is known what there is of each.
    """

    def __init__(
        self,
        *,
        repositories: Callable[[], Iterable[Identity]],
        perform: Perform,
        slots: Slots,
        reactor: IReactorTime,
        history: TaskHistory,
        is_long: IsLong = lambda repository, name: False,
        known: Callable[[], Awaitable[None]] = _at_once,
    ) -> None:
        self._repositories = repositories
        self._reactor = reactor
        self._history = history
        self._known = known
        self._tasks = TaskRuns(perform=perform, slots=slots, is_long=is_long, history=history)
        self._turns = Periodic(
            name="schedule", interval=_turn(history.intervals), work=self.turn, reactor=reactor, now=True
        )

    def startService(self) -> None:
        """Begin to do what is due."""
        super().startService()
        self._turns.startService()

    def stopService(self) -> Deferred[None]:
        """Break off what is being done, wait for it, and write down what was done."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._turns.stopService()
        await self._tasks.stop()
        await self._history.remember(self._names(), at_once=True)

    def _names(self) -> list[str]:
        return [identity.name for identity in self._repositories()]

    def replace(self, intervals: Intervals) -> None:
        """Do things so often from now on."""
        self._history.go_by(intervals)
        self._turns.replace(_turn(intervals))

    async def turn(self) -> None:
        """Begin whatever is due and isn't being done; the ends are not waited for."""
        history, timetable, intervals = self._history, self._history.timetable, self._history.intervals
        await history.recall()
        await self._known()
        now = history.now()
        identities = {identity.name: identity for identity in self._repositories()}
        history.forget_old(identities, now, forget=intervals.forget, asked_for=intervals.asked_for)
        tasks = await self._ripe([name for name in identities if timetable.earliest.get(name, 0.0) <= now], now)
        due = (task for task in timetable.due(tasks, history.runs, now) if task not in self._tasks)
        for count, task in enumerate(islice(due, _MOST_LOOKED_AT), 1):
            self._tasks.begin(task, identities[task.repository], timetable.is_due(task, tasks[task]))
            if count % _BEGUN_AT_ONCE == 0:
                await deferLater(self._reactor, 0)
        await history.remember(identities)

    async def _ripe(self, names: Sequence[str], now: float) -> dict[Task, float]:
        tasks: dict[Task, float] = {}
        for start in range(0, len(names), _AT_ONCE):
            if start:
                await deferLater(self._reactor, 0)
            tasks.update(self._tasks_of(names[start : start + _AT_ONCE], now))
        return tasks

    def _tasks_of(self, names: Sequence[str], now: float) -> dict[Task, float]:
        """Return the tasks of some repositories, and note when the next of each can be due."""
        intervals, lately = self._history.intervals, self._history.intervals.asked_for
        asked = frozenset(names) if intervals.while_asked and not lately else frozenset()
        if intervals.while_asked and lately:
            asked = frozenset(name for name in names if self._history.asked_within(name, lately, now))
        tasks = {
            Task(name, what): interval
            for name in names
            for what, interval in intervals.always.items()
            if what not in intervals.while_asked or name in asked
        }
        present = frozenset(names)
        tasks |= {task: intervals.wanted for task in self._history.wanted if task.repository in present}
        self._history.timetable.plan(names, tasks, self._history.runs)
        return tasks

    def forget(self, identity: Identity) -> None:
        """Know nothing any more of what was done for a repository: its name stands for another one now."""
        self._history.forget(identity.name)

    def oldest(self, name: str) -> float:
        """Return how many seconds ago a task succeeded for the repository for which that is longest ago.

        :return: 0 when it is switched off, or there is no repository for which it ever did.
        """
        names = self._names() if self._history.intervals.always.get(name) else []
        return self._history.since_success(Task(repository, name) for repository in names)

    def warm(self, identity: Identity, name: str) -> None:
        """Do a task because somebody would have liked its result, unless it is being done or was done just now."""
        task = Task(identity.name, name)
        now, last = self._history.now(), self._history.runs.get(task)
        recently = last is not None and now - last.at < PATIENCE
        if self.running and not recently:
            self._tasks.begin(task, identity, lambda run: True)


def _turn(intervals: Intervals) -> float:
    """Return the seconds between two looks: few enough that the shortest interval is kept."""
    often = [interval for interval in (*intervals.always.values(), intervals.wanted) if interval > 0]
    return max(_QUICKEST_TURN, min([TURN, *(interval / _TURNS_AN_INTERVAL for interval in often)]))
