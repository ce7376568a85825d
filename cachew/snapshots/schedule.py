"""What is due to be made, given when it was made last (pure).

Replicas that share a configuration must not all work on the same repository in the same minute, so each shifts every
period by an amount of its own, always the same one.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from cachew.replicas.records import CLOCKS_APART

_JITTER = 0.2
_RETRY = 0.1


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


@dataclass(frozen=True)
class Task:
    """Something that is done to a repository again and again.

    :param repository: its name.
    :param name: what is done: a variant's name, ``bundles`` or ``repack``.
    """

    repository: str
    name: str


@dataclass(frozen=True)
class Run:
    """How a task was done last.

    :param at: when it ended, in seconds since the epoch.
    :param succeeded: whether it was done; finding that nothing was to be done counts.
    :param number: how often any replica had done it by then; 0 when nobody counts.
    """

    at: float
    succeeded: bool
    number: int = 0


@dataclass(frozen=True)
class Memory:
    """What outlives a restart.

    :param runs: the last run of each task.
    :param wanted: when each task was asked for last, for those that are done only while somebody asks.
    :param asked: when each repository was asked for last.
    """

    runs: Mapping[Task, Run] = field(default_factory=dict)
    wanted: Mapping[Task, float] = field(default_factory=dict)
    asked: Mapping[str, float] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return it as JSON, made in small pieces: in a thread it holds nobody up, however much it is."""
        runs = (
            json.dumps([task.repository, task.name, {"at": run.at, "succeeded": run.succeeded, "number": run.number}])
            for task, run in self.runs.items()
        )
        wanted = (json.dumps([task.repository, task.name, at]) for task, at in self.wanted.items())
        asked = (f"{json.dumps(repository)}: {at!r}" for repository, at in self.asked.items())
        parts = f'"runs": [{", ".join(runs)}]', f'"wanted": [{", ".join(wanted)}]', f'"asked": {{{", ".join(asked)}}}'
        return f"{{{', '.join(parts)}}}".encode()

    @classmethod
    def decode(cls, data: bytes) -> "Memory":
        """Read what :meth:`encode` gave.

        :raise ValueError: when it didn't.
        """
        try:
            document = json.loads(data)
            runs = {Task(repository, name): _run(**run) for repository, name, run in document["runs"]}
            wanted = {Task(repository, name): _moment(at) for repository, name, at in document["wanted"]}
            asked = {str(repository): _moment(at) for repository, at in document.get("asked", {}).items()}
            return cls(runs, wanted, asked)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a schedule's memory: {error}") from error


def _run(at: object, succeeded: object, number: object = 0) -> Run:
    if not isinstance(succeeded, bool) or not isinstance(number, int):
        raise ValueError("not how a task was done")
    return Run(_moment(at), succeeded, number)


def _moment(at: object) -> float:
    if not isinstance(at, int | float) or not math.isfinite(at):
        raise ValueError("not a moment")
    return float(at)


def due(tasks: Mapping[Task, float], runs: Mapping[Task, Run], now: float, seed: str) -> list[Task]:
    """Return the tasks that are to be done now, the longest overdue first.

    :param tasks: every task, to its interval in seconds; 0 switches it off.
    :param seed: what is this replica's own.
    """
    late = {task: now - at for task, at in next_times(tasks, runs, seed).items()}
    overdue = [task for task in late if late[task] >= 0]
    return sorted(overdue, key=lambda task: (-late[task], task.repository, task.name))


def next_times(tasks: Mapping[Task, float], runs: Mapping[Task, Run], seed: str) -> dict[Task, float]:
    """Return when tasks are to be done next, but for those that are switched off; see :func:`due`."""
    return {task: _next(task, interval, runs.get(task), seed) for task, interval in tasks.items() if interval > 0}


def is_due(task: Task, interval: float, last: Run | None, now: float, seed: str) -> bool:
    """Whether a task is to be done now; see :func:`due`."""
    return now >= _next(task, interval, last, seed)


def learnt(last: Run | None, number: int, at: float, now: float) -> Run:
    """Return what a replica knows of a task once it has read how often all of them have done it.

    The clocks of replicas may differ, so work that another one did counts as :data:`CLOCKS_APART` younger than it says.

    :param last: what this replica knew before.
    :param number: how often it was done.
    :param at: when it was done last, by the clock of whoever did it.
    :param now: by this replica's clock.
    """
    if last is not None and last.number == number:
        return last
    return Run(min(now, at + CLOCKS_APART), True, number)


def _next(task: Task, interval: float, last: Run | None, seed: str) -> float:
    if last is None:
        return 0.0
    if not last.succeeded:
        # What failed is tried again sooner, but not at once.
        return last.at + interval * _RETRY
    return last.at + interval * (1 + jitter(task, seed))


def jitter(task: Task, seed: str) -> float:
    """Return the part of its interval by which a task is shifted on this replica, -0.2 to 0.2."""
    digest = hashlib.sha256("\0".join((seed, task.repository, task.name)).encode()).digest()
    return (int.from_bytes(digest[:4], "big") / 0xFFFFFFFF * 2 - 1) * _JITTER


@dataclass(frozen=True)
class Stored:
    """An archive that there is.

    :param mark: what it was made of: a commit, or a digest of refs.
    :param at: when it was made, in seconds since the epoch.
    """

    mark: str
    at: float


def worth_making(stored: Stored | None, mark: str, now: float, max_age: float, *, current: bool = True) -> bool:
    """Whether an archive is to be made again.

    :param stored: the present one, whichever replica made it.
    :param mark: what a new one would be made of.
    :param max_age: seconds after which even an unchanged one is made again.
    :param current: whether the mirror is known to be where its upstream is; otherwise another replica's archive may
        well be newer than what this one would make.
    """
    if stored is None or now - stored.at >= max_age:
        return True
    return current and stored.mark != mark


def shifted(memory: Memory, seconds: float) -> Memory:
    """Return what is remembered after the clock was put forward (or back, when negative)."""
    runs = {task: replace(run, at=run.at + seconds) for task, run in memory.runs.items()}
    asked = {repository: at + seconds for repository, at in memory.asked.items()}
    return Memory(runs, {task: at + seconds for task, at in memory.wanted.items()}, asked)


def not_ahead(memory: Memory, now: float) -> Memory:
    """Return what is remembered, with what a clock that was wrong has dated in the future as if it were of now."""
    runs = {task: replace(run, at=min(run.at, now)) for task, run in memory.runs.items()}
    asked = {repository: min(at, now) for repository, at in memory.asked.items()}
    return Memory(runs, {task: min(at, now) for task, at in memory.wanted.items()}, asked)


def still_wanted(wanted: Mapping[Task, float], now: float, max_age: float) -> dict[Task, float]:
    """Return what has been asked for within the last ``max_age`` seconds."""
    return {task: at for task, at in wanted.items() if now - at < max_age}


def of_repositories(runs: Mapping[Task, Run], repositories: Iterable[str]) -> dict[Task, Run]:
    """Return the runs of repositories that there still are."""
    present = frozenset(repositories)
    return {task: run for task, run in runs.items() if task.repository in present}


def still_known(runs: Mapping[Task, Run], repositories: Collection[str], now: float, forget: float) -> dict[Task, Run]:
    """Return the runs but for those of repositories that have been gone for a while.

    :param forget: seconds; a mirror that is being checked, or made anew, is away for less.
    """
    return {task: run for task, run in runs.items() if task.repository in repositories or now - run.at < forget}
