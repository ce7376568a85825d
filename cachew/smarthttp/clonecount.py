"""How often repositories are cloned: by this server since its start, and by all replicas today."""

from cachew.mirrors.identity import Identity
from cachew.plumbing.metrics import Metrics
from cachew.replicas.tally import Tally


class CloneCount:
    """Counts clones that were served.

    :param metrics: what this server counts.
    :param tally: what all replicas count together.
    """

    def __init__(self, *, metrics: Metrics, tally: Tally) -> None:
        self._metrics = metrics
        self._tally = tally

    def note(self, identity: Identity) -> None:
        """Count a clone of a repository."""
        self._metrics.clones.labels(identity.name).inc()
        self._tally.note(identity.name)
