"""Work that one replica does for all of them: in every interval each task is done once, by whoever comes first.

What counts is written down in records that the replicas share: how often a task was done, and when. Whoever finds a
task due takes its lease, looks again, and does it; the others learn from the record that it was done. While the records
can't be reached nothing is done by schedule, lest every replica do it.
"""

from collections.abc import Awaitable, Callable

from twisted.internet.defer import CancelledError

from cachew.mirrors.identity import Identity
from cachew.plumbing.clock import Clock
from cachew.plumbing.errors import Conflict, MirrorGone
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.percent import encoded
from cachew.replicas.completions import Completion, TaskCompletions
from cachew.replicas.leases import Leases
from cachew.replicas.records import escaped
from cachew.snapshots.schedule import Run, learnt
from cachew.snapshots.timetable import IsDue

Work = Callable[[Identity, str], Awaitable[bool]]
"""Does a task; says whether anything was made."""

_Attempt = tuple[bool | None, Run | None]


class SharedWork:
    """Performs the schedule's tasks together with the other replicas.

    :param leases: who works on what.
    :param progress: what was done; the completion ``checks/TASK`` is of each time that it was seen to, the counter
        ``made/TASK`` of each time that something was made.
    :param work: does a task.
    :param own: the names of tasks that every replica does for itself.
    :param instance_of: tells a repository from others that have had its name; what was done for those doesn't count.
    :param clock: the time of day.
    :param metrics: where it is counted what came of tasks.
    """

    def __init__(
        self,
        *,
        leases: Leases,
        progress: TaskCompletions,
        work: Work,
        own: frozenset[str],
        instance_of: Callable[[Identity], str] = lambda identity: "",
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._leases = leases
        self._progress = progress
        self._work = work
        self._instance_of = instance_of
        self._own = own
        self._clock = clock
        self._metrics = metrics

    async def perform(self, identity: Identity, name: str, last: Run | None, is_due: IsDue) -> Run | None:
        """Do a task, unless another replica has done it or is at it; see :data:`cachew.snapshots.scheduler.Perform`.

        :raise StorageUnavailable: when the records can't be reached.
        :raise MirrorGone: when there is nothing to do it of, which is no failure.
        :raise LeaseLost: when another replica may have taken over meanwhile.
        """
        outcome = self._metrics.scheduled
        kind = name.partition(" ")[0]
        try:
            made, run = await self._attempt(identity, name, last, is_due)
        except (CancelledError, MirrorGone):
            raise
        except Exception:
            outcome.labels(kind, "failed").inc()
            raise
        outcome.labels(kind, {True: "made", False: "unchanged", None: "elsewhere"}[made]).inc()
        return run

    async def _attempt(self, identity: Identity, name: str, last: Run | None, is_due: IsDue) -> _Attempt:
        if name in self._own:
            return await self._work(identity, name), Run(self._clock.now(), True)
        record = record_of(identity, name)

        async def work() -> _Attempt:
            # Another replica may have finished between the look and the lease.
            since = await self._progress.last(f"checks/{record}")
            known = self._known(identity, since, last)
            if known is not None and not is_due(known):
                return None, known
            instance = self._instance_of(identity)
            made = await self._work(identity, name)
            return await self._done(record, made, since, instance)

        known = self._known(identity, await self._progress.last(f"checks/{record}"), last)
        if known is not None and not is_due(known):
            return None, known
        return await self._leases.run(record, work) or (None, None)

    def _known(self, identity: Identity, completion: Completion | None, last: Run | None) -> Run | None:
        if completion is None:
            return last
        if completion.detail.get("instance", "") != self._instance_of(identity):
            return None
        return learnt(last, completion.number, completion.at, self._clock.now())

    async def _done(self, record: str, made: bool, since: Completion | None, instance: str) -> _Attempt:
        try:
            completion = await self._progress.completed(f"checks/{record}", since=since, made=made, instance=instance)
        except Conflict:
            # The lease was lost without anybody here having noticed, as when the process is stopped for a while.
            return None, None
        if made:
            await self._progress.count(f"made/{record}")
        return made, Run(self._clock.now(), True, completion.number)


def record_of(identity: Identity, name: str) -> str:
    """Return what a task is called in shared records; a branch in the task's name may hold slashes."""
    return escaped(f"{encoded(name)}/{identity.name}")
