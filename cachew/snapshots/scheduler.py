"""Keeps archives fresh: at every turn it does what is due, a few things at a time.

One scheduler serves all repositories. What a task does is handed in; here is only when, how many at once, and what is
remembered of it, in a file that outlives restarts. When the machine's clock is put forward or back, what is remembered
goes with it: nothing is made too early, or not for as long as it was wrong.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cachew.mirrors.identity import Identity
from cachew.plumbing.background import log_failure
from cachew.plumbing.clock import Clock
from cachew.plumbing.jobs import Slots
from cachew.plumbing.jsonfile import replace_content
from cachew.plumbing.periodic import Periodic
from cachew.plumbing.threads import InThread
from cachew.snapshots import schedule
from cachew.snapshots.schedule import Memory, Run, Task

TURN = 15.0
"""The most seconds between two looks at what is due."""

_TURNS_AN_INTERVAL = 10
_QUICKEST_TURN = 0.1

PATIENCE = 60.0
"""Seconds in which nobody's asking makes a task be done a second time."""

_MOST_BEGUN = 100
"""Tasks that are being done or wait for a place, of long ones and of short ones."""
_MOST_LOOKED_AT = 1000

_AT_ONCE = 500
"""Repositories that are looked at before others have their turn: a few milliseconds."""

_BETWEEN_FORGETTING = 600.0
_BETWEEN_WRITING = 60.0
"""Seconds between two times at which the memory is written: a crash forgets what was done in between."""

_JUMP = 2.0
"""Seconds from which the clock was not merely adjusted."""

IsLong = Callable[[str, str], bool]
"""Whether a task will take long, given the repository's name and its own."""

IsDue = Callable[[Run | None], bool]
"""Whether a task is to be done, given how it was done last."""

Perform = Callable[[Identity, str, Run | None, IsDue], Awaitable[Run | None]]
"""Does a task unless it turns out not to be due; gives how it was done last, None to be asked again soon."""


@dataclass(frozen=True)
class Intervals:
    """How often things are done.

    :param always: name of a task to its interval in seconds, for every repository; 0 switches it off.
    :param wanted: the interval of a task that is done only while somebody asks for it.
    :param forget: seconds after which a task that nobody asked for is done no more.
    :param while_asked: those of ``always`` that are done only of repositories that somebody has asked for lately.
    :param asked_for: how lately, in seconds; 0 does them of every repository.
    """

    always: Mapping[str, float]
    wanted: float
    forget: float
    while_asked: frozenset[str] = frozenset()
    asked_for: float = 0.0


class Scheduler(Service):
    """Begins what is due: archives, bundles and repacks of every mirrored repository.

    :param intervals: how often.
    :param repositories: gives the repositories whose mirrors are ready.
    :param perform: does a task.
    :param slots: bounds how much is done at once; of its own, since what a task waits for may need others.
    :param reactor: gives the turns.
    :param clock: tells what is due, and that the time of day was put forward or back.
    :param threads: for the file.
    :param file: what is remembered across restarts.
    :param seed: what is this replica's own.
    :param is_long: tells which tasks get no place that is kept for short ones.
    """

    log = Logger()

    def __init__(
        self,
        *,
        intervals: Intervals,
        repositories: Callable[[], Iterable[Identity]],
        perform: Perform,
        slots: Slots,
        reactor: IReactorTime,
        clock: Clock,
        threads: InThread,
        file: Path,
        seed: str,
        is_long: IsLong = lambda repository, name: False,
    ) -> None:
        self._intervals = intervals
        self._repositories = repositories
        self._perform = perform
        self._slots = slots
        self._clock, self._reactor = clock, reactor
        self._threads = threads
        self._file = file
        self._seed = seed
        self._is_long = is_long
        self._ahead: float | None = None
        self._runs: dict[Task, Run] = {}
        self._succeeded: dict[Task, float] = {}
        self._wanted: dict[Task, float] = {}
        self._asked: dict[str, float] = {}
        self._earliest: dict[str, float] = {}
        """When anything of a repository can be due, as long as nothing is known that changes it."""
        self._forgotten_at = self._written_at = float("-inf")
        self._running: dict[Task, Deferred[None]] = {}
        self._long: set[Task] = set()
        self._loaded = self._changed = False
        self._turns = Periodic(name="schedule", interval=_turn(intervals), work=self.turn, reactor=reactor, now=True)

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
        running = list(self._running.values())
        for work in running:
            work.cancel()
        await DeferredList(running)
        self._written_at = float("-inf")
        await self._remember()

    def replace(self, intervals: Intervals) -> None:
        """Do things so often from now on."""
        self._intervals = intervals
        self._earliest.clear()
        self._turns.replace(_turn(intervals))

    async def turn(self) -> None:
        """Begin whatever is due and isn't being done; the ends are not waited for."""
        await self._recall()
        now = self._now()
        identities = {identity.name: identity for identity in self._repositories()}
        self._wanted = schedule.still_wanted(self._wanted, now, self._intervals.forget)
        self._forget_what_is_gone(identities, now)
        names = [name for name in identities if self._earliest.get(name, 0.0) <= now]
        tasks: dict[Task, float] = {}
        for start in range(0, len(names), _AT_ONCE):
            if start:
                await deferLater(self._reactor, 0)
            tasks.update(self._tasks(names[start : start + _AT_ONCE], now))
        due = schedule.due(tasks, self._runs, now, self._seed)
        for task in islice((task for task in due if task not in self._running), _MOST_LOOKED_AT):
            self._begin(task, identities[task.repository], self._due(task, tasks[task]))
        await self._remember()

    def _forget_what_is_gone(self, identities: Collection[str], now: float) -> None:
        if self._clock.seconds() - self._forgotten_at < _BETWEEN_FORGETTING:
            return
        self._forgotten_at = self._clock.seconds()
        self._runs = schedule.still_known(self._runs, identities, now, self._intervals.forget)
        keep = max(self._intervals.forget, self._intervals.asked_for)
        self._asked = {name: at for name, at in self._asked.items() if now - at < keep}
        self._earliest = {name: at for name, at in self._earliest.items() if name in identities}

    def asked(self, identity: Identity) -> None:
        """Note that somebody asks for a repository in a way in which what is made of it is of use."""
        before = self._asked.get(identity.name, float("-inf"))
        self._asked[identity.name] = now = self._now()
        if now - before >= self._intervals.asked_for:
            self._earliest.pop(identity.name, None)
        self._changed = True

    def _is_asked(self, repository: str, now: float) -> bool:
        lately = self._intervals.asked_for
        return not lately or now - self._asked.get(repository, float("-inf")) < lately

    def want(self, identity: Identity, name: str) -> None:
        """Note that somebody asked for a task, so that it goes on being done."""
        if name not in self._intervals.always:
            self._wanted[Task(identity.name, name)] = self._now()
            self._earliest.pop(identity.name, None)
            self._changed = True

    def forget(self, identity: Identity) -> None:
        """Know nothing any more of what was done for a repository: its name stands for another one now."""
        self._runs = {task: run for task, run in self._runs.items() if task.repository != identity.name}
        self._succeeded = {task: at for task, at in self._succeeded.items() if task.repository != identity.name}
        self._asked.pop(identity.name, None)
        self._earliest.pop(identity.name, None)
        self._changed = True

    def last(self, identity: Identity, name: str) -> Run | None:
        """Return how a task was done last."""
        return self._runs.get(Task(identity.name, name))

    def oldest(self, name: str) -> float:
        """Return how many seconds ago a task succeeded for the repository for which that is longest ago.

        :return: 0 when it is switched off, or there is no repository for which it ever did.
        """
        names = [identity.name for identity in self._repositories()] if self._intervals.always.get(name) else []
        times = (self._last_success(Task(repository, name)) for repository in names)
        known = [at for at in times if at is not None]
        return max(0.0, self._clock.now() - min(known)) if known else 0.0

    def _last_success(self, task: Task) -> float | None:
        run = self._runs.get(task)
        return run.at if run is not None and run.succeeded else self._succeeded.get(task)

    def warm(self, identity: Identity, name: str) -> None:
        """Do a task because somebody would have liked its result, unless it is being done or was done just now."""
        task = Task(identity.name, name)
        now = self._now()
        last = self._runs.get(task)
        recently = last is not None and now - last.at < PATIENCE
        if self.running and task not in self._running and not recently:
            self._begin(task, identity, lambda run: True)

    def _now(self) -> float:
        """Return the time of day, after what is remembered was brought in line with it."""
        now = self._clock.now()
        ahead, self._ahead = self._ahead, now - self._clock.seconds()
        jump = 0.0 if ahead is None else self._ahead - ahead
        if abs(jump) >= _JUMP:
            way = "forward" if jump > 0 else "back"
            self.log.warn("the clock was put {way} by {seconds:.0f} seconds", way=way, seconds=abs(jump))
            moved = schedule.shifted(Memory(self._runs, self._wanted, self._asked), jump)
            self._runs, self._wanted, self._asked = dict(moved.runs), dict(moved.wanted), dict(moved.asked)
            self._earliest.clear()
            self._changed = True
        return now

    def _due(self, task: Task, interval: float) -> IsDue:
        return lambda run: schedule.is_due(task, interval, run, self._clock.now(), self._seed)

    def _tasks(self, names: Sequence[str], now: float) -> dict[Task, float]:
        """Return the tasks of some repositories, and note when the next of each can be due."""
        tasks = {
            Task(name, what): interval
            for name in names
            for what, interval in self._intervals.always.items()
            if what not in self._intervals.while_asked or self._is_asked(name, now)
        }
        present = frozenset(names)
        tasks |= {task: self._intervals.wanted for task in self._wanted if task.repository in present}
        self._earliest |= dict.fromkeys(names, float("inf"))
        for task, at in schedule.next_times(tasks, self._runs, self._seed).items():
            self._earliest[task.repository] = min(at, self._earliest[task.repository])
        return tasks

    def _begin(self, task: Task, identity: Identity, is_due: IsDue) -> None:
        """Begin a task, unless very many like it have begun: long ones that wait keep no short one from it."""
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
        last = self._runs.get(task)
        run: Run | None = Run(0.0, False, last.number if last is not None else 0)
        try:
            async with self._slots.take(task.repository, long=long):
                run = await self._perform(identity, task.name, last, is_due)
        except CancelledError:
            return
        except Exception:
            log_failure(self.log, "{task.name} of {task.repository}", Failure(), task=task)
        # What is dated by the new time already must not be moved by a jump that nobody has noticed yet.
        now = self._now()
        if last is not None and last.succeeded:
            self._succeeded[task] = last.at
        if run is not None and run is not last:
            self._runs[task] = run if run.succeeded else replace(run, at=now)
            self._earliest.pop(task.repository, None)
            self._changed = True

    async def _recall(self) -> None:
        if self._loaded:
            return
        known = schedule.not_ahead(await self._threads(remembered, self._file), self._now())
        self._runs = {**known.runs, **self._runs}
        self._wanted = {**known.wanted, **self._wanted}
        self._asked = {**known.asked, **self._asked}
        self._loaded = True

    async def _remember(self) -> None:
        if self._changed and self._clock.seconds() - self._written_at >= _BETWEEN_WRITING:
            self._changed, self._written_at = False, self._clock.seconds()
            runs = schedule.of_repositories(self._runs, (identity.name for identity in self._repositories()))
            await self._threads(_write, self._file, Memory(runs, dict(self._wanted), dict(self._asked)))


def _write(file: Path, memory: Memory) -> None:
    replace_content(file, memory.encode())


def _turn(intervals: Intervals) -> float:
    """Return the seconds between two looks: few enough that the shortest interval is kept."""
    often = [interval for interval in (*intervals.always.values(), intervals.wanted) if interval > 0]
    return max(_QUICKEST_TURN, min([TURN, *(interval / _TURNS_AN_INTERVAL for interval in often)]))


def remembered(path: Path) -> Memory:
    """Read the schedule's memory (blocking); what is missing or damaged is empty: then everything is due."""
    try:
        return Memory.decode(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return Memory()
