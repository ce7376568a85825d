"""What every part of the server runs on: settings, clocks, threads, processes, the state directory."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.python.threadpool import ThreadPool

from cachew.config.grammar import grammar_of
from cachew.config.inforce import SettingsInForce
from cachew.config.settings import Settings
from cachew.http.filesender import FileSender
from cachew.mirrors.identity import Grammar
from cachew.plumbing.background import Background
from cachew.plumbing.clock import Clock
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import PatientPool, Threads
from cachew.server.environment import Environment
from cachew.server.installedgit import InstalledGit, installed_git
from cachew.server.stateformat import check_format, mark_format
from cachew.server.statelock import StateLock
from cachew.upstream.useragent import user_agent

_SENDERS = 2
"""Threads that send files; each is busy only while the kernel copies."""

_LAST_WORK = 5.0
"""Seconds that threads have at the end for what they are still at."""


@dataclass(frozen=True)
class Runtime:
    """What every part runs on.

    :param settings: those of the start.
    :param in_force: those that count now.
    :param reactor: the reactor; its clock is monotonic.
    :param git: the installed git.
    :param store_pool: threads that calls to object stores may hold for long.
    """

    settings: Settings
    in_force: SettingsInForce
    environment: Environment
    git: InstalledGit
    reactor: Any
    metrics: Metrics
    pool: ThreadPool
    threads: Threads
    store_pool: ThreadPool
    store_threads: Threads
    processes: Processes
    sender: FileSender
    background: Background
    state_lock: StateLock

    @property
    def clock(self) -> Clock:
        """What time it is."""
        return self.environment.clock

    @property
    def grammar(self) -> Grammar:
        """How repositories are named."""
        return grammar_of(self.settings.upstreams)

    @property
    def user_agent(self) -> str:
        """What this server calls itself to the outside."""
        return user_agent(self.git.version, self.environment.version)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.settings.state


def make_runtime(settings: Settings, reactor: Any, environment: Environment) -> Runtime:
    """Make what every part runs on, and take the state directory.

    :param settings: the checked config; its state directory is absolute.
    :param reactor: the reactor.
    :param environment: facts about the machine and the process.
    :raise StateInUse: when another server has the state directory.
    :raise StateTooNew: when a later version has written it.
    """
    state_lock = StateLock(settings.state)
    check_format(settings.state)
    mark_format(settings.state, environment.version)
    state_lock.end_leftovers()
    pool = PatientPool(0, settings.limits.threads, "cachew", patience=_LAST_WORK)
    store_pool = PatientPool(0, settings.limits.store_threads, "cachew-store")
    return Runtime(
        settings=settings,
        in_force=SettingsInForce(settings),
        environment=environment,
        git=installed_git(environment.search_path),
        reactor=reactor,
        metrics=Metrics(),
        pool=pool,
        threads=Threads(reactor=reactor, pool=pool),
        store_pool=store_pool,
        store_threads=Threads(reactor=reactor, pool=store_pool),
        processes=Processes(reactor=reactor, mark=state_lock.mark),
        sender=FileSender(reactor=reactor, threads=_SENDERS),
        background=Background(clock=environment.clock),
        state_lock=state_lock,
    )
