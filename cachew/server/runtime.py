"""What every part of the server stands on: settings, clocks, threads, processes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.python.threadpool import ThreadPool

from cachew.config.settings import Settings
from cachew.http.filesender import FileSender
from cachew.plumbing.background import Background
from cachew.plumbing.metrics import Metrics
from cachew.plumbing.process import Processes
from cachew.plumbing.threads import PatientPool, Threads
from cachew.plumbing.wallclock import WallClock
from cachew.server.environment import Surroundings
from cachew.server.statelock import Occupation

_SENDERS = 2
"""Threads that send files; each is busy only while the kernel copies."""


@dataclass(frozen=True)
class Ground:
    """What everything stands on.

    :param reactor: the reactor; its clock is monotonic.
    :param wall: the time of day as a clock.
    :param store_pool: threads that calls to object stores may hold for long.
    """

    settings: Settings
    surroundings: Surroundings
    reactor: Any
    wall: WallClock
    metrics: Metrics
    pool: ThreadPool
    threads: Threads
    store_pool: ThreadPool
    store_threads: Threads
    processes: Processes
    sender: FileSender
    background: Background
    occupation: Occupation

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.settings.state


def ground_of(settings: Settings, reactor: Any, surroundings: Surroundings) -> Ground:
    """Make what everything stands on; see :func:`make_service`."""
    occupation = Occupation(settings.state)
    occupation.end_leftovers()
    pool = ThreadPool(0, settings.limits.threads, "cachew")
    store_pool = PatientPool(0, settings.limits.store_threads, "cachew-store")
    return Ground(
        settings=settings,
        surroundings=surroundings,
        reactor=reactor,
        wall=WallClock(clock=reactor, now=surroundings.wall_clock),
        metrics=Metrics(),
        pool=pool,
        threads=Threads(reactor=reactor, pool=pool),
        store_pool=store_pool,
        store_threads=Threads(reactor=reactor, pool=store_pool),
        processes=Processes(reactor=reactor, mark=occupation.mark),
        sender=FileSender(reactor=reactor, threads=_SENDERS),
        background=Background(seconds=reactor.seconds),
        occupation=occupation,
    )
