"""What the admin pages, the metrics and the shell see of the running server as a whole."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from cachew.cache.tiered import TieredCache
from cachew.plumbing.clock import Clock
from cachew.plumbing.metrics import Metrics
from cachew.web.currentwork import CurrentWork, WorkStatus
from cachew.web.storecounts import CacheStatus, StoreCounts


@dataclass(frozen=True, kw_only=True)
class Overview:
    """The whole server at one moment.

    :param now: seconds since the epoch.
    :param started: when it started.
    :param served: git requests so far by where the answer came from.
    :param waiting: requests that wait for a git process.
    :param troubles: what does not work though the server serves, in words.
    """

    now: float
    started: float
    served: Mapping[str, int] = field(default_factory=dict)
    caches: Sequence[CacheStatus] = ()
    work: Sequence[WorkStatus] = ()
    waiting: int = 0
    troubles: Sequence[str] = ()


class ServerStatus:
    """The running server as a whole.

    :ivar started: when it was started, in seconds since the epoch.
    :ivar unready: returns why the server does not want traffic, empty when it does.

    :param unready: why no traffic should be sent here.
    :param cache: tells what does not work of it.
    :param stores: how full they are.
    :param work: what is done at the moment.
    :param metrics: what has been counted.
    :param clock: what time it is.
    """

    def __init__(
        self,
        *,
        unready: Callable[[], str],
        cache: TieredCache,
        stores: StoreCounts,
        work: CurrentWork,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self.unready = unready
        self.started = clock.now()
        self._cache = cache
        self._stores = stores
        self._work = work
        self._metrics = metrics
        self._clock = clock

    async def overview(self) -> Overview:
        """Return the state of the server as a whole."""
        now = self._clock.now()
        return Overview(
            now=now,
            started=self.started,
            served=self.served(),
            caches=await self._stores.current(),
            work=self._work.pieces(),
            waiting=self._work.clients_waiting,
            troubles=self.troubles(),
        )

    def troubles(self) -> Sequence[str]:
        """Return what does not work though the server serves."""
        return self._cache.troubles

    def served(self) -> dict[str, int]:
        """Return the git requests answered so far, by where the answer came from."""
        counted: Counter[str] = Counter()
        for family in self._metrics.served.collect():
            for sample in family.samples:
                if sample.name.endswith("_total") and sample.value:
                    counted[sample.labels["source"]] += int(sample.value)
        return dict(counted)
