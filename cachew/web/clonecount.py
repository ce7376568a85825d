"""How often repositories are cloned."""

from collections.abc import Callable

from cachew.mirrors.identity import Identity
from cachew.plumbing.metrics import Metrics
from cachew.replicas.tally import Tally
from cachew.snapshots.variants import FILTERS, Variant


class CloneCount:
    """Counts clones that were served.

    :param metrics: what this server counts.
    :param tally: what all replicas count together.
    :param asked: told of each repository that was asked for as a whole.
    :param wanted: told of snapshots that would have been of use, by what the schedule calls them.
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        tally: Tally,
        asked: Callable[[Identity], object] = lambda identity: None,
        wanted: Callable[[Identity, str], object] = lambda identity, name: None,
    ) -> None:
        self._wanted = wanted
        self._metrics = metrics
        self._tally = tally
        self._asked = asked

    def note(self, identity: Identity, whole: bool, chosen: str = "") -> None:
        """Count a clone of a repository.

        :param whole: whether all of it was asked for.
        :param chosen: the filter for which everything else was.
        """
        if chosen in FILTERS:
            self._wanted(identity, Variant(filter=chosen).name)
        self._metrics.clones.labels(identity.name).inc()
        self._tally.note(identity.name)
        if whole:
            self._asked(identity)
