"""What ``/metrics`` shows of the moment: places and their queues, children, stores, space; read when asked for."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cachew.mirrors.listings import Listings
from cachew.mirrors.packindex import OpenIndexes
from cachew.plumbing.budget import Budget
from cachew.plumbing.descriptors import open_now
from cachew.plumbing.jobs import Slots
from cachew.plumbing.process import Processes
from cachew.web.storecounts import CacheStatus


class ServerGauges(Collector):
    """Reads what the server is and how it is.

    :param version: cachew's.
    :param is_ready: whether traffic is wanted.
    :param log_dropped: how many lines of the log were dropped.
    :param ages: how long ago the longest neglected repository was checked, snapshotted, …, in seconds by what it was.
    """

    def __init__(
        self,
        *,
        version: str,
        is_ready: Callable[[], bool],
        log_dropped: Callable[[], int],
        ages: Callable[[], Mapping[str, float]],
    ) -> None:
        self._version = version
        self._is_ready = is_ready
        self._log_dropped = log_dropped
        self._ages = ages

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        build = GaugeMetricFamily("cachew_build_info", "Always 1; the label tells the version", labels=["version"])
        build.add_metric([self._version], 1)
        yield build
        yield GaugeMetricFamily("cachew_ready", "Whether traffic is wanted (1) or not (0)", value=self._is_ready())
        yield CounterMetricFamily(
            "cachew_log_dropped_lines",
            "Lines of the log that nobody took in time",
            value=self._log_dropped(),
        )
        age = GaugeMetricFamily(
            "cachew_oldest_seconds",
            "How long ago the one of all mirrors that was neglected longest was checked or snapshotted successfully",
            labels=["what"],
        )
        for what, seconds in self._ages().items():
            age.add_metric([what], seconds)
        yield age


class WorkGauges(Collector):
    """Reads what is being done.

    :param places: where work waits for its turn, by the kind of work.
    :param processes: the children.
    """

    def __init__(self, *, places: Mapping[str, Slots], processes: Processes) -> None:
        self._places = places
        self._processes = processes

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        running = GaugeMetricFamily("cachew_work_running", "Work under way, by its kind", labels=["kind"])
        waiting = GaugeMetricFamily("cachew_work_waiting", "Work that waits for a place, by its kind", labels=["kind"])
        limit = GaugeMetricFamily("cachew_work_limit", "Places for work, by its kind", labels=["kind"])
        for kind, slots in self._places.items():
            running.add_metric([kind], slots.running)
            waiting.add_metric([kind], slots.waiting)
            limit.add_metric([kind], slots.limit)
        yield from (running, waiting, limit)
        started = self._processes.started
        yield CounterMetricFamily("cachew_processes_started", "Child processes started", value=started)
        yield GaugeMetricFamily("cachew_processes", "Child processes that run", value=self._processes.running)


class OpenGauges(Collector):
    """Reads what is open and held in memory, of what there is only so much.

    :param descriptors: how many files and connections may be open at once.
    :param indexes: what is open of the mirrors' pack indexes.
    :param listings: the ref listings that are at hand.
    :param bodies: what request bodies may hold.
    """

    def __init__(self, *, descriptors: int, indexes: OpenIndexes, listings: Listings, bodies: Budget) -> None:
        self._descriptors = descriptors
        self._indexes = indexes
        self._listings = listings
        self._bodies = bodies

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        yield from self._open()
        yield from self._held()

    def _open(self) -> Iterator[Metric]:
        limit = self._descriptors
        yield GaugeMetricFamily("cachew_descriptors", "Files, pipes and connections that are open", value=open_now())
        yield GaugeMetricFamily("cachew_descriptors_limit", "How many of them may be", value=limit)
        files, most = self._indexes.files, self._indexes.most_files
        yield GaugeMetricFamily("cachew_pack_indexes_open", "Pack indexes that stay open", value=files)
        yield GaugeMetricFamily("cachew_pack_indexes_open_limit", "How many of them may be", value=most)
        yield GaugeMetricFamily("cachew_listings_bytes", "Memory of ref listings, about", value=self._listings.size)
        yield GaugeMetricFamily("cachew_listings_limit_bytes", "What it may be", value=self._listings.limit)

    def _held(self) -> Iterator[Metric]:
        bodies = self._bodies
        yield GaugeMetricFamily("cachew_request_body_bytes", "What request bodies hold", value=bodies.used)
        yield GaugeMetricFamily("cachew_request_body_limit_bytes", "What they may hold", value=bodies.limit)
        yield CounterMetricFamily(
            "cachew_request_bodies_refused", "Requests told to come back later for it", value=bodies.refused
        )


class StoreGauges(Collector):
    """Reads how full everything is.

    :param caches: returns what is stored, as far as that is known without waiting.
    :param state: the state directory, whose filesystem's free space is shown.
    """

    def __init__(self, *, caches: Callable[[], Sequence[CacheStatus]], state: Path) -> None:
        self._caches = caches
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        size = GaugeMetricFamily("cachew_store_bytes", "What a store holds", labels=["store"])
        limit = GaugeMetricFamily("cachew_store_limit_bytes", "What a store may hold; 0: no bound", labels=["store"])
        objects = GaugeMetricFamily("cachew_store_objects", "Objects in a store", labels=["store"])
        for cache in self._caches():
            size.add_metric([cache.name], cache.size)
            limit.add_metric([cache.name], cache.capacity)
            objects.add_metric([cache.name], cache.objects)
        yield from (size, limit, objects)
        space = os.statvfs(self._state)
        free = space.f_bavail * space.f_frsize
        yield GaugeMetricFamily("cachew_state_free_bytes", "Free space for the state directory", value=free)
