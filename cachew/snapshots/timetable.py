"""When the schedule's tasks are due on this replica, and when a repository has to be looked at next."""

from collections.abc import Callable, Collection, Mapping

from cachew.plumbing.clock import Clock
from cachew.snapshots import schedule
from cachew.snapshots.schedule import Run, Task

IsDue = Callable[[Run | None], bool]
"""Whether a task is to be done, given how it was done last."""


class Timetable:
    """Tells what is due.

    :param clock: what time it is.
    :param seed: what is this replica's own, so that not all replicas find the same due at the same moment.
    """

    def __init__(self, *, clock: Clock, seed: str) -> None:
        self._clock = clock
        self._seed = seed
        self.earliest: dict[str, float] = {}
        """When anything of a repository can be due, as long as nothing is known that changes it."""

    def due(self, tasks: Mapping[Task, float], runs: Mapping[Task, Run], now: float) -> list[Task]:
        """Return the tasks that are to be done now, the longest overdue first.

        :param tasks: every task, to its interval in seconds; 0 switches it off.
        :param runs: how they were done last.
        """
        return schedule.due(tasks, runs, now, self._seed)

    def is_due(self, task: Task, interval: float) -> IsDue:
        """Return what tells whether a task is to be done."""
        return lambda run: schedule.is_due(task, interval, run, self._clock.now(), self._seed)

    def plan(self, repositories: Collection[str], tasks: Mapping[Task, float], runs: Mapping[Task, Run]) -> None:
        """Note when the next of the tasks of some repositories can be due."""
        self.earliest |= dict.fromkeys(repositories, float("inf"))
        for task, at in schedule.next_times(tasks, runs, self._seed).items():
            self.earliest[task.repository] = min(at, self.earliest[task.repository])

    def keep(self, repositories: Collection[str]) -> None:
        """Know nothing any more of repositories but these."""
        self.earliest = {name: at for name, at in self.earliest.items() if name in repositories}
